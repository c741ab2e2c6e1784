import numpy as np
import pytest
from numpy.typing import NDArray

from index.ranking.vectors import VectorIndex

Vectors = NDArray[np.float32]


def brute_force(stored: NDArray[np.float16], query: Vectors, k: int) -> tuple[list[int], list[float]]:
    products = np.einsum("ij,j->i", stored.astype(np.float32), query, optimize=False)
    order = np.lexsort((np.arange(len(products)), -products))[:k]
    return order.tolist(), products[order].tolist()


def clustered(size: int, dimension: int, clusters: int, seed: int = 0) -> NDArray[np.float16]:
    dice = np.random.default_rng(seed)
    centres = dice.normal(size=(clusters, dimension))
    noise = dice.normal(size=(size, dimension))
    vectors = centres[dice.integers(clusters, size=size)] + 0.5 * noise
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    half: NDArray[np.float16] = vectors.astype(np.float16)
    return half


@pytest.mark.parametrize("kind", ["flat", "fp16"])
@pytest.mark.parametrize("k", [1, 10, 250, 5_000])
def test_exact_kinds_agree_with_brute_force(kind: str, k: int) -> None:
    stored = clustered(1_000, 48, 20)
    queries = clustered(5, 48, 20, seed=1).astype(np.float32)
    index = VectorIndex(stored, kind=kind)
    for query, (positions, scores) in zip(queries, index.search(queries, k), strict=True):
        assert (positions.tolist(), scores.tolist()) == brute_force(stored, query, k)


@pytest.mark.parametrize("kind", ["flat", "fp16"])
@pytest.mark.parametrize("different", [1, 3, 40])
def test_equal_vectors_come_in_stored_order(kind: str, different: int) -> None:
    dice = np.random.default_rng(different)
    stored = clustered(different, 48, 5)[dice.integers(different, size=2_000)]
    queries = dice.normal(size=(3, 48)).astype(np.float32)
    index = VectorIndex(stored, kind=kind)
    for k in (1, 7, 100, 1_999):
        for query, (positions, scores) in zip(queries, index.search(queries, k), strict=True):
            assert (positions.tolist(), scores.tolist()) == brute_force(stored, query, k)


@pytest.mark.parametrize("kind", ["flat", "fp16"])
@pytest.mark.parametrize("seed", range(8))
def test_vectors_that_differ_by_a_rounding_come_in_the_order_of_their_scores(kind: str, seed: int) -> None:
    dice = np.random.default_rng(seed)
    stored = np.repeat(clustered(1, 48, 1), 2_000, axis=0)
    query = dice.normal(size=48).astype(np.float32)
    # Changes along directions that the query hardly sees: distinct vectors, all but equal scores.
    query[:8] = 10.0 ** -dice.integers(3, 7)
    stored[:, :8] += dice.normal(size=(2_000, 8)).astype(np.float16) * np.float16(0.01)
    index = VectorIndex(stored, kind=kind)
    for k in (1, 10, 100):
        ((positions, scores),) = index.search(query[None], k)
        assert (positions.tolist(), scores.tolist()) == brute_force(stored, query, k)


@pytest.mark.parametrize("kind", ["flat", "fp16", "hnsw"])
def test_few_or_no_vectors_are_no_trouble(kind: str) -> None:
    query = np.ones((2, 4), np.float32)
    empty = VectorIndex(np.empty((0, 4), np.float16), kind=kind)
    assert [positions.tolist() for positions, _ in empty.search(query, 5)] == [[], []]
    assert empty.mean.tolist() == [0, 0, 0, 0]
    one = VectorIndex(np.ones((1, 4), np.float16), kind=kind)
    assert [(p.tolist(), s.tolist()) for p, s in one.search(query, 5)] == [([0], [4.0])] * 2
    assert [positions.tolist() for positions, _ in one.search(query, 0)] == [[], []]


def test_stored_vectors_come_back_as_they_are() -> None:
    stored = clustered(50, 16, 3)
    for kind in ("flat", "fp16", "hnsw"):
        index = VectorIndex(stored, kind=kind)
        assert np.array_equal(index.vector(7), stored[7].astype(np.float32))
    np.testing.assert_allclose(index.mean, stored.astype(np.float32).mean(axis=0))


def test_the_kind_follows_the_size_of_the_profile() -> None:
    assert VectorIndex(np.zeros((10_000, 2), np.float16)).kind == "flat"
    index = VectorIndex(np.zeros((10_001, 2), np.float16))
    assert (index.kind, index.nbytes) == ("fp16", 10_001 * 2 * 2)


@pytest.fixture(scope="module")
def history() -> NDArray[np.float16]:
    return clustered(60_000, 48, 300)


@pytest.fixture(scope="module")
def graph(history: NDArray[np.float16]) -> VectorIndex:
    index = VectorIndex(history)
    assert index.kind == "hnsw"
    assert index.nbytes > 60_000 * 48 * 2
    return index


@pytest.mark.parametrize("queries", ["near what is stored", "unlike anything stored"])
def test_the_graph_of_a_long_history_finds_what_exact_search_finds(
    history: NDArray[np.float16], graph: VectorIndex, queries: str
) -> None:
    dice = np.random.default_rng(2)
    asked = clustered(100, 48, 300, seed=1).astype(np.float32)
    if queries == "near what is stored":
        asked = history[::600].astype(np.float32) + 0.05 * dice.normal(size=(100, 48)).astype(np.float32)
    hits = []
    for query, (positions, scores) in zip(asked, graph.search(asked, 10), strict=True):
        best, _ = brute_force(history, query, 10)
        hits.append(len(set(positions.tolist()) & set(best)))
        assert np.all(np.diff(scores) <= 0)
    assert sum(hits) / 1_000 >= 0.95
