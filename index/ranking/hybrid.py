"""The default ranking: combines similarity and words, with context, and prefers the person and time named.

Reciprocal rank fusion trusts both rankings equally, and a lexical ranking has a best document even if it
found almost nothing. Here each side counts by how much it found: the lexical score is the share of the
question's information that a passage covers, so a question whose words do not occur in the profile is
ranked by similarity alone.
"""

from collections.abc import Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from index.encoding.encoders import Vectors
from index.ranking.profile import Profile
from index.ranking.times import named_windows, nearness, without
from index.text.words import content_terms, terms, words

MEANING = 0.7
"""Weight of the similarity above the profile's mean, relative to a lexical coverage of 1."""
PERSON = 0.2
"""Bonus for a passage by the person named if half of the passages are theirs or fewer; less if more are."""
TIME = 0.5
"""Bonus for a passage of the time that is named."""
NEIGHBOURS_MEANING = (0.2, 0.1)
NEIGHBOURS_WORDS = (0.5, 0.25)
"""Share of a neighbour's score that a passage gets, at a distance of one and of two."""
POOL = 2_000
"""Only this many passages, the most similar ones, get a similarity score."""

Scores = NDArray[np.float64]


def scores(profile: Profile, text: str, vector: Vectors, today: date | None = None) -> Scores:
    """Score every passage, shape (passages,). A score is positive if there is any evidence.

    Meaning: dot products above the mean of the profile, floored at 0. Words: `LexicalIndex.coverage`
    of the question's content words. Both spread to neighbours from the same source, because turns and
    paragraphs give each other context. Passages by the person named get a bonus, and so do those of a time
    that is named, seen from the day `today`; None if times are not to be read.
    """
    people = named(profile, text)
    windows = named_windows(profile, text, today) if today else ()
    timeless = without(text, windows)

    def coverage(language: str) -> NDArray[np.float32]:
        asked = content_terms(timeless, language)
        names = {term for person in people for term in terms(person, language)}
        # The name is dropped from the words: a conversation names mostly the person who is addressed.
        topic = [term for term in asked if term not in names] or asked
        return profile.lexical.coverage(topic)

    meaning = _spread(_meaning(profile, vector), profile.groups, NEIGHBOURS_MEANING)
    covered = _spread(profile.by_language(coverage).astype(float), profile.groups, NEIGHBOURS_WORDS)
    total = MEANING * meaning + covered
    if len(people) == 1:
        total += PERSON * _by(profile, people[0])
    if windows:
        total += TIME * nearness(profile.days, windows)
    return total


def named(profile: Profile, text: str) -> list[str]:
    """Return the people named in `text` who wrote or said something in the profile."""
    asked = set(words(text))
    return [person for person in profile.people if asked & set(words(person))]


def _meaning(profile: Profile, vector: Vectors) -> Scores:
    similarity = np.zeros(len(profile))
    ((found, products),) = profile.vectors.search(vector[None], POOL)
    # The mean counts one extra passage of similarity 0: a single passage could never exceed its own mean.
    expected = float(profile.vectors.mean @ vector) * len(profile) / (len(profile) + 1)
    similarity[found] = np.maximum(products - expected, 0)
    return similarity


def _spread(own: Scores, groups: NDArray[np.int64], weights: Sequence[float]) -> Scores:
    total = own.copy()
    for distance, weight in enumerate(weights, 1):
        together = groups[distance:] == groups[:-distance]
        total[distance:][together] += weight * own[:-distance][together]
        total[:-distance][together] += weight * own[distance:][together]
    return total


def _by(profile: Profile, person: str) -> Scores:
    """Return the evidence in bits for passages by `person`: 1 if half of all or fewer are theirs, 0 if all.

    It is at most 1: a name that few passages have may be no name at all but the head of a list.
    """
    by: Scores = np.array([person in authors for authors in profile.authors], float)
    by *= min(-np.log2(max(by.mean(), 1 / len(by))), 1)
    return by
