"""Chooses the sentences that answer a question, best first, and quotes them with their marks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.policies.changes import changed, day, topic
from agent.policies.cues import is_past, order
from agent.policies.phrases import Phrases
from agent.policies.sentences import Reading, Sentence
from agent.tags import escape
from index.text.words import terms
from index.values import Notice

PASSAGES, FROM_PASSAGE = 4, 2
"""The most passages that are quoted about the question itself, and the most sentences of one."""
OLDER = 2
"""The most sentences that are quoted as replaced."""

_BRACKETED = re.compile(r"[\[【]\^?(\d[\d\s,]*)(?:†[^\]】\n]{0,40})?[\]】]")
"""A number in brackets as `agent.citations.MARK` reads it."""


@dataclass(frozen=True)
class Thresholds:
    """Decide what is quoted and when to search on; `python -m benchmarks.thresholds` varies them.

    Those of weights are logarithms of odds (see sentences.py).
    """

    telling: float = 1.25
    """Quote the sentences whose weight is at most this far below the best one's: odds of 1 to 3.5."""
    near: float = 2.0
    """The same, for the passages whose words and names decide whether and what to search next."""
    within: float = 0.66
    """The same, for a further sentence of a passage that is quoted."""
    about: float = 0.3
    """The same, for a further sentence of a passage about a followed name."""
    changed: float = 2.0
    """The same as `telling`, for what may have replaced another or been replaced."""
    most: float = 0.5
    """The share of the question, weighted by rarity, that the best sentence has if it is about a change."""
    certain: float = 0.16
    """Below this `Reading.certainty`, an answer says that the history does not tell, with the nearest."""
    missing: float = 0.2
    """The share of the question, weighted by rarity, that has to be missing for another search."""


CHOSEN = Thresholds()


@dataclass(frozen=True)
class Followed:
    """A name that was searched for, and the number of the passage that was found first; None without one."""

    name: str
    found: int | None


@dataclass(frozen=True)
class Selection:
    """The sentences that answer a question: on the question itself, and on the names that helped."""

    direct: Sequence[Sentence]
    older: Sequence[Sentence]
    """Sentences that the first of `direct` replaced, the latest first."""
    about: Sequence[tuple[str, Sequence[Sentence]]]
    missing: frozenset[str]
    """Terms of the question that no passage near the best one has."""
    near: frozenset[int]
    """Numbers of the passages near the best one, quoted or not."""

    @property
    def newest(self) -> frozenset[int]:
        """The numbers of the passages that were chosen last: a further name starts from those."""
        return frozenset(one.read.number for one in self.about[-1][1]) if self.about else self.near


def select(
    question: str, reading: Reading, followed: Sequence[Followed], at: Thresholds = CHOSEN
) -> Selection:
    """Choose what to quote, most relevant first.

    Following a name helped if the passage that was found first for it is about it, or if a passage about it
    has a word of the question that was missing. What else it brought is left out.
    """
    ranked = reading.rank(question)
    direct, older = _in_order(question, reading, ranked, at)
    near = frozenset(sentence.read.number for sentence in _telling(ranked, at.near, at.within))
    quoted = {sentence.read.number for sentence in (*direct, *older)}
    missing = reading.missing(question, near)
    about = []
    for lead in followed:
        own = frozenset(terms(lead.name, reading.language))
        # Searches leave out what was read: if what was found first is not about it, what was read may be.
        was_read = lead.found is not None and not own <= reading.held(lead.found)
        ranked = [
            sentence
            for sentence in reading.rank(f"{question} {lead.name}")
            if (number := sentence.read.number) not in quoted
            and own <= (held := reading.held(number))
            and (number == lead.found or was_read or missing & held)
        ]
        if ranked:
            best = ranked[0]
            number = best.read.number
            same = [one for one in ranked if one.read is best.read and one.weight >= best.weight - at.about]
            about.append((lead.name, same[:FROM_PASSAGE]))
            quoted.add(number)
            missing -= reading.held(number)
    return Selection(direct, older, about, missing, near)


def compose(
    question: str,
    reading: Reading,
    chosen: Selection,
    said: Phrases,
    plan: str = "",
    at: Thresholds = CHOSEN,
) -> str:
    """Quote what answers the question, best first, with citations, in a frame of own words.

    With a plan, the best sentence about each of its lines follows those about the question.
    """
    if not chosen.direct:
        return said.silent
    if not chosen.about and reading.certainty(question) < at.certain:
        return "\n".join([said.nearest, *_quotes(chosen.direct[:1])])
    lines = [said.says, *_quotes(chosen.direct)]
    if chosen.older:
        lines += [said.replaced, *_quotes(chosen.older)]
    used = {sentence.text for sentence in (*chosen.direct, *chosen.older)}
    for expected in plan.splitlines():
        # Skip the line that introduces the others.
        if not expected.strip() or expected.rstrip().endswith(":"):
            continue
        found = next((one for one in reading.rank(expected) if one.text not in used), None)
        if found:
            used.add(found.text)
            lines += _quotes([found])
    for name, sentences in chosen.about:
        lines += [said.about.format(name=name), *_quotes(sentences)]
    return "\n".join(lines)


def said_of(notices: Sequence[Notice], said: Phrases) -> list[str]:
    """Return a sentence for each notice about days that the history, or the calendar, does not have."""
    return [
        said.impossible.format(said=f"“{notice.said}”")
        if notice.kind == "impossible"
        else said.undated.format(days=_span(notice))
        for notice in notices
    ]


def _span(notice: Notice) -> str:
    """The days as any language writes them: one, or the first and the last with a dash."""
    first, last = notice.after, notice.last
    return str(first) if first == last else f"{first or ''} – {last or ''}".strip()


def _in_order(
    question: str, reading: Reading, ranked: Sequence[Sentence], at: Thresholds
) -> tuple[list[Sentence], list[Sentence]]:
    """The sentences to quote on the question itself, best first, and those that the first one replaced."""
    direct = _telling(ranked, at.telling, at.within)
    language = reading.language_of(question)
    asks = order(question, language)
    if asks:
        dated = [sentence for sentence in direct if day(sentence)]
        dated.sort(key=day, reverse=asks == "newest")
        direct = dated + [sentence for sentence in direct if not day(sentence)]
    if not direct or asks == "oldest" or (is_past(question, language) and not asks):
        return direct, []
    asked = topic(reading.asked(question), reading.language)
    worth = reading.worth(asked)
    if sum(worth[term] for term in asked.intersection(terms(ranked[0].text, reading.language))) < at.most:
        return direct, []
    least = ranked[0].weight - (at.changed if asks else at.telling)
    answering = [sentence for sentence in ranked if sentence.weight >= least]
    loose = asks == "newest"
    change = changed(ranked[0], answering, asked, reading.language, loose=loose)
    if not change:
        return direct, []
    first, *older = change
    return [first, *(one for one in direct if one.read is first.read and one is not first)], older[:OLDER]


def _telling(ranked: Sequence[Sentence], gap: float, within: float) -> list[Sentence]:
    """The sentences within `gap` of the best one, passage by passage, most relevant first.

    Further ones of a passage are `within` of its first one.

    A text that stands in several passages is taken once.
    """
    found: dict[int, list[Sentence]] = {}
    texts: set[str] = set()
    for sentence in ranked:
        number = sentence.read.number
        if sentence.weight < ranked[0].weight - gap:
            break
        if sentence.text in texts or (number not in found and len(found) == PASSAGES):
            continue
        same = found.setdefault(number, [])
        if not same or (len(same) < FROM_PASSAGE and sentence.weight >= same[0].weight - within):
            found[number].append(sentence)
            texts.add(sentence.text)
    return [sentence for sentences in found.values() for sentence in sentences]


def _quotes(sentences: Sequence[Sentence]) -> list[str]:
    """A line for each sentence, with its day and its mark."""
    lines = []
    for sentence in sentences:
        date = sentence.read.passage.created_at
        dated = f"{date[:10]}: " if date else ""
        # A bracketed number in the user's own text would be read as a citation.
        quote = _BRACKETED.sub(r"(\1)", escape(sentence.text))
        lines.append(f"- {dated}{quote} [{sentence.read.number}]")
    return lines
