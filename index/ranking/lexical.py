"""BM25 over the passages of one profile."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

K1, B = 1.5, 0.75


@dataclass(frozen=True)
class Counted:
    """Terms of one passage: their numbers in a vocabulary, and how often each occurs, shape (terms,)."""

    terms: NDArray[np.int32]
    counts: NDArray[np.int32]


class Vocabulary:
    """Numbers terms in the order in which they come. The versions of a profile share one, so that what was
    counted for one version need not be counted again for the next."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, term: str) -> int | None:
        return self._numbers.get(term)

    def count(self, terms: Iterable[str]) -> Counted:
        """Number and count the terms of a passage. Safe to call from several threads."""
        counts: dict[int, int] = {}
        with self._lock:
            for term in terms:
                number = self._numbers.setdefault(term, len(self._numbers))
                counts[number] = counts.get(number, 0) + 1
        return Counted(
            np.fromiter(counts.keys(), np.int32, len(counts)),
            np.fromiter(counts.values(), np.int32, len(counts)),
        )


class LexicalIndex:
    """BM25 over the terms of one profile's passages (Lucene's variant, k1 = 1.5, b = 0.75).

    Lucene's idf, ln(1 + (N - n + .5) / (n + .5)), is positive for every term. The Okapi variant of
    rank_bm25 is not: in a profile of a few documents, a term that occurs in half of them would count
    against them. The term-frequency part differs from Okapi's only by the constant factor k1 + 1, so with
    the same idf both rank alike.
    """

    def __init__(self, documents: Sequence[Counted], vocabulary: Vocabulary) -> None:
        """`vocabulary` is that which the documents were counted with."""
        self._vocabulary = vocabulary
        self._size = len(documents)
        known = len(vocabulary)
        sizes = np.array([len(document.terms) for document in documents], np.int64)
        ends = np.concatenate([[0], np.cumsum(sizes)])
        terms = np.concatenate([np.empty(0, np.int32), *(document.terms for document in documents)])
        counts = np.concatenate([np.empty(0, np.int32), *(document.counts for document in documents)])
        totals = np.concatenate([[0], np.cumsum(counts)])
        lengths = np.diff(totals[ends]).astype(np.float32)
        typical = float(lengths.mean()) if lengths.any() else 1.0
        norms = np.repeat(np.float32(K1) * (1 - B + B * lengths / np.float32(typical)), sizes)
        weights = (counts / (counts + norms)).astype(np.float32)
        by_term = csr_array((weights, terms, ends), shape=(self._size, known)).tocsc()
        self._starts, self._passages, self._weights = by_term.indptr, by_term.indices, by_term.data
        having = np.diff(self._starts)
        self._having = having
        self._idf = np.log1p((self._size - having + 0.5) / (having + 0.5))
        self._unseen = float(np.log1p((self._size + 0.5) / 0.5))

    @classmethod
    def of_terms(cls, documents: Iterable[Iterable[str]]) -> "LexicalIndex":
        """Index the term lists of passages, with a vocabulary of their own."""
        vocabulary = Vocabulary()
        return cls([vocabulary.count(terms) for terms in documents], vocabulary)

    def __contains__(self, term: str) -> bool:
        return self._number(term) is not None

    def _number(self, term: str) -> int | None:
        """The number of a term that occurs; the vocabulary may also have those of other versions."""
        number = self._vocabulary.number(term)
        return number if number is not None and number < len(self._having) and self._having[number] else None

    def idf(self, term: str) -> float:
        """Return the inverse document frequency of `term`; highest for a term that does not occur."""
        number = self._number(term)
        return self._unseen if number is None else float(self._idf[number])

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Return the BM25 score of every passage, shape (passages,); 0 if no term of the query occurs.

        A repeated term of the query counts again.
        """
        scores = np.zeros(self._size, np.float32)
        for term in query:
            number = self._number(term)
            if number is not None:
                its = slice(self._starts[number], self._starts[number + 1])
                scores[self._passages[its]] += np.float32(self._idf[number]) * self._weights[its]
        return scores

    def coverage(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Return the share of the query's information in each passage, in [0, 1), shape (passages,).

        This is the BM25 score divided by the highest score that any passage could reach, so terms that the
        profile does not contain lower the coverage.
        """
        total = sum(self.idf(term) for term in query)
        return self.scores(query) / np.float32(total or 1.0)
