"""A policy without a model: it plans, searches, follows what turns up, and answers in the passages' words.

It is the baseline that every language model has to beat, and what answers where there is none. It says
so: the trajectory's policy is `extractive`, and its answers consist of quotes.
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
from index.text.sentences import SPEAKER, spans
from index.text.words import FUNCTION_WORDS, POSSESSIVE, content_terms, terms, words

NEAR = 12
"""How many words may lie between a name and a word of the question for one to be about the other."""
SENTENCES, FROM_LEAD, FROM_PASSAGE = 4, 3, 2
"""The most sentences on the question, on a name that was followed, and of one passage in each."""

UNREAD = "Your history was not searched."
"""The answer where no history comes in: there is nothing else to answer from."""

_NAME = re.compile(r"(?<![\w'’])[^\W\d_a-z][\w'’-]+(?: [^\W\d_a-z][\w'’-]*)*")
_BRACKETED = re.compile(r"\[(\d[\d\s,]*)\]")
_CALENDAR = frozenset(
    "january february march april may june july august september october november december monday "
    "tuesday wednesday thursday friday saturday sunday today tomorrow yesterday".split()
)
_TITLES = frozenset("dr mr mrs ms miss prof sir dear hello hi mum dad".split())
_ORDINARY = FUNCTION_WORDS | _CALENDAR | _TITLES
"""Words that are written with a capital without being a name to follow."""


@dataclass(frozen=True)
class Sentence:
    """A sentence of a passage that was read, and how much it says about the question."""

    read: Read
    text: str
    weight: float


class ExtractivePolicy:
    """See the module. Reading costs it nothing, so it uses all the searches that it is given."""

    name = "extractive"

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        del max_tokens  # No model writes, so there are no tokens to count.
        yield Chunk(_turn(episode), finish="stop")

    async def check(self) -> str:
        return "no model: it quotes the history"

    async def aclose(self) -> None:
        """Holds nothing."""


def _turn(episode: Episode) -> str:
    # As it comes back in the trajectory: what is left of a later query is the name that it followed.
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
        # Of a history that nobody looked into, it cannot be said what it does not tell.
        return _block("think", "No search was made, so there is nothing to quote.") + _block("answer", UNREAD)
    followed = [name for query in queries if (name := query.removeprefix(question).strip())]
    answer = compose(question, reads, followed, episode.plan)
    return _block("think", _conclusion(reads)) + _block("answer", answer)


def rank_sentences(question: str, reads: Sequence[Read]) -> list[Sentence]:
    """Every sentence that was read, the most telling first; ties in reading order.

    A sentence tells as much as the question's words in it are rare among the passages, its passage was
    found with a high score, and it has the kind of thing that is asked for.
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
            # A question in the history is seldom the answer to one.
            ranked.append(Sentence(read, text, weight * (0.5 if text.rstrip().endswith("?") else 1.0)))
    return sorted(ranked, key=lambda sentence: -sentence.weight)


@dataclass(frozen=True)
class Lead:
    """A name that the question does not have, and the number of the passage that brought it up."""

    name: str
    number: int


def find_lead(question: str, sentences: Sequence[Sentence], followed: str) -> Lead | None:
    """The name most worth following: a new one, close to a rare word of the question.

    "My sister Ines" answers what the question's "my sister" is called. None when nothing came up, or
    all of it is in `followed` already.
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
        said = terms(SPEAKER.sub("", sentence.text))
        for name in dict.fromkeys(_names(sentence.text)):
            parts, own = set(words(name)), terms(name)
            ordinary = not parts <= inside or parts & _ORDINARY
            if not own or ordinary or set(own) & known:
                continue
            near = max(
                (
                    math.log1p(len(passages) / frequency[word]) * (1 - abs(i - j) / (NEAR + 1))
                    for i, part in enumerate(said)
                    if part == own[0]
                    for j, word in enumerate(said)
                    if word in asked and abs(i - j) <= NEAR
                ),
                default=0.0,
            )
            if near:
                weights[name] = weights.get(name, 0.0) + sentence.weight * near
                numbers.setdefault(name, []).append(sentence.read.number)
    if not weights:
        return None
    # A name that is everywhere tells one person's documents apart no better than "I" does.
    best = max(weights, key=lambda name: weights[name] / len(set(numbers[name])))
    return Lead(best, numbers[best][0])


def _names(text: str, *, inside: bool = False) -> list[str]:
    """Capitalized words and runs of them; with `inside`, only those that do not begin the sentence."""
    said = SPEAKER.sub("", text)
    matches = _NAME.finditer(said)
    return [POSSESSIVE.sub("", match.group()) for match in matches if not inside or match.start() > 0]


def compose(question: str, reads: Sequence[Read], followed: Sequence[str], plan: str = "") -> str:
    """The best sentences on the question, then those on each name that was followed, all with citations.

    With a plan, a best sentence on each of its lines comes behind those on the question.
    """
    ranked = rank_sentences(question, reads)
    if not ranked:
        return "Your history does not tell."
    telling = [sentence for sentence in ranked if sentence.weight >= 0.5 * ranked[0].weight]
    chosen = _choose(telling, SENTENCES, set())
    direct = any(set(content_terms(question)) & set(terms(sentence.text)) for sentence in chosen)
    opening = "Your history says:" if direct else "Your history does not say it directly. The nearest:"
    lines = [opening, *_quotes(chosen)]
    told = {sentence.text for sentence in chosen}
    for expected in plan.splitlines():
        # What introduces the others is nothing to look for.
        if not expected.strip() or expected.rstrip().endswith(":"):
            continue
        found = _choose(rank_sentences(expected, reads), 1, told)
        told |= {sentence.text for sentence in found}
        lines += _quotes(found)
    for name in followed:
        about = set(terms(name))
        passages = [
            read for read in reads if about <= set(terms(f"{read.passage.title} {read.passage.text}"))
        ]
        found = _choose(rank_sentences(f"{question} {name}", passages), FROM_LEAD, told)
        told |= {sentence.text for sentence in found}
        if found:
            lines += [f"About {name}:", *_quotes(found)]
    return "\n".join(lines)


def _choose(ranked: Sequence[Sentence], most: int, told: Collection[str]) -> list[Sentence]:
    chosen: dict[str, Sentence] = {}
    taken: Counter[int] = Counter()
    for sentence in ranked:
        number = sentence.read.number
        if len(chosen) == most:
            break
        if sentence.text not in told and sentence.text not in chosen and taken[number] < FROM_PASSAGE:
            chosen[sentence.text] = sentence
            taken[number] += 1
    return sorted(chosen.values(), key=lambda s: (s.read.passage.created_at or "", s.read.number))


def _quotes(sentences: Sequence[Sentence]) -> list[str]:
    lines = []
    for sentence in sentences:
        date = sentence.read.passage.created_at
        dated = f"{date[:10]}: " if date else ""
        # A number in brackets that the person wrote would be taken for a citation.
        quote = _BRACKETED.sub(r"(\1)", escape(sentence.text))
        lines.append(f"- {dated}{quote} [{sentence.read.number}]")
    return lines


def _has_what_is_asked(question: str, text: str) -> float:
    first = words(question)[:2]
    kinds = {"when": _WHEN, "who": _NAME, "where": _NAME, "how": _NUMBER}
    for word in first:
        if word in kinds:
            said = SPEAKER.sub("", text)
            return 0.1 if kinds[word].search(said[1:]) else 0.0
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
