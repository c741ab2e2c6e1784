"""Both sides are measured alike: the other one is scripted, in a process of its own as mem0 is."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.evidence import Asked, History
from benchmarks.mem0 import Comparison, SideFailed, commands_of, sides_of
from benchmarks.mem0_report import OURS, Added, Searched, shortfalls, write
from benchmarks.mem0_store import replies
from index.documents import Document
from tests.index.fakes import HashEncoder

OTHER = "other"
SCRIPTED = """
import json, sys
print(json.dumps({"versions": {"other": "1.0"}}), flush=True)
stored = []
for line in sys.stdin:
    request = json.loads(line)
    reply = {"seconds": 2.0}
    if "load" in request:
        stored += request["load"]
    elif "search" in request:
        # As a store does that filters after it has searched for all users: others' documents take the room.
        near = stored[: request["k"]]
        reply = {"seconds": 0.002, "found": [each[1] for each in near if each[0] == request["user"]]}
    print(json.dumps(reply), flush=True)
"""
DAY = date(2024, 5, 1)


def person(user: str, plant: str) -> History:
    texts = [f"I planted {plant} number {number} behind the house of {user}." for number in range(4)]
    documents = [Document(id=f"{plant}{number}", text=text) for number, text in enumerate(texts)]
    asked = [Asked(f"Where is {plant} number {number}?", (f"{plant}{number}",), DAY) for number in range(4)]
    return History(user, documents, asked, 0, 0)


PEOPLE = [person("ana", "oak"), person("ben", "fern")]


def commands(folder: Path, script: str = SCRIPTED) -> dict[str, Sequence[str]]:
    file = folder / "scripted.py"
    file.write_text(script, "utf-8")
    return {OTHER: [sys.executable, str(file)]}


def test_both_sides_get_the_same_documents_and_questions(tmp_path: Path) -> None:
    said: list[str] = []
    with sides_of(PEOPLE, HashEncoder(), commands(tmp_path), tmp_path) as sides:
        comparison = Comparison(sides, PEOPLE, questions=100, added=6, say=said.append)
        for users in (2, 8):
            comparison.round(users)
    found = {(row.way, row.users): row for row in comparison.searched}
    assert set(found) == {(way, users) for way in (OURS, f"{OURS}, dense", OTHER) for users in (2, 8)}
    assert [found[OTHER, users].documents for users in (2, 8)] == [8, 32]
    # Each user has four documents, of which ten are read: here, everything is found whoever else is stored.
    assert [found[OURS, users].recall for users in (2, 8)] == [1.0, 1.0]
    assert found[OTHER, 2].recall == 1.0
    assert found[OTHER, 8].recall < 0.5
    other = found[OTHER, 8]
    assert (other.first_ms, other.p50_ms, other.p99_ms) == pytest.approx((2.0, 2.0, 2.0))
    added = {(row.side, row.documents): row.per_second for row in comparison.adding}
    # Three turns of two documents, two seconds each.
    assert added[OTHER, 8] == added[OTHER, 32] == pytest.approx(1.0)
    assert added[OURS, 8] > 0
    turns = [line for line in said if "adding" in line]
    assert turns[:2] == [f"8 documents: adding to {name}, turn 1 of 3" for name in (OURS, OTHER)]


def test_documents_added_are_encoded_and_those_of_the_base_are_not(tmp_path: Path) -> None:
    encoder = HashEncoder()
    with sides_of(PEOPLE, encoder, {}, tmp_path) as sides:
        comparison = Comparison(sides, PEOPLE, questions=1, added=3, say=lambda _: None)
        encoder.calls.clear()
        comparison.round(8)
    encoded = [text for texts in encoder.calls for text in texts]
    new = [text for text in encoded if "Note" in text]
    assert len(new) == 3
    assert not [text for text in encoded if text not in new and text.startswith("I planted")]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("import sys; sys.exit('no module named mem0')", "no module named mem0"),
        ("print('hello')", "replied 'hello"),
    ],
)
def test_a_side_that_fails_is_an_error_with_its_last_words(tmp_path: Path, script: str, said: str) -> None:
    with (
        pytest.raises(SideFailed, match=said),
        sides_of(PEOPLE, HashEncoder(), commands(tmp_path, script), tmp_path),
    ):
        pass


def test_a_side_that_ends_between_requests_is_an_error(tmp_path: Path) -> None:
    script = "import json; print(json.dumps({'versions': {}}), flush=True); raise SystemExit('out of memory')"
    with sides_of(PEOPLE, HashEncoder(), commands(tmp_path, script), tmp_path) as sides:
        comparison = Comparison(sides, PEOPLE, questions=1, added=3, say=lambda _: None)
        with pytest.raises(SideFailed, match="out of memory"):
            comparison.round(2)
        assert not comparison.searched


def test_an_interpreter_that_is_missing_is_named(tmp_path: Path) -> None:
    missing = {OTHER: [str(tmp_path / "no-python")]}
    with pytest.raises(SideFailed, match="no-python"), sides_of(PEOPLE, HashEncoder(), missing, tmp_path):
        pass


def test_mem0_runs_once_for_each_store(tmp_path: Path) -> None:
    made = commands_of(Path("/venv/bin/python"), 384, tmp_path)
    assert {name: line[3] for name, line in made.items()} == {
        "mem0, FAISS": "faiss",
        "mem0, Qdrant": "qdrant",
    }
    assert all(line[:2] == ["/venv/bin/python", "-P"] for line in made.values())


class ScriptedMemory:
    """Has mem0's calls, and remembers how they were made."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.vector_store = self
        self.ids: list[str] = []

    def insert(self, vectors: list[list[float]], payloads: list[dict[str, Any]], ids: list[str]) -> None:
        self.calls.append(("insert", {"vectors": vectors, "payloads": payloads}))
        self.ids += ids

    def add(self, messages: list[dict[str, str]], **options: Any) -> dict[str, list[dict[str, str]]]:
        self.calls.append(("add", options | {"messages": messages}))
        made = [f"made-{number}" for number in range(len(messages))]
        self.ids += made
        return {"results": [{"id": each} for each in made]}

    def search(self, query: str, **options: Any) -> dict[str, list[dict[str, str]]]:
        self.calls.append(("search", options | {"query": query}))
        return {"results": [{"id": each} for each in self.ids]}


def test_requests_become_calls_of_mem0(tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.array([[1.0, 0.0], [0.0, 1.0]], np.float32))
    requests: list[Mapping[str, Any]] = [
        {"load": [["ana", "d1", "Tea.", 1]], "vectors": str(tmp_path / "vectors.npy")},
        {"add": [["d2", "Milk."], ["d3", "Rice."]], "user": "ben"},
        {"search": "Which tea?", "user": "ana", "k": 10},
    ]
    memory = ScriptedMemory()
    found = list(replies(memory, map(json.dumps, requests)))
    assert found[2]["found"] == ["d1", "d2", "d3"]
    assert all(reply["seconds"] >= 0 for reply in found)
    (_, inserted), (_, added), (_, searched) = memory.calls
    assert inserted["vectors"] == [[0.0, 1.0]]
    assert {key: inserted["payloads"][0][key] for key in ("user_id", "data")} == {
        "user_id": "ana",
        "data": "Tea.",
    }
    assert (added["user_id"], added["infer"]) == ("ben", False)
    assert [message["content"] for message in added["messages"]] == ["Milk.", "Rice."]
    assert searched == {
        "query": "Which tea?",
        "top_k": 10,
        "filters": {"user_id": "ana"},
        "threshold": 0.0,
    }


def searched(way: str, users: int, p50: float, recall: float) -> Searched:
    return Searched(way, users, 100 * users, first_ms=p50, p50_ms=p50, p99_ms=2 * p50, recall=recall)


def test_figures_in_which_ours_is_not_ahead_are_said(tmp_path: Path) -> None:
    rows = [
        searched(OURS, 5, 4.0, 0.7),
        searched(f"{OURS}, dense", 5, 9.0, 0.1),
        searched(OTHER, 5, 5.0, 0.6),
        searched(OURS, 50, 4.0, 0.6),
        searched(OTHER, 50, 3.0, 0.6),
    ]
    adding = [Added(OURS, 500, 40.0), Added(OTHER, 500, 50.0), Added(OTHER, 5_000, 90.0)]
    found = list(shortfalls(rows, adding))
    assert found == [
        f"{OURS} is not ahead in the first search (ms) with 50 user names: 4.000, {OTHER} 3.000.",
        f"{OURS} is not ahead in p50 (ms) with 50 user names: 4.000, {OTHER} 3.000.",
        f"{OURS} is not ahead in p99 (ms) with 50 user names: 8.000, {OTHER} 6.000.",
        f"{OURS} is not ahead in recall@10 with 50 user names: 0.600, {OTHER} 0.600.",
        f"{OURS} is not ahead in adding to 500 documents: 40.0 a second, {OTHER} 50.0.",
        f"The recall of {OURS} depends on the number of user names: 0.700 with 5, 0.600 with 50.",
    ]
    shown = write(rows, adding, {"torch": "2.13"}, tmp_path / "out")
    assert all(f"- {sentence}" in shown for sentence in found)
    assert f"| {OTHER} | 50 | 5,000 | 3.0 | 3.0 | 6.0 | 0.600 |" in shown
    assert (tmp_path / "out" / "mem0.md").read_text("utf-8") == shown
    assert (tmp_path / "out" / "mem0.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "out" / "mem0.json").read_text("utf-8"))
    assert figures["searched"][2]["recall"] == 0.6


def test_nothing_is_said_where_ours_is_ahead() -> None:
    rows = [searched(OURS, 5, 4.0, 0.7), searched(OTHER, 5, 5.0, 0.6)]
    assert not list(shortfalls(rows, [Added(OURS, 500, 40.0), Added(OTHER, 500, 4.0)]))
