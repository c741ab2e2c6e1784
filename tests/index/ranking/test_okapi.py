"""LaMP's BM25 equals the library that its authors use."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from index.ranking.okapi import OkapiIndex

words = st.sampled_from(["tea", "Tea", "dog", "sofa,", "ä", "the", "of"])
texts = st.lists(words, max_size=8).map(" ".join)
profiles = st.lists(texts, min_size=1, max_size=12).filter(lambda found: any(map(str.split, found)))


@given(profiles, texts)
@example(["tea"], "tea")  # idf below 0, and so is the mean
@example(["tea dog", "tea", "tea sofa,"], "tea tea dog")  # idf below 0, the mean above
@example(["tea", "", "dog"], "tea unknown")
def test_scores_equal_those_of_rank_bm25(profile: list[str], query: str) -> None:
    expected = BM25Okapi([text.split() for text in profile]).get_scores(query.split())
    assert OkapiIndex(profile).scores(query) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("profile", [[], [" ", "\n"]])
def test_without_words_every_score_is_0(profile: list[str]) -> None:
    assert OkapiIndex(profile).scores("tea").tolist() == [0.0] * len(profile)


def test_words_are_neither_stemmed_nor_lowered() -> None:
    scores = OkapiIndex(["Green teas", "green tea", "green tea.", "dog", "cat", "sofa"]).scores("tea")
    assert np.flatnonzero(scores).tolist() == [1]
