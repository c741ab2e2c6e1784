"""The sentences of the passages that were read, ranked by what they say about a question."""

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from agent.policies.cues import kind
from agent.trajectory import Read
from index.text.languages import ENGLISH
from index.text.sentences import SPEAKER, spans
from index.text.words import content_terms, detect, terms

ASKED = 3.2
"""Weight of a sentence with all words of the question.

The weights are natural logarithms of odds, rounded from those that make the evidence of a question likeliest
among its ten first passages (a listwise softmax, Cao et al. 2007), with three data sets counting alike.
"""
FOUND = 4.5
"""Weight of the passage's score, relative to the highest."""
KIND = 1.3
"""Weight of a name, date or number that is asked for."""
LENGTH = 0.8
"""Weight of a passage with e times as many distinct terms: the more it says, the more it may answer."""
BY_QUESTION = -1.0
"""Weight of a question: in a history it rarely answers one."""
FOLLOWING = 0.7
"""Share of a sentence's words of the question that counts for the next one, which goes on about the same."""
BY_ANOTHER = 0.5
"""Weight of a passage whose speaker is not the one that the question names."""

_DATE_ALONE = re.compile(r"#{1,6} [\W\d]*")
"""A heading of a diary that says nothing but a date."""
ASKING = ("?", "？", "؟")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage that was read, weighted by its relevance to a question."""

    read: Read
    text: str
    weight: float


@dataclass(frozen=True)
class Line:
    """A sentence of a passage, with its terms."""

    read: Read
    text: str
    terms: frozenset[str]


class Reading:
    """The passages read, with their language and words: found once, used for every question about them."""

    def __init__(self, reads: Sequence[Read]) -> None:
        self.reads = tuple(reads)
        self.language = detect("\n".join(read.passage.text for read in reads)) or ENGLISH
        """The language (ISO 639-1) of most of the passages, in which words are compared."""
        self.titles = {read.number: self._terms(read.passage.title or "") for read in reads}
        self.texts = {read.number: self._terms(read.passage.text) for read in reads}
        self.lines = [
            Line(read, text, self._terms(text))
            for read in reads
            for start, end in spans(read.passage.text)
            if not _DATE_ALONE.fullmatch(text := read.passage.text[start:end])
        ]
        self.frequency = Counter(term for text in self.texts.values() for term in text)
        """The number of passages with a term."""

    def asked(self, question: str) -> frozenset[str]:
        """The terms that a question is about."""
        return frozenset(content_terms(question, self.language))

    def worth(self, asked: Iterable[str]) -> dict[str, float]:
        """Weights of terms by their rarity among the passages, which sum to 1."""
        found = {term: math.log1p(len(self.reads) / (1 + self.frequency[term])) for term in asked}
        total = sum(found.values()) or 1.0
        return {term: value / total for term, value in found.items()}

    def missing(self, question: str, numbers: Iterable[int]) -> frozenset[str]:
        """The terms of a question that none of the passages with these numbers has."""
        return self.asked(question).difference(*(self.held(number) for number in numbers))

    def share(self, question: str, some: Collection[str]) -> float:
        """The share of a question, weighted by rarity, that some of its terms make up; 0 to 1."""
        return sum(weight for term, weight in self.worth(self.asked(question)).items() if term in some)

    def held(self, number: int) -> frozenset[str]:
        """The terms of a passage and its title."""
        return self.texts[number] | self.titles[number]

    def certainty(self, question: str) -> float:
        """How much of a question the passage that has most of it has, by rarity; 0 to 1.

        Names of speakers are left out: they say whose words are asked for. Where the question names one, what
        others say counts BY_ANOTHER.
        """
        speakers = {
            read.number: self._terms(said.group() if (said := SPEAKER.match(read.passage.text)) else "")
            for read in self.reads
        }
        everyone = frozenset[str]().union(*speakers.values())
        named = everyone & frozenset(terms(question, self.language))
        worth = self.worth(self.asked(question) - everyone)
        found = 0.0
        for number, speaker in speakers.items():
            held = sum(worth[term] for term in worth.keys() & self.held(number))
            found = max(found, held * (BY_ANOTHER if named and speaker and not speaker & named else 1.0))
        return found

    def rank(self, question: str) -> list[Sentence]:
        """All sentences, most relevant to a question first; ties in reading order.

        The weight of a sentence grows with the rarity, among the passages, of the question's words in it,
        with the score and the length of its passage, and if it has what is asked for (a name, a date, a
        number). The difference of two weights is the logarithm of the odds of one sentence against the other.
        """
        worth = self.worth(self.asked(question))
        # Rerankers give negative scores, too: a share of the highest needs a positive one.
        highest = max([read.passage.score for read in self.reads if read.passage.score > 0], default=1.0)
        looks = kind(question, self.language_of(question))
        found = {
            read.number: FOUND * max(read.passage.score, 0.0) / highest
            + LENGTH * math.log(len(self.texts[read.number]) or 1)
            for read in self.reads
        }
        ranked = []
        before, share = 0, 0.0
        for line in self.lines:
            titled = self.titles[line.read.number] - line.terms
            own = sum(worth[term] for term in worth.keys() & line.terms)
            share = min(own + (FOLLOWING * share if before == line.read.number else 0.0), 1.0)
            before = line.read.number
            weight = ASKED * (share + 0.5 * sum(worth[term] for term in worth.keys() & titled))
            weight += found[line.read.number]
            if looks is not None and looks.search(SPEAKER.sub("", line.text)[1:]):
                weight += KIND
            if line.text.rstrip().endswith(ASKING):
                weight += BY_QUESTION
            ranked.append((Sentence(line.read, line.text, weight), own))
        # Of sentences that say all of it, those that need no other for that are first.
        ranked.sort(key=lambda pair: (-pair[0].weight, -pair[1]))
        return [sentence for sentence, _ in ranked]

    def language_of(self, question: str) -> str:
        """Return the language (ISO 639-1) of a question, or else that of the passages."""
        return detect(question, short=True) or self.language

    def _terms(self, text: str) -> frozenset[str]:
        return frozenset(terms(text, self.language))
