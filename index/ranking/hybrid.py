"""The default ranking: meaning and words together, in their context, for the person who is asked about.

Reciprocal rank fusion trusts both rankings alike, and a lexical ranking has a best document even when
it found next to nothing. Here each side counts by how much it found: the lexical score is the share of
the question's information that a passage covers, so a question whose words the profile does not use
is answered by meaning alone.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from index.encoding.encoders import Vectors
from index.ranking.profile import Profile
from index.text.words import content_terms, stem, words

MEANING = 0.7
"""Weight of the cosine above the profile's mean, against a lexical coverage of 1."""
PERSON = 0.2
"""What being by the person named adds, when half of the passages are; more when fewer are."""
NEIGHBOURS_MEANING = (0.2, 0.1)
NEIGHBOURS_WORDS = (0.5, 0.25)
"""How much of a neighbour's score a passage gets: of the next ones, of the ones after them."""
POOL = 2_000
"""Above this many passages, only the best by meaning have their similarity counted."""

Scores = NDArray[np.float64]


def scores(profile: Profile, text: str, vector: Vectors) -> Scores:
    """A score for every passage, shape (passages,). Positive where anything speaks for it.

    Meaning: dot products above the mean of the profile, floored at 0. Words: `LexicalIndex.coverage`
    by the question's content words. Both are spread to neighbours of the same source, because turns
    and paragraphs give each other context. A preference for passages by the person named is added.
    """
    people = named(profile, text)
    terms = content_terms(text)
    names = set(stem([word for person in people for word in words(person)]))
    # The name is dropped from the words: in a conversation those who are spoken to are named most.
    topic = [term for term in terms if term not in names] or terms
    meaning = _spread(_meaning(profile, vector), profile.groups, NEIGHBOURS_MEANING)
    covered = _spread(profile.lexical.coverage(topic).astype(float), profile.groups, NEIGHBOURS_WORDS)
    total = MEANING * meaning + covered
    if len(people) == 1:
        total += PERSON * _by(profile, people[0])
    return total


def named(profile: Profile, text: str) -> list[str]:
    """The people of the profile, those who wrote or said something in it, that `text` names."""
    asked = set(words(text))
    return [person for person in profile.people if asked & set(words(person))]


def _meaning(profile: Profile, vector: Vectors) -> Scores:
    similarity = np.zeros(len(profile))
    ((found, products),) = profile.vectors.search(vector[None], POOL)
    # As if one passage more had nothing to do with it: else a lone passage would never be above its mean.
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
    """1 bit of evidence for passages by `person` when half of all are; none when all are."""
    by: Scores = np.array([person in authors for authors in profile.authors], float)
    by *= -np.log2(max(by.mean(), 1 / len(by)))
    return by
