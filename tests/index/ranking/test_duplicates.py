"""A text that stands in a profile many times is shown once, with how many there are."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.information import passage_line
from agent.trajectory import Read
from index.documents import Document, Passage
from index.profiles import Profiles
from index.ranking.duplicates import Distinct, normalized
from index.ranking.retrievers import SHOWN_ONCE
from index.storage.store import Store
from tests.index.fakes import HashEncoder

ENCODER = HashEncoder(dimension=64)
STANDUP = (
    "Team standup in the blue room: please bring the sprint board, the list of open questions and, if you "
    "have one, a cup of coffee for whoever was on call."
)
ONCE = sorted(SHOWN_ONCE)


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    store = Store(f"sqlite:///{tmp_path}/pr2.db", ENCODER.manifest)
    profiles = Profiles(store, ENCODER)
    same = [Document(id=f"same{n}", text=STANDUP.upper() if n % 2 else f" {STANDUP}\n") for n in range(28)]
    near = [
        Document(id=f"near{n}", text=STANDUP.replace("blue", colour))
        for n, colour in enumerate(["blve", "bluf"])
    ]
    others = [
        Document(id=f"other{n}", text=f"The sprint number {n} ended with {n * n} points.") for n in range(5)
    ]
    profiles.put("ana", [*same, *near, *others])
    yield profiles
    store.close()


@pytest.mark.parametrize("retriever", ONCE)
def test_a_text_that_stands_thirty_times_is_shown_once_with_how_many_there_were(
    profiles: Profiles, retriever: str
) -> None:
    (found,) = profiles.search("ana", ["sprint board standup"], 10, retriever)
    standups = [passage for passage in found if "standup" in passage.text.lower()]
    assert [passage.copies for passage in standups] == [30]
    assert {passage.document_id for passage in found} - {standups[0].document_id} == {
        f"other{n}" for n in range(5)
    }
    assert [passage.rank for passage in found] == list(range(1, 7))


@pytest.mark.parametrize("retriever", ONCE)
def test_the_search_goes_on_until_it_has_as_many_texts_as_were_asked_for(
    profiles: Profiles, retriever: str
) -> None:
    (found,) = profiles.search("ana", ["sprint board standup"], 4, retriever)
    assert len(found) == 4


@pytest.mark.parametrize("retriever", ONCE)
def test_a_text_that_was_shown_is_not_shown_again_from_another_document(
    profiles: Profiles, retriever: str
) -> None:
    (first,) = profiles.search("ana", ["sprint board standup"], 1, retriever)
    (then,) = profiles.search("ana", ["sprint board standup"], 10, retriever, {first[0].key})
    assert {passage.document_id for passage in then} == {f"other{n}" for n in range(5)}


def test_retrievers_of_publications_and_neighbours_count_every_document(profiles: Profiles) -> None:
    (found,) = profiles.search("ana", ["sprint board standup"], 10, "okapi")
    assert len(found) == 10
    assert {passage.copies for passage in found} == {1}
    (near,) = profiles.similar("ana", ["same0"], 3)
    assert all("standup" in passage.text.lower() for passage in near)


def test_texts_that_differ_in_a_number_are_not_the_same() -> None:
    distinct = Distinct((), lambda text: 1)
    assert distinct.add(f"{STANDUP} Costs 45 euros.")
    assert distinct.add(f"{STANDUP} Costs 46 euros.")
    assert not distinct.add(f"{STANDUP} Costs 45 euro.")


def test_a_model_reads_how_many_there_were() -> None:
    assert passage_line(Read(2, Passage("a", "Tea.", created_at="2024-05-01", title="Note", copies=30))) == (
        "[2] (2024-05-01) (30 times) Note: Tea."
    )
    assert passage_line(Read(1, Passage("a", "Tea."))) == "[1] Tea."


texts = st.lists(st.text("ab c", max_size=12), max_size=12)


@given(texts)
def test_every_text_is_kept_or_like_a_kept_one_and_counted_once(found: list[str]) -> None:
    distinct = Distinct((), [normalized(text) for text in found].count)
    kept = [text for text in found if distinct.add(text)]
    assert len({normalized(text) for text in kept}) == len(kept)
    assert sum(distinct.count(text) for text in kept) == len(found)
