"""BM25 over the passages of one profile, which can be brought up to date without counting all again."""

import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from index.ranking.codes import Codes
from index.text.words import forms

K1, B = 1.5, 0.75


class Postings(NamedTuple):
    """Occurrences of terms in rows, an entry for each pair, shape (pairs,) each."""

    terms: NDArray[np.int32]
    rows: NDArray[np.int32]
    counts: NDArray[np.int32]

    @classmethod
    def of(cls, passages: Iterable[Iterable[str]], vocabulary: Codes[str], first: int = 0) -> "Postings":
        """Count the terms of passages, which become the rows from `first` on."""
        counted = [Counter(terms) for terms in passages]
        return cls(
            vocabulary.of(chain.from_iterable(counted)),
            np.repeat(np.arange(first, first + len(counted), dtype=np.int32), list(map(len, counted))),
            np.array(list(chain.from_iterable(each.values() for each in counted)), np.int32),
        )


class LexicalIndex:
    """BM25 over the terms of one profile's passages (Lucene's variant, k1 = 1.5, b = 0.75).

    Lucene's idf, ln(1 + (N - n + .5) / (n + .5)), is positive for every term. The Okapi variant of
    rank_bm25 is not: in a profile of a few documents, a term that occurs in half of them would count
    against them. The term-frequency part differs from Okapi's only by the constant factor k1 + 1, so with
    the same idf both rank alike.

    A version made by `updated` shares the postings of the version before. Rows that are gone stay among them
    and rows that were added follow in a list of their own, while all statistics are those of the passages
    that are there.
    """

    def __init__(self, counts: csr_array, vocabulary: Codes[str]) -> None:
        """`counts` are the occurrences of the vocabulary's terms, shape (passages, terms)."""
        by_term = counts.tocsc()
        self._vocabulary = vocabulary
        self._starts: NDArray[np.int32] = by_term.indptr
        self._passages: NDArray[np.int32] = by_term.indices
        self._counts: NDArray[np.int32] = by_term.data
        self._added = Postings.of((), vocabulary)
        self._having: NDArray[np.int64] = np.diff(self._starts).astype(np.int64)
        self._lengths = np.asarray(counts.sum(axis=1), np.int64)
        self._rows: NDArray[np.int64] = np.arange(counts.shape[0])
        """The row of each passage."""
        self._normalize()

    @classmethod
    def of_terms(cls, passages: Iterable[Iterable[str]]) -> "LexicalIndex":
        """Index the term lists of passages, with a vocabulary of their own."""
        vocabulary: Codes[str] = Codes()
        listed = [list(terms) for terms in passages]
        found = Postings.of(listed, vocabulary)
        shape = (len(listed), len(vocabulary))
        return cls(csr_array((found.counts, (found.rows, found.terms)), shape=shape), vocabulary)

    @classmethod
    def of_words(cls, passages: Sequence[str], languages: Mapping[str, NDArray[np.bool_]]) -> "LexicalIndex":
        """Index passages by their words (see words.split), joined by spaces.

        `languages` says which passages are in each language, shape (passages,).
        """
        vocabulary: Codes[str] = Codes()
        parts, order = [], []
        for language, own in languages.items():
            positions = np.flatnonzero(own)
            order.append(positions)
            parts.append(_counted([passages[i] for i in positions.tolist()], language, vocabulary))
        for part in parts:
            part.resize((part.shape[0], len(vocabulary)))
        if len(parts) == 1:
            return cls(parts[0], vocabulary)
        empty = csr_array((0, len(vocabulary)), dtype=np.int32)
        stacked = vstack([empty, *parts], format="csr")
        return cls(stacked[np.argsort(np.concatenate([np.empty(0, np.int64), *order]))], vocabulary)

    def updated(
        self,
        order: NDArray[np.int64],
        removed: Iterable[Iterable[str]],
        added: Sequence[Iterable[str]],
    ) -> "LexicalIndex":
        """Return a version with some passages removed and others added, by their terms.

        `order` gives the former position of each passage, shape (passages,); those after the last former
        position stand for the added ones.
        """
        other = copy.copy(self)
        first = len(self._lengths)
        new = Postings.of(added, self._vocabulary, first)
        old = Postings.of(removed, self._vocabulary)
        both = zip(self._added, new, strict=True)
        other._added = Postings(*(np.concatenate(pair) for pair in both))
        other._having = np.zeros(len(self._vocabulary), np.int64)
        other._having[: len(self._having)] = self._having
        np.add.at(other._having, new.terms, 1)
        np.subtract.at(other._having, old.terms, 1)
        lengths = np.bincount(new.rows - first, new.counts, minlength=len(added)).astype(np.int64)
        other._lengths = np.concatenate([self._lengths, lengths])
        other._rows = np.concatenate([self._rows, np.arange(first, first + len(added))])[order]
        other._normalize()
        return other

    def _normalize(self) -> None:
        total = int(self._lengths[self._rows].sum())
        typical = total / len(self._rows) if total else 1.0
        # float32, as the weights are.
        lengths = self._lengths.astype(np.float32)
        self._norms = np.float32(K1) * (1 - B + B * lengths / np.float32(typical))

    @property
    def nbytes(self) -> int:
        """Memory in bytes; a term of the vocabulary takes about 150."""
        arrays = (self._starts, self._passages, self._counts, self._having, self._lengths, self._rows)
        return sum(each.nbytes for each in (*arrays, *self._added, self._norms)) + 150 * len(self._vocabulary)

    def __contains__(self, term: str) -> bool:
        return self._number(term) is not None

    def _number(self, term: str) -> int | None:
        """The number of a term that occurs; the vocabulary may also have those of other versions."""
        number = self._vocabulary.find(term)
        return number if number is not None and number < len(self._having) and self._having[number] else None

    def idf(self, term: str) -> float:
        """Return the inverse document frequency of `term`; highest for a term that does not occur."""
        number = self._number(term)
        having = 0 if number is None else int(self._having[number])
        return float(np.log1p((len(self._rows) - having + 0.5) / (having + 0.5)))

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Return the BM25 score of every passage, shape (passages,); 0 if no term of the query occurs.

        A repeated term of the query counts again.
        """
        scores = np.zeros(len(self._lengths), np.float32)
        for term in query:
            number = self._number(term)
            if number is None:
                continue
            idf = np.float32(self.idf(term))
            for rows, counts in self._occurrences(number):
                scores[rows] += idf * (counts / (counts + self._norms[rows])).astype(np.float32)
        return scores[self._rows]

    def _occurrences(self, number: int) -> Iterable[tuple[NDArray[np.int32], NDArray[np.int32]]]:
        """Yield rows that have a term, with how often."""
        if number + 1 < len(self._starts):
            its = slice(self._starts[number], self._starts[number + 1])
            yield self._passages[its], self._counts[its]
        if len(self._added.terms):
            at = np.flatnonzero(self._added.terms == number)
            yield self._added.rows[at], self._added.counts[at]

    def coverage(self, query: Sequence[str]) -> NDArray[np.float32]:
        """Return the share of the query's information in each passage, in [0, 1), shape (passages,).

        This is the BM25 score divided by the highest score that any passage could reach, so terms that the
        profile does not contain lower the coverage.
        """
        total = sum(self.idf(term) for term in query)
        return self.scores(query) / np.float32(total or 1.0)


def _counted(passages: Sequence[str], language: str, vocabulary: Codes[str]) -> csr_array:
    """Count the terms of passages in one language, shape (passages, terms). Each word is stemmed once."""
    split = " ".join(filter(None, passages)).split(" ") if any(passages) else []
    lengths = [passage.count(" ") + 1 if passage else 0 for passage in passages]
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    words = np.fromiter(map(numbers.__getitem__, split), np.int32, len(split))
    starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    by_word = csr_array((np.ones(len(words), np.int32), words, starts), shape=(len(passages), len(numbers)))
    each = forms(list(numbers), language)
    ends = np.concatenate([[0], np.cumsum(list(map(len, each)), dtype=np.int64)])
    terms = vocabulary.of(chain.from_iterable(each))
    of_word = csr_array((np.ones(len(terms), np.int32), terms, ends), shape=(len(each), len(vocabulary)))
    return csr_array(by_word @ of_word)
