"""Names in quoted passages that stand close to the question's words, and may lead to what is missing."""

import math
from collections.abc import Collection
from dataclasses import dataclass

from agent.policies.sentences import CALENDAR, NAME, Reading
from index.text.sentences import SPEAKER
from index.text.words import FUNCTION_WORDS, POSSESSIVE, function_words, terms, words

NEAR = 12
"""The largest distance, in words, at which a name counts as related to a word of the question."""

_TITLES = frozenset("dr mr mrs ms miss prof sir dear hello hi mum dad".split())
_ORDINARY = FUNCTION_WORDS | CALENDAR | _TITLES
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
    inside = {
        word for line in reading.lines for name in _names(line.text, inside=True) for word in words(name)
    }
    weights: dict[Lead, float] = {}
    for number, text in read:
        if number not in numbers:
            continue
        speech = SPEAKER.sub("", text)
        said = terms(speech, language)
        places: dict[str, list[int]] = {}
        for place, term in enumerate(said):
            places.setdefault(term, []).append(place)
        for name in dict.fromkeys(_names(speech)):
            parts, own = set(words(name)), terms(name, language)
            if not own or not parts <= inside or parts & topicless or set(own) & known:
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


def _names(text: str, *, inside: bool = False) -> list[str]:
    """Capitalized words and sequences of them; with `inside`, only those not at the start of the sentence."""
    speech = SPEAKER.sub("", text)
    matches = NAME.finditer(speech)
    return [
        POSSESSIVE.sub("", match.group())
        for match in matches
        # The pattern takes letters of scripts without capitals, too.
        if match.group()[0].isupper() and (not inside or match.start() > 0)
    ]
