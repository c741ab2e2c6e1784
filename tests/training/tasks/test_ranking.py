"""Sorted data sets: every entry moves as a whole, and nothing is lost."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document
from index.errors import UnknownUser
from tests.training.tasks.lamp.records import entry, record
from training.tasks import task_named
from training.tasks.lamp.data import Entry, parse_question
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.task import lamp_task
from training.tasks.ranking import rank_profiles, sorted_by


class Stored:
    """A store that keeps documents by user, and ranks them by their ids, backwards."""

    def __init__(self) -> None:
        self.documents: dict[str, Sequence[Document]] = {}
        self.queries: list[str] = []

    async def document(self, user: str, document_id: str, /) -> Document:
        if user not in self.documents:
            raise UnknownUser(user)
        return self.documents[user][0]

    async def put(self, user: str, documents: Sequence[Document], /) -> None:
        self.documents[user] = documents

    async def backwards(self, user: str, query: str, k: int) -> Sequence[str]:
        self.queries.append(query)
        return sorted((document.id for document in self.documents[user]), reverse=True)[:k]


@given(
    ids=st.lists(st.sampled_from("abcdef"), max_size=8),
    found=st.lists(st.sampled_from("abcdef"), unique=True),
)
def test_nothing_is_lost_and_what_is_not_found_keeps_its_order(ids: list[str], found: list[str]) -> None:
    profile = [Entry(id_, f"text {id_}", {}) for id_ in ids]
    known = [id_ for id_ in found if id_ in ids]
    ordered = [item.id for item in sorted_by(profile, known)]
    assert sorted(ordered) == sorted(ids)
    first = [id_ for id_ in known for _ in range(ids.count(id_))]
    assert ordered[: len(first)] == first
    rest = [id_ for id_ in ids if id_ not in known]
    assert sorted(ordered[len(first) :], key=rest.index) == ordered[len(first) :]


def test_an_id_that_no_entry_has_is_an_error() -> None:
    with pytest.raises(ValueError, match="'b', which is not in the profile"):
        sorted_by([Entry("a", "text", {})], ["b"])


async def test_lamp_profiles_are_sorted_in_the_published_format(tmp_path: Path) -> None:
    store, task = Stored(), lamp_task("lamp-sample", 4)
    out = tmp_path / "dev_questions.json"
    ticks: list[None] = []
    assert (
        await rank_profiles(task.inputs("dev"), store, store.backwards, out, lambda: ticks.append(None)) == 12
    )
    assert len(ticks) == 12
    before, after = list(task.read([], "dev")), list(lamp_task(str(out), 4).read([], "dev"))
    assert store.queries == [query_of(4, question.input) for question in before]
    for old, new in zip(before, after, strict=True):
        assert (new.id, new.input, new.output, new.user_id) == (old.id, old.input, old.output, old.user_id)
        assert list(new.profile) == sorted(old.profile, key=lambda item: item.id, reverse=True)


async def test_lamp_qa_profiles_keep_categories_and_rubrics(tmp_path: Path) -> None:
    store, out = Stored(), tmp_path / "sorted.json"
    before = list(task_named("sample").read([], "test"))[:4]
    assert await rank_profiles(before, store, store.backwards, out) == 4
    after = list(task_named(str(out)).read([], "test"))
    assert store.queries == [question.question for question in before]
    for old, new in zip(before, after, strict=True):
        assert list(new.profile) == sorted(old.profile, key=lambda item: item.id, reverse=True)
        assert new.rubric_aspects == old.rubric_aspects
        assert (new.category, new.narrative) == (old.category, old.narrative)
        assert {item.category for item in new.profile} == {item.category for item in old.profile}


async def test_blank_entries_and_empty_profiles_are_kept(tmp_path: Path) -> None:
    profile = [entry(6, "a", "", "subject"), entry(6, "b", "text", "two"), entry(6, "c", "more", "three")]
    raws = [record(6, "q0", profile=profile), record(6, "q1", profile=[])]
    questions = [parse_question(6, raw, "file", 1) for raw in raws]
    store, out = Stored(), tmp_path / "questions.json"
    await rank_profiles(questions, store, store.backwards, out)
    ordered = [[item["id"] for item in one["profile"]] for one in json.loads(out.read_text())]
    assert ordered == [["c", "b", "a"], []]
    assert not (tmp_path / "outputs.json").exists()


async def test_a_failed_search_leaves_the_old_file(tmp_path: Path) -> None:
    async def fails(user: str, query: str, k: int) -> Sequence[str]:
        raise UnknownUser(user)

    out = tmp_path / "questions.json"
    out.write_text("old")
    with pytest.raises(UnknownUser):
        await rank_profiles(lamp_task("lamp-sample", 7).inputs("dev"), Stored(), fails, out)
    assert [(name, out.read_text()) for name in os.listdir(tmp_path)] == [("questions.json", "old")]
