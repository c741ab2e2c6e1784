"""Finds what a newer sentence replaces: an older one that says something else about the same thing.

"My landlord is Gus" and "Mrs Kowalczyk is my landlord now" name the same thing, a landlord, next to a word of
a state ("is"), with another value. What happened is not replaced by what happened later.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.policies.cues import ordering, states, updates
from agent.policies.sentences import ASKING, Sentence
from index.text.sentences import SPEAKER
from index.text.words import function_words, terms, words

NEAR = 4
"""The largest distance, in words, of a thing from the word that ties it to its value."""
_OF = frozenset(("的", *words("का की के")))
"""Words between an owner and the thing."""
_HAN = re.compile(r"[\u2e80-\u9fff]{2}")
"""A pair of characters: with one that has no meaning of its own, it says how a sentence was put."""


@dataclass(frozen=True)
class _Statement:
    speaker: str
    things: frozenset[str]
    """Terms of the question that stand near a word of a state."""
    owner: str
    """The word before the thing: "my landlord" is not "my sister's landlord"."""
    asked: frozenset[str]
    """Terms of the question in the sentence."""
    value: frozenset[str]
    """The words with a meaning of their own that are not in the question."""


def changed(
    best: Sentence, others: Sequence[Sentence], asked: frozenset[str], language: str, *, loose: bool = False
) -> list[Sentence]:
    """Return what `best` and `others` say about the same thing on different days, the latest first.

    The first replaces all that follow. Empty if nothing is replaced. `asked` are the topic of the question,
    all of which that `best` has another sentence must have as well; with `loose`, for a question of the
    present, a thing in common is enough.
    """
    own = _statement(best.text, asked, language)
    if not own.things or not day(best):
        return []
    same = [(best, own)]
    for other in others:
        said = _statement(other.text, asked, language) if day(other) and other is not best else own
        if (
            said is not own
            and said.things & own.things
            and (said.asked == own.asked or loose)
            and (said.speaker, said.owner) == (own.speaker, own.owner)
        ):
            same.append((other, said))
    newest, new = max(same, key=lambda pair: day(pair[0]))
    older = [
        sentence
        for sentence, old in same
        if day(sentence) < day(newest) and new.value - old.value and old.value - new.value
    ]
    return [newest, *sorted(older, key=day, reverse=True)] if older else []


def day(sentence: Sentence) -> str:
    """Return the writer's day of a sentence's passage; '' without one."""
    return (sentence.read.passage.created_at or "")[:10]


def topic(asked: frozenset[str], language: str) -> frozenset[str]:
    """Return the terms of a question without those that only ask, as for the newest or the oldest."""
    empty = function_words(language) | states(language)
    return frozenset(
        term
        for term in asked.difference(terms(ordering(language), language))
        if not (_HAN.match(term) and empty.intersection(term))
    )


def _statement(text: str, asked: frozenset[str], language: str) -> _Statement:
    said = SPEAKER.match(text)
    skipped = updates(language) | _OF
    empty = function_words(language) | updates(language) | states(language)
    speech = words(text[said.end() :] if said else text)
    stems = [frozenset(terms(word, language)) for word in speech]
    tying = [place for place, word in enumerate(speech) if word in states(language)]
    places = [place for place, own in enumerate(stems) if own & asked]
    near = [place for place in places if any(abs(place - other) <= NEAR for other in tying)]
    if text.rstrip().endswith(ASKING):
        near = []
    before = [word for word in speech[: near[0]] if word not in skipped][-1:] if near else []
    return _Statement(
        speaker=said.group(1) if said else "",
        things=frozenset[str]().union(*(stems[place] & asked for place in near)),
        owner="".join(word for word in before if word not in empty),
        asked=frozenset[str]().union(*(stems[place] & asked for place in places)),
        value=frozenset(
            word for word, own in zip(speech, stems, strict=True) if word not in empty and not own & asked
        ),
    )
