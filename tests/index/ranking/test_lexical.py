import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from index.ranking.lexical import LexicalIndex

VOCABULARY = [f"w{i}" for i in range(40)]
K1 = 1.5


def corpus(seed: int, size: int) -> list[list[str]]:
    dice = random.Random(seed)
    weights = [1 / (i + 1) for i in range(len(VOCABULARY))]
    return [dice.choices(VOCABULARY, weights, k=dice.randint(1, 30)) for _ in range(size)]


def okapi(documents: list[list[str]], ours: LexicalIndex | None = None) -> BM25Okapi:
    """The reference, with its own idf or with ours."""
    reference = BM25Okapi(documents, k1=K1, b=0.75)
    if ours is not None:
        reference.idf = {term: ours.idf(term) for term in reference.idf}
    return reference


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_rank_bm25_but_for_a_constant_factor(seed: int) -> None:
    documents = corpus(seed, 100)
    index = LexicalIndex.of_terms(documents)
    reference = okapi(documents, index)
    dice = random.Random(seed)
    for _ in range(20):
        query = dice.choices([*VOCABULARY, "unknown"], k=dice.randint(1, 6))
        expected = reference.get_scores(query) / (K1 + 1)
        found = index.scores(query)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        # The same ranking, apart from rounding errors.
        ranked = expected[np.argsort(-found, kind="stable")]
        assert np.all(np.diff(ranked) <= 1e-5 * ranked[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_single_term_ranks_as_in_unmodified_rank_bm25_where_its_idf_is_positive(seed: int) -> None:
    documents = corpus(seed, 100)
    index, reference = LexicalIndex.of_terms(documents), okapi(documents)
    compared = 0
    for term, idf in reference.idf.items():
        # A negative idf is replaced by a constant, which is positive but not the term's own.
        if idf > 0 and sum(term in document for document in documents) < len(documents) / 2:
            expected = reference.get_scores([term]) / (K1 + 1) * (index.idf(term) / idf)
            np.testing.assert_allclose(index.scores([term]), expected, rtol=1e-5)
            order = np.argsort(-index.scores([term]), kind="stable")
            assert np.all(np.diff(reference.get_scores([term])[order]) <= 1e-6)
            compared += 1
    assert compared > 10


@given(
    st.lists(st.lists(st.sampled_from("abc"), max_size=30), max_size=8),
    st.lists(st.sampled_from("abcd"), max_size=5),
)
def test_coverage_is_a_share_below_one(documents: list[list[str]], query: list[str]) -> None:
    index = LexicalIndex.of_terms(documents)
    covered = index.coverage(query)
    assert covered.shape == (len(documents),)
    assert np.all((covered >= 0) & (covered < 1))
    for document, share in zip(documents, covered, strict=True):
        assert (share > 0) == bool(set(document) & set(query))


def test_words_that_the_profile_does_not_use_take_their_share_of_the_coverage() -> None:
    index = LexicalIndex.of_terms([["tea"], ["dog"]])
    assert index.coverage(["tea"])[0] > 2 * index.coverage(["tea", "zebra"])[0] > 0


def test_a_rare_term_tells_more_than_a_frequent_one_and_an_unseen_one_most() -> None:
    index = LexicalIndex.of_terms([["tea", "dog"], ["tea"], ["tea"]])
    assert 0 < index.idf("tea") < index.idf("dog") < index.idf("zebra")


def test_an_index_of_nothing_finds_nothing() -> None:
    assert LexicalIndex.of_terms([]).scores(["tea"]).shape == (0,)
    assert LexicalIndex.of_terms([[], []]).scores(["tea"]).tolist() == [0, 0]
    assert LexicalIndex.of_terms([["tea"]]).scores([]).tolist() == [0]


def test_making_an_index_says_nothing_in_a_log_of_warnings(caplog: pytest.LogCaptureFixture) -> None:
    LexicalIndex.of_terms([["tea"], ["cake"]])
    assert caplog.records == []
