"""The default ranking: combines similarity and words, with context, and prefers the person and time named.

Reciprocal rank fusion trusts both rankings equally, and a lexical ranking has a best document even if it
found almost nothing. Here each side counts by how much it found: the lexical score is the share of the
question's information that a passage covers, so a question whose words do not occur in the profile is
ranked by similarity alone.
"""

from datetime import date

import numpy as np
from numpy.typing import NDArray

from index.encoding.encoders import Vectors
from index.ranking.profile import Profile
from index.ranking.times import named_times, nearness, without
from index.ranking.weights import BY_HAND, Weights
from index.text.words import content_terms, terms

POOL = 2_000
"""Only this many passages, the most similar ones, get a similarity score."""

SIGNALS = tuple(Weights.model_fields)
Scores = NDArray[np.float64]


def scores(
    profile: Profile, text: str, vector: Vectors, today: date | None = None, weights: Weights = BY_HAND
) -> Scores:
    """Score every passage, shape (passages,): the weighted sum of the `signals`.

    A score is positive if there is any evidence.
    """
    total: Scores = weights.vector @ signals(profile, text, vector, today)
    return total


def signals(profile: Profile, text: str, vector: Vectors, today: date | None = None) -> Scores:
    """Return the signals of every passage, shape (SIGNALS, passages), each at least 0.

    Meaning: dot products above the mean of the profile, floored at 0, with little weight in a language that
    the encoder does not know (`Profile.familiarity`). Words: `LexicalIndex.coverage` of the question's words
    with a topic. Both also of the neighbours from the same source, because turns and paragraphs give each
    other context. Person: whether a passage is by the person named, if there is one. Time: how near it is to
    a time that is named, seen from the day `today`; None if times are not to be read.
    """
    people = profile.named(text)
    naming = {*people, *(word for said in people.values() for word in said)}
    windows = named_times(profile, text, today).windows if today else ()
    timeless = without(text, windows)

    def coverage(language: str) -> NDArray[np.float32]:
        asked = content_terms(timeless, language)
        names = {term for each in naming for term in terms(each, language)}
        # The name is dropped from the words: a conversation names mostly the person who is addressed.
        topic = [term for term in asked if term not in names] or asked
        return profile.lexical.coverage(topic)

    found = np.zeros((len(SIGNALS), len(profile)))
    meaning, near_meaning, words, near_words, person, time = found
    meaning[:] = profile.familiarity * _meaning(profile, vector)
    near_meaning[:] = _neighbours(meaning, profile.groups)
    words[:] = profile.by_language(coverage)
    near_words[:] = _neighbours(words, profile.groups)
    if len(people) == 1:
        person[:] = _by(profile, next(iter(people)))
    if windows:
        time[:] = nearness(profile.days, windows)
    return found


def _meaning(profile: Profile, vector: Vectors) -> Scores:
    similarity = np.zeros(len(profile))
    if len(profile) <= POOL:
        found = np.arange(len(profile))
        products = profile.vectors.scores(vector, found)
    else:
        ((found, products),) = profile.vectors.search(vector[None], POOL)
    # The mean counts one extra passage of similarity 0: a single passage could never exceed its own mean.
    expected = float(profile.vectors.mean @ vector) * len(profile) / (len(profile) + 1)
    similarity[found] = np.maximum(products - expected, 0)
    return similarity


def _neighbours(own: Scores, groups: NDArray[np.int64]) -> Scores:
    """Return two thirds of the next and a third of the second neighbours' scores, within a group."""
    total = np.zeros_like(own)
    for distance, share in ((1, 2 / 3), (2, 1 / 3)):
        together = groups[distance:] == groups[:-distance]
        total[distance:][together] += share * own[:-distance][together]
        total[:-distance][together] += share * own[distance:][together]
    return total


def _by(profile: Profile, person: str) -> Scores:
    """Return the evidence in bits for passages by `person`: 1 if half of all or fewer are theirs, 0 if all.

    A passage without an author may be theirs, and counts as if it were. The evidence is at most 1: a name
    that few passages have may be no name at all but the head of a list.
    """
    by: Scores = profile.by(person).astype(float)
    by *= min(-np.log2(max(by.mean(), 1 / len(by))), 1)
    return by
