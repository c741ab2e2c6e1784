"""Finds the people of a profile in a question: by name, by the name others call them, or misspelled."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from index.documents import Document
from index.text.sentences import SPEAKER
from index.text.words import FUNCTION_WORDS, words

_NAME = re.compile(r"[^\W\d_a-z][^\W\d_]+")
"""A word that may be a name: at least two letters, the first of which is not a small one."""
_ADDRESS = re.compile(r"(?:^|[.!?\n]\s?)(?:[^\W\d_]{1,12}[,!]? )?([^\W\d_a-z][^\W\d_]{1,30})(?=[,!?.])")
"""A name at the beginning of a sentence, after one word at most: "Hey Mel!", "Thanks, Mel.", "Mel, ..."."""
_LAST = re.compile(r", ([^\W\d_a-z][^\W\d_]{1,30})(?=[!?.])")
"""A name at the end of a sentence: "That is great, Mel!"."""
_OFTEN, _AGREED = 2, 0.8
"""How often somebody is called by a name, and the share of its uses that mean the same person."""
_SHORTEST, _LONG = 3, 4
"""Letters of a short form, and of the longer of two spellings of a name."""


class Turn(NamedTuple):
    """A turn of a conversation, its speaker and the names that may address somebody in lower case."""

    source: str | int | None
    """The source, or its code."""
    speaker: str
    names: frozenset[str]


def votes(turns: Iterable[Turn]) -> dict[str, Counter[str]]:
    """Count whom each name may mean in conversations, in lower case.

    In a conversation, whoever is addressed spoke last, or speaks next.
    """
    meant: dict[str, Counter[str]] = {}
    for (source, speaker, names), (other_source, other, other_names) in pairwise(turns):
        if source != other_source or speaker == other:
            continue
        for said, to in ((names, other), (other_names, speaker)):
            for name in said:
                meant.setdefault(name, Counter())[to] += 1
    return meant


def addressed(name: str, votes: Counter[str], people: Collection[str]) -> str | None:
    """Return which of `people` others call by a name, such as Melanie by Mel; None if it is not certain.

    A name has to resemble the person's, since exclamations and places stand where names do. All in lower
    case.
    """
    [(person, count)] = votes.most_common(1)
    certain = count >= _OFTEN and count >= _AGREED * votes.total()
    return person if certain and person in people and _resembles(name, words(person)) else None


def named(
    text: str,
    people: Sequence[str],
    called: Callable[[str], str | None],
    known: Callable[[str], bool],
) -> dict[str, set[str]]:
    """The people who are named in a question, in the order of `people`, with the words that name them.

    A word that is nobody's name counts as one if others call somebody by it: `called` returns whom.
    Otherwise, if it looks like a name and is not `known` to the profile, it counts as a short form or a
    misspelling of the only name that it may stand for.
    """
    by_word: dict[str, set[str]] = {}
    for person in people:
        for word in words(person):
            by_word.setdefault(word, set()).add(person)
    found: dict[str, set[str]] = {}
    for word in words(text):
        for person in by_word.get(word, ()):
            found.setdefault(person, set()).add(word)
    for word in {name.lower() for name in _NAME.findall(text)} - by_word.keys() - FUNCTION_WORDS:
        person_called = called(word)
        meant = {person_called} if person_called else set()
        if not meant and not known(word):
            alike = [own for own in by_word if _short_form(word, own) or _misspelled(word, own)]
            meant = set().union(*(by_word[own] for own in alike))
        if len(meant) == 1:
            found.setdefault(meant.pop(), set()).add(word)
    return {person: found[person] for person in people if person in found}


def turns(document: Document) -> Iterator[Turn]:
    """The turns of a document: those of its transcript, or one of its author."""
    lines = list(SPEAKER.finditer(document.text))
    ends = [*(line.start() for line in lines[1:]), len(document.text)]
    if lines:
        for line, end in zip(lines, ends, strict=True):
            yield _turn(document.source, line.group(1), document.text[line.end() : end])
    elif document.author:
        yield _turn(document.source, document.author, document.text)


def _turn(source: str | None, speaker: str, text: str) -> Turn:
    names = {name.lower() for name in (*_ADDRESS.findall(text), *_LAST.findall(text))}
    return Turn(source, speaker.lower(), frozenset(names))


def _resembles(name: str, own: Sequence[str]) -> bool:
    """Whether a name is made from a part of a person's own, and is not one of its words."""
    return name not in own and any(
        name[:2] == word[:2] or (len(name) >= _SHORTEST and name in word) for word in own
    )


def _short_form(word: str, name: str) -> bool:
    return len(word) >= _SHORTEST and name.startswith(word)


def _misspelled(word: str, name: str) -> bool:
    """Whether one letter is missing, too many, another, or in the other's place."""
    short, long = sorted((word, name), key=len)
    if len(short) < _SHORTEST or len(long) < _LONG or len(long) - len(short) > 1:
        return False
    first = next(
        (i for i, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]), len(short)
    )
    if len(short) < len(long):
        return short[first:] == long[first + 1 :]
    swapped = short[:first] + short[first : first + 2][::-1] + short[first + 2 :]
    return short[first + 1 :] == long[first + 1 :] or swapped == long
