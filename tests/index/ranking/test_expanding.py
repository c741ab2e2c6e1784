import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from index.documents import Document
from index.profiles import Profiles
from index.ranking.expanding import (
    LONGEST,
    SENTENCES,
    Counts,
    ExpanderFailure,
    Expanding,
    combined,
)
from index.searching import AsyncSearch
from index.storage.store import Store
from tests.index.fakes import HashEncoder

QUESTION = "What does Ana look like?"
NOTES = [
    Document(id="tall", text="five foot eight tall"),
    Document(id="look", text="what a look into the garden"),
    Document(id="tea", text="green tea"),
]


class Scripted:
    """An expander whose sentences a function gives. It records the questions."""

    name = "scripted"

    def __init__(self, write: Callable[[str], Sequence[str]]) -> None:
        self._write = write
        self.asked: list[str] = []

    async def expand(self, question: str) -> Sequence[str]:
        self.asked.append(question)
        return self._write(question)

    async def aclose(self) -> None: ...


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder(dimension=256)


@pytest.fixture
def profiles(tmp_path: Path, encoder: HashEncoder) -> Iterator[Profiles]:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest)
    profiles = Profiles(store, encoder)
    profiles.put("ana", NOTES)
    yield profiles
    store.close()


def ids(profiles: Profiles, expanding: Expanding | None, *queries: str, name: str = "dense") -> list[str]:
    found = asyncio.run(AsyncSearch(profiles, expanding=expanding).search("ana", queries, 3, name))
    return [passages[0].document_id for passages in found]


def test_a_search_also_looks_for_the_sentences(profiles: Profiles) -> None:
    assert ids(profiles, None, QUESTION) == ["look"]
    expanding = Expanding(Scripted(lambda question: ["five foot eight tall", "foot tall", "five eight"]))
    assert ids(profiles, expanding, QUESTION) == ["tall"]
    assert expanding.counts == Counts(expanded=1)


def test_each_query_has_its_own_sentences(profiles: Profiles) -> None:
    expanding = Expanding(
        Scripted(lambda question: [question.upper()] * 2 + ["green tea"] * ("?" in question))
    )
    assert ids(profiles, expanding, "garden", "?", "tall") == ["look", "tea", "tall"]


def test_the_words_of_the_question_stay_its_own(profiles: Profiles) -> None:
    expanding = Expanding(Scripted(lambda question: ["green tea"]))
    for name in ("bm25", "recency"):
        plain = profiles.search("ana", ["garden"], 3, name)
        found = asyncio.run(AsyncSearch(profiles, expanding=expanding).search("ana", ["garden"], 3, name))
        assert found == plain
    # Neither uses vectors, so nobody was asked.
    assert expanding.counts == Counts()


def test_one_call_encodes_the_queries_and_all_sentences(profiles: Profiles, encoder: HashEncoder) -> None:
    encoder.calls.clear()
    ids(profiles, Expanding(Scripted(lambda question: [f"{question} one", f"{question} two"])), "a", "b")
    assert sorted(text for call in encoder.calls for text in call) == sorted(
        ["a", "b", "a one", "a two", "b one", "b two"]
    )


@pytest.mark.parametrize("written", [[], [""], ["  ", "\n"]])
def test_nothing_to_add_leaves_the_question(profiles: Profiles, written: list[str]) -> None:
    expanding = Expanding(Scripted(lambda question: written))
    assert ids(profiles, expanding, QUESTION) == ["look"]
    assert expanding.counts == Counts()


def test_a_failure_leaves_the_question_and_other_errors_are_raised(
    profiles: Profiles, caplog: pytest.LogCaptureFixture
) -> None:
    def away(question: str) -> list[str]:
        raise ExpanderFailure("the server is away")

    def broken(question: str) -> list[str]:
        raise ZeroDivisionError

    def timed_out(question: str) -> list[str]:
        raise TimeoutError

    expanding = Expanding(Scripted(away))
    assert ids(profiles, expanding, QUESTION) == ["look"]
    assert expanding.counts == Counts(failed=1)
    assert "the server is away" in caplog.text
    assert QUESTION not in caplog.text
    for write, error in ((broken, ZeroDivisionError), (timed_out, TimeoutError)):
        with pytest.raises(error):
            ids(profiles, Expanding(Scripted(write)), QUESTION)


def test_one_that_is_late_leaves_the_question_and_is_cancelled(profiles: Profiles) -> None:
    cancelled: list[str] = []

    class Hangs(Scripted):
        async def expand(self, question: str) -> Sequence[str]:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(question)
                raise
            return ()

    expanding = Expanding(Hangs(lambda question: ()), limit_ms=1)
    assert ids(profiles, expanding, QUESTION) == ["look"]
    assert expanding.counts == Counts(late=1)
    assert cancelled == [QUESTION]


@given(st.lists(st.text(max_size=2 * LONGEST), max_size=2 * SENTENCES))
def test_sentences_are_few_short_distinct_lines(written: list[str]) -> None:
    expanding = Expanding(Scripted(lambda question: written))
    [found] = asyncio.run(expanding.sentences(["?"]))
    assert len(found) <= SENTENCES
    assert len(set(found)) == len(found)
    assert all(sentence and len(sentence) <= LONGEST and "\n" not in sentence for sentence in found)
    assert expanding.counts == Counts(expanded=bool(found))


vectors = st.integers(0, 4).flatmap(
    lambda count: arrays.arrays(np.float32, (1 + count, 8), elements=st.floats(-1, 1, width=32))
)


@given(vectors)
def test_combined_vectors_point_to_the_mean_with_the_length_of_the_query(rows: np.ndarray) -> None:
    query, sentences = rows[0], rows[1:]
    found = combined(query, sentences)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(float(np.linalg.norm(query)), abs=1e-4)
    mean = rows.mean(axis=0)
    if np.linalg.norm(mean) > 1e-3:
        assert float(found @ mean) == pytest.approx(
            float(np.linalg.norm(found) * np.linalg.norm(mean)), abs=1e-4
        )


def test_without_sentences_a_vector_is_the_querys() -> None:
    query = np.array([0.6, 0.8], np.float32)
    assert np.allclose(combined(query, np.empty((0, 2), np.float32)), query)
    assert np.array_equal(combined(query, -query[None]), query)
