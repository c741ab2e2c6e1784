"""Names in quoted passages that stand close to the question's words, and may lead to what is missing."""

import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from agent.policies.cues import CALENDAR, NAME
from agent.policies.sentences import Reading
from index.text.sentences import SPEAKER
from index.text.words import FUNCTION_WORDS, POSSESSIVE, function_words, terms, words

NEAR = 12
"""The largest distance, in words, at which a name counts as related to a word of the question."""

_TITLES = frozenset("dr mr mrs ms miss prof sir dear hello hi mum dad".split())
_PEOPLE = (
    "schwester bruder mutter vater oma opa tante onkel cousin cousine neffe nichte sohn tochter enkel "
    "enkelin freund freundin nachbar nachbarin kollege kollegen kollegin chef chefin lehrer lehrerin arzt "
    "ärztin professor familie herr herrn frau hund katze kater hotel restaurant café firma"
).split()
_INTRODUCED = re.compile(
    rf"\b(?:(?i:{'|'.join(_PEOPLE)})|[Dd]r\.|[Pp]rof\.|heißt|hieß|heißen|namens|genannt)"
    r"(?= ([^\W\d_a-z][\w'’-]+))"
)
"""German nouns have capital letters as names do: a name stands behind a word that says who or what it is."""
_ORDINARY = FUNCTION_WORDS | CALENDAR | _TITLES | {word for noun in _PEOPLE for word in words(noun)}
"""Capitalized words that are not names to follow."""


@dataclass(frozen=True)
class Lead:
    """A name that is not in the question, and the number of the passage that mentions it."""

    name: str
    number: int


def find_lead(question: str, reading: Reading, numbers: Collection[int], followed: str) -> Lead | None:
    """The best name to follow from the passages with these numbers: a new one, close to a rare asked word.

    For example, "my sister Ines" names the question's "my sister". None if there is no name, or if all of
    them are in `followed`.
    """
    language = reading.language
    asked = reading.asked(question)
    read = [(one.number, one.passage.text) for one in reading.reads]
    known = set(terms(question, language)) | set(terms(followed, language))
    for _, text in read:
        known |= {term for speaker in SPEAKER.findall(text) for term in terms(speaker, language)}
    topicless = _ORDINARY | function_words(language)
    names, certain = (_nouns, _introduced) if language == "de" else (_names, _inside)
    named = {word for line in reading.lines for name in certain(line.text) for word in words(name)}
    weights: dict[Lead, float] = {}
    for number, text in read:
        if number not in numbers:
            continue
        speech = SPEAKER.sub("", text)
        said = terms(speech, language)
        places: dict[str, list[int]] = {}
        for place, term in enumerate(said):
            places.setdefault(term, []).append(place)
        for name in dict.fromkeys(names(speech)):
            parts, own = set(words(name)), terms(name, language)
            if not own or not parts <= named or parts & topicless or set(own) & known:
                continue
            near = max(
                (
                    math.log1p(len(read) / reading.frequency[word]) * (1 - abs(i - j) / (NEAR + 1))
                    for i in places.get(own[0], ())
                    for j in range(max(i - NEAR, 0), min(i + NEAR + 1, len(said)))
                    if (word := said[j]) in asked
                ),
                default=0.0,
            )
            if near:
                weights[Lead(name, number)] = near
    return max(weights, key=lambda lead: weights[lead], default=None)


def _names(text: str, start: int = 0) -> list[str]:
    """Capitalized words and sequences of them, of which none begins before `start`."""
    speech = SPEAKER.sub("", text)
    return [
        POSSESSIVE.sub("", match.group())
        for match in NAME.finditer(speech)
        # The pattern takes letters of scripts without capitals, too.
        if match.group()[0].isupper() and match.start() >= start
    ]


def _inside(sentence: str) -> list[str]:
    """Names that do not begin their sentence, where every word has a capital letter."""
    return _names(sentence, start=1)


def _nouns(text: str) -> list[str]:
    """Words with capital letters, of which several in a row need not be one name."""
    return [word for name in _names(text) for word in name.split()]


def _introduced(sentence: str) -> list[str]:
    """German names, behind a noun or a title that says who they are, or behind a word for being called."""
    return [match.group(1) for match in _INTRODUCED.finditer(sentence)]
