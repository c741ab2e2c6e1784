"""BM25 as LaMP publishes it: the Okapi variant over words split at white space.

Equal to BM25Okapi of rank_bm25 0.2.2 (k1 = 1.5, b = 0.75, epsilon = 0.25), to compare with published results.
For people's questions `lexical.py` is better: it stems, ignores case, and its idf is never negative.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

K1, B, EPSILON = 1.5, 0.75, 0.25


class OkapiIndex:
    """BM25 over the words of one profile's passages.

    A term in more than half of the passages has a negative idf, ln(N - n + .5) - ln(n + .5), which is
    replaced by EPSILON times the mean idf. In a profile of a few passages the mean may be negative, too.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(text.split()) for text in texts]
        lengths = np.array([count.total() for count in counts], np.float64)
        mean = lengths.mean() if lengths.any() else 1.0
        self._norm = K1 * (1 - B + B * lengths / mean)
        postings: dict[str, list[tuple[int, int]]] = {}
        for position, count in enumerate(counts):
            for term, frequency in count.items():
                postings.setdefault(term, []).append((position, frequency))
        self._postings = {term: np.array(found, np.int64).T for term, found in postings.items()}
        idf = {term: _idf(len(texts), len(found)) for term, found in postings.items()}
        floor = EPSILON * sum(idf.values()) / len(idf) if idf else 0.0
        self._idf = {term: value if value >= 0 else floor for term, value in idf.items()}
        # Estimated: the terms, their entries in two dictionaries, and an array for each.
        self.nbytes = 16 * sum(map(len, postings.values())) + 400 * len(postings) + self._norm.nbytes

    def scores(self, query: str) -> NDArray[np.float64]:
        """Return the score of every passage, shape (passages,). A repeated word of the query counts again."""
        scores = np.zeros(len(self._norm))
        for term in query.split():
            if term in self._postings:
                positions, frequencies = self._postings[term]
                saturated = frequencies * (K1 + 1) / (frequencies + self._norm[positions])
                scores[positions] += self._idf[term] * saturated
        return scores


def _idf(documents: int, containing: int) -> float:
    return math.log(documents - containing + 0.5) - math.log(containing + 0.5)
