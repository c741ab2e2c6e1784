import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from agent.trajectory import Search
from index.encoding.encoders import Vectors
from training.demo.prlm.people import Task
from training.demo.prlm.robustness import PASSAGES, RETRIEVERS, searchings

from .worlds import PEOPLE

TASKS = [Task(person, "drink") for person in PEOPLE]


class ByTopic:
    """Encodes a text as whether it tells a taste, and for which topic."""

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return np.array(
            [[f"like as a {topic}" in text for topic in ("snack", "drink")] for text in texts], np.float32
        )

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return np.array([[topic in text for topic in ("snack", "drink")] for text in texts], np.float32)


FOUND = searchings(TASKS, ByTopic())  # type: ignore[arg-type]


def _search(retriever: str, task: Task, k: int) -> list[str]:
    return [found.text for found in asyncio.run(FOUND[retriever].of(task)(Search(task.question), k, ()))]


@pytest.mark.parametrize("retriever", RETRIEVERS)
@pytest.mark.parametrize("k", PASSAGES)
def test_every_retriever_finds_that_many_notes_of_the_person_who_asks(retriever: str, k: int) -> None:
    for task in TASKS:
        found = _search(retriever, task, k)
        assert len(set(found)) <= len(found) == k
        assert set(found) <= set(task.person.history)


def test_dense_ranks_by_the_vectors_of_each_persons_own_notes() -> None:
    for task in TASKS:
        assert task.content in _search("dense", task, 1)[0]


def test_recency_ranks_the_latest_first() -> None:
    for task in TASKS:
        assert _search("recency", task, 3) == list(reversed(task.person.history))[:3]


def test_random_is_the_same_for_every_system() -> None:
    assert [_search("random", task, 4) for task in TASKS] == [_search("random", task, 4) for task in TASKS]
