"""A policy without a model: it plans, searches, follows names that turn up, and answers with quotes.

It is the baseline that every language model has to beat, and the default where no model is configured. Its
trajectories say so: their policy is `extractive`.
"""

import math
import re
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass

from agent.episode import Episode
from agent.policies.phrases import Phrases, phrases
from agent.policy import Chunk
from agent.tags import escape
from agent.trajectory import Information, Read, Search
from index.dates import read_date
from index.text.languages import ENGLISH
from index.text.sentences import SPEAKER, spans
from index.text.words import (
    FUNCTION_WORDS,
    POSSESSIVE,
    content_terms,
    detect,
    function_words,
    terms,
    words,
)

NEAR = 12
"""The largest distance, in words, at which a name counts as related to a word of the question."""
SENTENCES, FROM_LEAD, FROM_PASSAGE = 4, 3, 2
"""The most sentences about the question, about one followed name, and from one passage in either."""

_NAME = re.compile(r"(?<![\w'’])[^\W\d_a-z][\w'’-]+(?: [^\W\d_a-z][\w'’-]*)*")
_ASKING = ("?", "？", "؟")
_BRACKETED = re.compile(r"\[(\d[\d\s,]*)\]")
_CALENDAR = frozenset(
    "january february march april may june july august september october november december monday "
    "tuesday wednesday thursday friday saturday sunday today tomorrow yesterday".split()
)
_TITLES = frozenset("dr mr mrs ms miss prof sir dear hello hi mum dad".split())
_ORDINARY = FUNCTION_WORDS | _CALENDAR | _TITLES
"""Capitalized words that are not names to follow."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage that was read, weighted by its relevance to the question."""

    read: Read
    text: str
    weight: float


class ExtractivePolicy:
    """See the module. It uses all the searches that it is allowed, since reading costs it nothing."""

    name = "extractive"

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        del max_tokens  # Without a model there are no tokens to count.
        yield Chunk(_turn(episode), finish="stop")

    async def check(self) -> str:
        return "no model: it quotes the history"

    async def aclose(self) -> None:
        """Nothing to release."""


def _turn(episode: Episode) -> str:
    # Normalized as the trajectory returns it: the rest of a later query is the name that it followed.
    question = escape(" ".join(episode.question.split()))
    reads = episode.reads
    said = phrases(_language_of(question, reads))
    queries = [step.query for step in episode.steps if isinstance(step, Search)]
    if not episode.must_answer and question and not queries:
        return _block("think", _plan(question, said)) + _block("search", question)
    if not episode.must_answer and _brought_news(episode):
        lead = find_lead(question, rank_sentences(question, reads), " ".join(queries))
        if lead:
            thought = said.lead.format(name=lead.name, number=lead.number)
            query = f"{question} {lead.name}"
        else:
            thought = said.reading_on
            query = question
        return _block("think", thought) + _block("search", query)
    if not any(isinstance(step, Information) for step in episode.steps):
        # Nothing can be said about a history that was not searched.
        return _block("think", said.unsearched) + _block("answer", said.unread)
    followed = [name for query in queries if (name := query.removeprefix(question).strip())]
    answer = compose(question, reads, followed, episode.plan)
    return _block("think", _conclusion(reads, said)) + _block("answer", answer)


def _language_of(question: str, reads: Sequence[Read]) -> str:
    """Return the language (ISO 639-1) of a question or, if it is too short to tell, of the passages."""
    return detect(question, short=True) or _spoken(reads)


def _spoken(reads: Sequence[Read]) -> str:
    """Return the language that most of the passages are written in, in which words are compared."""
    return detect("\n".join(read.passage.text for read in reads)) or ENGLISH


def rank_sentences(question: str, reads: Sequence[Read]) -> list[Sentence]:
    """All sentences that were read, most relevant first; ties in reading order.

    The weight of a sentence grows with the rarity, among the passages, of the question's words in it, with
    the score of its passage, and if it contains what the question asks for (a name, a date, a number).
    """
    language = _spoken(reads)
    asked = set(content_terms(question, language))
    frequency = Counter(term for read in reads for term in set(terms(read.passage.text, language)))
    worth = {term: math.log1p(len(reads) / (1 + frequency[term])) for term in asked}
    total = sum(worth.values()) or 1.0
    ranked = []
    highest = max((read.passage.score for read in reads), default=0.0) or 1.0
    for read in reads:
        passage = read.passage
        titled = set(terms(passage.title or "", language))
        for start, end in spans(passage.text):
            text = passage.text[start:end]
            own = set(terms(text, language))
            overlap = sum(worth[term] for term in asked & own) / total
            context = sum(worth[term] for term in asked & (titled - own)) / total
            found = passage.score / highest
            weight = overlap + 0.5 * context + 0.4 * found + _has_what_is_asked(question, text)
            # A question in the history rarely answers a question.
            ranked.append(Sentence(read, text, weight * (0.5 if text.rstrip().endswith(_ASKING) else 1.0)))
    return sorted(ranked, key=lambda sentence: -sentence.weight)


@dataclass(frozen=True)
class Lead:
    """A name that is not in the question, and the number of the passage that mentions it."""

    name: str
    number: int


def find_lead(question: str, sentences: Sequence[Sentence], followed: str) -> Lead | None:
    """The best name to follow: a new one, close to a rare word of the question.

    For example, "my sister Ines" names the question's "my sister". None if there is no name, or if all of
    them are in `followed`.
    """
    passages = {s.read.number: s.read for s in sentences}
    language = _spoken(list(passages.values()))
    asked = set(content_terms(question, language))
    known = set(terms(question, language)) | set(terms(followed, language))
    speakers = {speaker.group() for s in sentences if (speaker := SPEAKER.match(s.text))}
    known |= {term for speaker in speakers for term in terms(speaker, language)}
    topicless = _ORDINARY | function_words(language)
    inside = {word for s in sentences for name in _names(s.text, inside=True) for word in words(name)}
    frequency = Counter(
        term for read in passages.values() for term in set(terms(read.passage.text, language))
    )
    weights: dict[str, float] = {}
    numbers: dict[str, list[int]] = {}
    for sentence in sentences:
        speech = terms(SPEAKER.sub("", sentence.text), language)
        for name in dict.fromkeys(_names(sentence.text)):
            parts, own = set(words(name)), terms(name, language)
            ordinary = not parts <= inside or parts & topicless
            if not own or ordinary or set(own) & known:
                continue
            near = max(
                (
                    math.log1p(len(passages) / frequency[word]) * (1 - abs(i - j) / (NEAR + 1))
                    for i, part in enumerate(speech)
                    if part == own[0]
                    for j, word in enumerate(speech)
                    if word in asked and abs(i - j) <= NEAR
                ),
                default=0.0,
            )
            if near:
                weights[name] = weights.get(name, 0.0) + sentence.weight * near
                numbers.setdefault(name, []).append(sentence.read.number)
    if not weights:
        return None
    # A name in every document distinguishes them no better than "I" does.
    best = max(weights, key=lambda name: weights[name] / len(set(numbers[name])))
    return Lead(best, numbers[best][0])


def _names(text: str, *, inside: bool = False) -> list[str]:
    """Capitalized words and sequences of them; with `inside`, only those not at the start of the sentence."""
    speech = SPEAKER.sub("", text)
    matches = _NAME.finditer(speech)
    return [
        POSSESSIVE.sub("", match.group())
        for match in matches
        # The pattern takes letters of scripts without capitals, too.
        if match.group()[0].isupper() and (not inside or match.start() > 0)
    ]


def compose(question: str, reads: Sequence[Read], followed: Sequence[str], plan: str = "") -> str:
    """The best sentences about the question, then those about each followed name, all with citations.

    With a plan, the best sentence about each of its lines follows those about the question.
    """
    said, language = phrases(_language_of(question, reads)), _spoken(reads)
    ranked = rank_sentences(question, reads)
    if not ranked:
        return said.silent
    telling = [sentence for sentence in ranked if sentence.weight >= 0.5 * ranked[0].weight]
    chosen = _choose(telling, SENTENCES, set())
    asked = set(content_terms(question, language))
    direct = any(asked & set(terms(sentence.text, language)) for sentence in chosen)
    lines = [said.says if direct else said.nearest, *_quotes(chosen)]
    used = {sentence.text for sentence in chosen}
    for expected in plan.splitlines():
        # Skip the line that introduces the others.
        if not expected.strip() or expected.rstrip().endswith(":"):
            continue
        found = _choose(rank_sentences(expected, reads), 1, used)
        used |= {sentence.text for sentence in found}
        lines += _quotes(found)
    for name in followed:
        about = set(terms(name, language))
        passages = [
            read
            for read in reads
            if about <= set(terms(f"{read.passage.title} {read.passage.text}", language))
        ]
        found = _choose(rank_sentences(f"{question} {name}", passages), FROM_LEAD, used)
        used |= {sentence.text for sentence in found}
        if found:
            lines += [said.about.format(name=name), *_quotes(found)]
    return "\n".join(lines)


def _choose(ranked: Sequence[Sentence], most: int, used: Collection[str]) -> list[Sentence]:
    chosen: dict[str, Sentence] = {}
    taken: Counter[int] = Counter()
    for sentence in ranked:
        number = sentence.read.number
        if len(chosen) == most:
            break
        if sentence.text not in used and sentence.text not in chosen and taken[number] < FROM_PASSAGE:
            chosen[sentence.text] = sentence
            taken[number] += 1
    return sorted(chosen.values(), key=lambda s: (_time(s.read), s.read.number))


def _time(read: Read) -> float:
    created_at = read.passage.created_at
    return read_date(created_at).timestamp() if created_at else -math.inf


def _quotes(sentences: Sequence[Sentence]) -> list[str]:
    lines = []
    for sentence in sentences:
        date = sentence.read.passage.created_at
        dated = f"{date[:10]}: " if date else ""
        # A bracketed number in the user's own text would be read as a citation.
        quote = _BRACKETED.sub(r"(\1)", escape(sentence.text))
        lines.append(f"- {dated}{quote} [{sentence.read.number}]")
    return lines


def _has_what_is_asked(question: str, text: str) -> float:
    first = words(question)[:2]
    kinds = {"when": _WHEN, "who": _NAME, "where": _NAME, "how": _NUMBER}
    for word in first:
        if word in kinds:
            speech = SPEAKER.sub("", text)
            return 0.1 if kinds[word].search(speech[1:]) else 0.0
    return 0.0


_NUMBER = re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|once|twice)\b")
_WHEN = re.compile(
    rf"\d|\b(?:{'|'.join(sorted(_CALENDAR))}|last|next|ago|week|month|year|morning|evening)\b", re.IGNORECASE
)


def _plan(question: str, said: Phrases) -> str:
    if said != phrases(ENGLISH):
        return said.plan.format(topic=question.rstrip(".?？؟ "))
    topic = [word for word in words(question) if word not in FUNCTION_WORDS]
    return said.plan.format(topic=", ".join(dict.fromkeys(topic)) or question.strip())


def _conclusion(reads: Sequence[Read], said: Phrases) -> str:
    count = len({read.passage.document_id for read in reads})
    template = said.conclusion_of_one if count == 1 else None
    return (template or said.conclusion).format(count=count)


def _brought_news(episode: Episode) -> bool:
    last = next((step for step in reversed(episode.steps) if isinstance(step, Information)), None)
    return last is not None and bool(last.passages)


def _block(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"
