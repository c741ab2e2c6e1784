"""FAISS index over one profile's vectors: exact for most users, approximate for very long histories."""

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
    """

    def __init__(self, vectors: NDArray[np.float16], *, kind: str | None = None) -> None:
        size, dimension = vectors.shape
        if kind is None:
            kind = "flat" if size <= FLAT_UP_TO else "fp16" if size < HNSW_FROM else "hnsw"
        self.kind = kind
        self.size = size
        full = np.ascontiguousarray(vectors, np.float32)
        self.mean = full.mean(axis=0) if size else np.zeros(dimension, np.float32)
        """Mean vector: its dot product with a query is the query's mean score."""
        # Bound on the rounding error of a float32 dot product with a query of length 1.
        longest = float(np.sqrt(np.einsum("ij,ij->i", full, full).max(initial=0)))
        self._rounding = dimension * float(np.finfo(np.float32).eps) * longest
        self._index: Any = _INDEX[kind](dimension)
        if size:
            if not self._index.is_trained:
                self._index.train(full)
            self._index.add(full)
        self.nbytes = (
            int(faiss.serialize_index(self._index).nbytes)
            if kind == "hnsw"
            else (size * dimension * (4 if kind == "flat" else 2))
        )

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
        found: Positions = self._index.search(queries, k)[1]
        return found

    def _break_ties(self, query: Vectors, found: Positions, k: int) -> tuple[Positions, Vectors]:
        # FAISS sums in another order: a vector that it left out may score slightly above its last one.
        rounding = self._rounding * float(np.linalg.norm(query))
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
        rows = self._index.reconstruct_batch(np.ascontiguousarray(positions, np.int64))
        # Not `rows @ query`: in BLAS, the rounding of a row depends on its position in the matrix.
        products: Vectors = np.einsum("ij,j->i", rows, query, optimize=False)
        return products

    def stored(self) -> NDArray[np.float16]:
        """Return all vectors as they are stored, shape (vectors, dimension)."""
        if not self.size:
            return np.empty((0, len(self.mean)), np.float16)
        rows: NDArray[np.float16] = self._index.reconstruct_n(0, self.size).astype(np.float16)
        return rows

    def vector(self, position: int) -> Vectors:
        vector: Vectors = self._index.reconstruct(int(position))
        return vector


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
