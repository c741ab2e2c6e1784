"""FAISS index over one profile's vectors: exact for most users, approximate for very long histories."""

import copy
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

FLAT_UP_TO = 10_000
HNSW_FROM = 50_000

Vectors = NDArray[np.float32]
Positions = NDArray[np.int64]


class VectorIndex:
    """Ranks stored vectors by their dot product with a query, best first, ties in stored order.

    Up to 10,000 vectors the index is flat float32, up to 50,000 flat float16 (half the memory, and just as
    exact because stored vectors are float16), and an HNSW graph above that.

    A version made by `updated` shares the index of the version before. Rows that are gone stay in it and are
    passed over, and rows that were added are in a small flat index of their own.
    """

    def __init__(self, vectors: NDArray[np.float16], *, kind: str | None = None) -> None:
        size, dimension = vectors.shape
        if kind is None:
            kind = "flat" if size <= FLAT_UP_TO else "fp16" if size < HNSW_FROM else "hnsw"
        self.kind = kind
        self.size: int = size
        full = np.ascontiguousarray(vectors, np.float32)
        self._sum = full.sum(axis=0, dtype=np.float64)
        self._longest = _longest(full)
        self._index: Any = _INDEX[kind](dimension)
        if size:
            if not self._index.is_trained:
                self._index.train(full)
            self._index.add(full)
        self._added = full[:0]
        """Vectors of the rows after those of the index."""
        self._rows: Positions | None = None
        """The row of each position; None if it is the same."""
        self._parts = [_Part(self._index)]
        self._index_bytes = (
            int(faiss.serialize_index(self._index).nbytes)
            if kind == "hnsw"
            else (size * dimension * (4 if kind == "flat" else 2))
        )

    def updated(
        self, order: NDArray[np.int64], removed: Positions, added: NDArray[np.float16]
    ) -> "VectorIndex":
        """Return a version with vectors removed, by their positions, and others added.

        `order` gives the former position of each vector, shape (vectors,); those after the last former
        position stand for the added ones.
        """
        new = added.astype(np.float32)
        other = copy.copy(self)
        other.size = len(order)
        other._sum = self._sum - self._vectors(removed).sum(axis=0, dtype=np.float64)
        other._sum = other._sum + new.sum(axis=0, dtype=np.float64)
        other._longest = max(self._longest, _longest(new))
        other._added = np.concatenate([self._added, new])
        indexed: int = self._index.ntotal
        total = indexed + len(other._added)
        former = np.arange(self.size) if self._rows is None else self._rows
        other._rows = np.concatenate([former, np.arange(total - len(new), total)])[order]
        positions = np.full(total, -1)
        positions[other._rows] = np.arange(len(order))
        other._parts = [_Part(self._index, positions[:indexed])]
        if len(other._added):
            flat: Any = faiss.IndexFlatIP(other._added.shape[1])
            flat.add(other._added)
            other._parts.append(_Part(flat, positions[indexed:]))
        return other

    @property
    def mean(self) -> Vectors:
        """Mean vector: its dot product with a query is the query's mean score."""
        mean: Vectors = (self._sum / max(self.size, 1)).astype(np.float32)
        return mean

    @property
    def strays(self) -> int:
        """Number of rows that were added to the index, or are gone from it, since it was built."""
        rows: int = self._index.ntotal
        return rows + 2 * len(self._added) - self.size

    @property
    def nbytes(self) -> int:
        changed = 0 if self._rows is None else 2 * self._rows.nbytes
        return self._index_bytes + 2 * self._added.nbytes + changed

    def search(self, queries: Vectors, k: int) -> list[tuple[Positions, Vectors]]:
        """Return positions and scores of the `k` best vectors for each row of `queries`.

        Scores are float32 dot products, computed in the same way for every stored vector, so equal vectors
        tie exactly and come in stored order.
        """
        k = min(k, self.size)
        if k == 0:
            empty = (np.empty(0, np.int64), np.empty(0, np.float32))
            return [empty for _ in queries]
        queries = np.ascontiguousarray(queries, np.float32)
        # A few more than requested, so that a tie at the end is detected and broken by position.
        wanted = min(self.size, k + 16)
        found = self.search_raw(queries, wanted)
        return [self._break_ties(query, row[row >= 0], k) for query, row in zip(queries, found, strict=True)]

    def search_raw(self, queries: Vectors, k: int) -> Positions:
        """Return FAISS's own result, shape (queries, k), ties in any order: the baseline of `search`."""
        found = [part.search(queries, k) for part in self._parts]
        if len(found) == 1:
            return found[0][1]
        scores, positions = (np.hstack(each) for each in zip(*found, strict=True))
        best = np.argsort(-scores, axis=1)[:, :k]
        return np.take_along_axis(positions, best, axis=1)

    def _break_ties(self, query: Vectors, found: Positions, k: int) -> tuple[Positions, Vectors]:
        # FAISS sums in another order: a vector that it left out may score slightly above its last one. This
        # bounds the rounding error of a float32 dot product.
        error = len(query) * float(np.finfo(np.float32).eps) * self._longest
        rounding = error * float(np.linalg.norm(query))
        while True:
            scores = self.scores(query, found)
            order = np.lexsort((found, -scores))
            best, cut_off = order[:k], scores[order[-1]] + rounding
            tied_out = len(found) < self.size and len(found) >= k and scores[best[-1]] <= cut_off
            if not tied_out or self.kind == "hnsw":
                return found[best], scores[best]
            found = self.search_raw(query[None], min(self.size, 2 * len(found)))[0]

    def scores(self, query: Vectors, positions: Positions) -> Vectors:
        """Return dot products of `query` with the vectors at `positions`, shape (positions,)."""
        rows = self._vectors(positions)
        # Not `rows @ query`: in BLAS, the rounding of a row depends on its position in the matrix.
        products: Vectors = np.einsum("ij,j->i", rows, query, optimize=False)
        return products

    def stored(self) -> NDArray[np.float16]:
        """Return all vectors as they are stored, shape (vectors, dimension)."""
        return self._vectors(np.arange(self.size)).astype(np.float16)

    def vector(self, position: int) -> Vectors:
        vector: Vectors = self._vectors(np.array([position]))[0]
        return vector

    def _vectors(self, positions: Positions) -> Vectors:
        """The vectors at `positions`, shape (positions, dimension)."""
        rows = np.ascontiguousarray(positions if self._rows is None else self._rows[positions], np.int64)
        indexed = rows < self._index.ntotal
        if len(rows) and indexed.all():
            found: Vectors = self._index.reconstruct_batch(rows)
            return found
        found = np.empty((len(rows), self._added.shape[1]), np.float32)
        if indexed.any():
            found[indexed] = self._index.reconstruct_batch(rows[indexed])
        found[~indexed] = self._added[rows[~indexed] - self._index.ntotal]
        return found


class _Part:
    """A FAISS index with the position of each of its rows, -1 for a row that is gone. Without `positions`,
    they are the same as the rows."""

    def __init__(self, index: Any, positions: Positions | None = None) -> None:
        self._index = index
        self._positions = positions
        self._parameters: Any = None
        if positions is not None and not (there := positions >= 0).all():
            # Kept, since FAISS has only its address.
            self._selector = faiss.IDSelectorBitmap(np.packbits(there, bitorder="little"))
            self._parameters = (
                faiss.SearchParametersHNSW(sel=self._selector, efSearch=index.hnsw.efSearch)
                if hasattr(index, "hnsw")
                else faiss.SearchParameters(sel=self._selector)
            )

    def search(self, queries: Vectors, k: int) -> tuple[Vectors, Positions]:
        """Return scores and positions of the best rows, shape (queries, k), the positions -1 at the end if
        there are fewer."""
        scores, rows = self._index.search(queries, k, params=self._parameters)
        if self._positions is None or not len(self._positions):
            return scores, rows
        return scores, np.where(rows < 0, -1, self._positions[rows])


def _longest(vectors: Vectors) -> float:
    """The length of the longest vector."""
    return float(np.sqrt(np.einsum("ij,ij->i", vectors, vectors).max(initial=0)))


def _hnsw(dimension: int) -> Any:
    index: Any = faiss.IndexHNSWSQ(dimension, faiss.ScalarQuantizer.QT_fp16, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 80
    # Questions may be unlike anything stored: with 128, such queries find two thirds of their neighbours.
    index.hnsw.efSearch = 512
    return index


_INDEX: dict[str, Any] = {
    "flat": faiss.IndexFlatIP,
    "fp16": lambda dimension: faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    ),
    "hnsw": _hnsw,
}
