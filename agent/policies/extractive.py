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
from agent.policy import Chunk
from agent.tags import escape
from agent.trajectory import Information, Read, Search
from index.dates import read_date
from index.text.sentences import SPEAKER, spans
from index.text.words import FUNCTION_WORDS, POSSESSIVE, content_terms, terms, words

NEAR = 12
"""The largest distance, in words, at which a name counts as related to a word of the question."""
SENTENCES, FROM_LEAD, FROM_PASSAGE = 4, 3, 2
"""The most sentences about the question, about one followed name, and from one passage in either."""

UNREAD = "Your history was not searched."
"""The answer of methods that do not read the history."""

_NAME = re.compile(r"(?<![\w'’])[^\W\d_a-z][\w'’-]+(?: [^\W\d_a-z][\w'’-]*)*")
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
    queries = [step.query for step in episode.steps if isinstance(step, Search)]
    if not episode.must_answer and question and not queries:
        return _block("think", _plan(question)) + _block("search", question)
    if not episode.must_answer and _brought_news(episode):
        lead = find_lead(question, rank_sentences(question, reads), " ".join(queries))
        if lead:
            thought = f"{lead.name} came up in [{lead.number}]. Looking for what else there is about that."
            query = f"{question} {lead.name}"
        else:
            thought = "No new name to follow. Reading on for the question itself."
            query = question
        return _block("think", thought) + _block("search", query)
    if not any(isinstance(step, Information) for step in episode.steps):
        # Nothing can be said about a history that was not searched.
        return _block("think", "No search was made, so there is nothing to quote.") + _block("answer", UNREAD)
    followed = [name for query in queries if (name := query.removeprefix(question).strip())]
    answer = compose(question, reads, followed, episode.plan)
    return _block("think", _conclusion(reads)) + _block("answer", answer)


def rank_sentences(question: str, reads: Sequence[Read]) -> list[Sentence]:
    """All sentences that were read, most relevant first; ties in reading order.

    The weight of a sentence grows with the rarity, among the passages, of the question's words in it, with
    the score of its passage, and if it contains what the question asks for (a name, a date, a number).
    """
    asked = set(content_terms(question))
    frequency = Counter(term for read in reads for term in set(terms(read.passage.text)))
    worth = {term: math.log1p(len(reads) / (1 + frequency[term])) for term in asked}
    total = sum(worth.values()) or 1.0
    ranked = []
    highest = max((read.passage.score for read in reads), default=0.0) or 1.0
    for read in reads:
        passage = read.passage
        titled = set(terms(passage.title or ""))
        for start, end in spans(passage.text):
            text = passage.text[start:end]
            own = set(terms(text))
            overlap = sum(worth[term] for term in asked & own) / total
            context = sum(worth[term] for term in asked & (titled - own)) / total
            found = passage.score / highest
            weight = overlap + 0.5 * context + 0.4 * found + _has_what_is_asked(question, text)
            # A question in the history rarely answers a question.
            ranked.append(Sentence(read, text, weight * (0.5 if text.rstrip().endswith("?") else 1.0)))
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
    asked = set(content_terms(question))
    known = set(terms(question)) | set(terms(followed))
    known |= {
        term for s in sentences if (speaker := SPEAKER.match(s.text)) for term in terms(speaker.group())
    }
    inside = {word for s in sentences for name in _names(s.text, inside=True) for word in words(name)}
    passages = {s.read.number: s.read.passage.text for s in sentences}
    frequency = Counter(term for text in passages.values() for term in set(terms(text)))
    weights: dict[str, float] = {}
    numbers: dict[str, list[int]] = {}
    for sentence in sentences:
        speech = terms(SPEAKER.sub("", sentence.text))
        for name in dict.fromkeys(_names(sentence.text)):
            parts, own = set(words(name)), terms(name)
            ordinary = not parts <= inside or parts & _ORDINARY
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
    return [POSSESSIVE.sub("", match.group()) for match in matches if not inside or match.start() > 0]


def compose(question: str, reads: Sequence[Read], followed: Sequence[str], plan: str = "") -> str:
    """The best sentences about the question, then those about each followed name, all with citations.

    With a plan, the best sentence about each of its lines follows those about the question.
    """
    ranked = rank_sentences(question, reads)
    if not ranked:
        return "Your history does not tell."
    telling = [sentence for sentence in ranked if sentence.weight >= 0.5 * ranked[0].weight]
    chosen = _choose(telling, SENTENCES, set())
    direct = any(set(content_terms(question)) & set(terms(sentence.text)) for sentence in chosen)
    opening = "Your history says:" if direct else "Your history does not say it directly. The nearest:"
    lines = [opening, *_quotes(chosen)]
    used = {sentence.text for sentence in chosen}
    for expected in plan.splitlines():
        # Skip the line that introduces the others.
        if not expected.strip() or expected.rstrip().endswith(":"):
            continue
        found = _choose(rank_sentences(expected, reads), 1, used)
        used |= {sentence.text for sentence in found}
        lines += _quotes(found)
    for name in followed:
        about = set(terms(name))
        passages = [
            read for read in reads if about <= set(terms(f"{read.passage.title} {read.passage.text}"))
        ]
        found = _choose(rank_sentences(f"{question} {name}", passages), FROM_LEAD, used)
        used |= {sentence.text for sentence in found}
        if found:
            lines += [f"About {name}:", *_quotes(found)]
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


def _plan(question: str) -> str:
    topic = [word for word in words(question) if word not in FUNCTION_WORDS]
    return f"What the history says about: {', '.join(dict.fromkeys(topic)) or question.strip()}."


def _conclusion(reads: Sequence[Read]) -> str:
    documents = len({read.passage.document_id for read in reads})
    read = "1 document" if documents == 1 else f"{documents} documents"
    return f"Read {read}. Answering with the sentences that say most about the question."


def _brought_news(episode: Episode) -> bool:
    last = next((step for step in reversed(episode.steps) if isinstance(step, Information)), None)
    return last is not None and bool(last.passages)


def _block(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>"
