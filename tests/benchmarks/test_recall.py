"""Evidence recall on small histories whose figures are worked out by hand."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from agent.rerankers import load_reranker
from benchmarks import recall
from benchmarks.evidence import UnusableData, read_histories
from index.profiles import Profiles
from index.ranking.reranking import KEPT
from index.ranking.weights import Weights
from index.storage.store import Store
from tests.engine import Reply, Request, fails
from tests.index.fakes import HashEncoder
from tests.model_server import ModelServer, cohere

ANA: dict[str, Any] = {
    "user": "ana",
    "documents": [
        {"id": "tea", "text": "green tea at noon", "created_at": "2025-08-29 10:45:00", "source": "notes"},
        *({"id": f"n{i}", "text": f"tea number {i}"} for i in range(9)),
        {"id": "dog", "text": "the dog and the sofa"},
    ],
    "questions": [
        {"id": "1", "question": "sofa", "type": "Temporal", "gold": ["dog", "tea", "dog"]},
        {"id": "2", "question": "noon", "gold": ["tea"]},
        {"id": "3", "question": "tea at noon", "gold": ["n8", "dog"]},
        {"id": "4", "question": "Where?", "gold": []},
    ],
}
BO = {"user": "bo", "documents": [{"id": "x", "text": "pears"}], "questions": []}
TALK: dict[str, Any] = {
    "sample_id": "conv-1",
    "conversation": {
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {"speaker": "Ana", "dia_id": "D1:1", "text": "I have a dog."},
            {"speaker": "", "dia_id": "D1:2", "text": ""},
            {"speaker": "Ben", "dia_id": "D1:3", "text": "And I tea."},
        ],
    },
    "qa": [
        {"question": "Who has a dog?", "evidence": ["D1:01; D1:3"], "category": 4},
        {"question": "None?", "evidence": [], "category": 1},
        {"question": "Adversarial?", "evidence": ["D1:1"], "category": 5},
    ],
}


def written(file: Path, content: Any) -> Path:
    file.write_text(json.dumps(content), "utf-8")
    return file


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder, other = HashEncoder(), HashEncoder("other", 8)
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest, {"ropg": other.manifest})
    yield Profiles(store, encoder, spaces={"ropg": other})
    store.close()


def test_recall_is_the_share_of_the_evidence_averaged_over_the_questions(
    profiles: Profiles, tmp_path: Path
) -> None:
    histories = read_histories(written(tmp_path / "own.json", [ANA, BO]))
    for history in histories:
        profiles.put(history.user, history.documents)
    figures = recall.means(recall.search(profiles, histories, "bm25"))
    # "sofa" finds the dog, one of two; "noon" the tea; "tea at noon" the tea and then n0 to n8.
    assert figures["recall"] == pytest.approx({5: (1 / 2 + 1) / 3, 10: (1 / 2 + 1 + 1 / 2) / 3, 20: 2 / 3})
    assert figures["any"] == pytest.approx({5: 2 / 3, 10: 1, 20: 1})
    # Everything is read within 20.
    assert recall.means(recall.search(profiles, histories, "dense"))["recall"][20] == 1
    assert recall.means(recall.search(profiles, histories, "none"))["any"][20] == 0


def test_each_retriever_is_a_row_and_with_another_encoder_only_those_that_use_it(
    profiles: Profiles, tmp_path: Path
) -> None:
    histories = read_histories(written(tmp_path / "own.json", ANA))
    with Progress(disable=True) as progress:
        first = recall.rows(profiles, histories, "a", first=True, progress=progress)
        second = recall.rows(profiles, histories, "b", first=False, progress=progress)
    assert [row.retriever for row in first] == [*recall.RETRIEVERS, "ropg"]
    uses = {row.retriever: row.encoder for row in first}
    assert (uses["dense"], uses["hybrid"], uses["bm25"], uses["ropg"]) == ("a", "a", "", "")
    assert {row.retriever for row in second} == {"dense", "rrf", "rrf-lamp", "hybrid"}


def test_locomo_and_other_files_are_read_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    (talk,) = read_histories(written(tmp_path / "talk.json", [TALK]))
    assert (talk.user, len(talk.documents), talk.invalid, talk.without_evidence) == ("conv-1", 2, 1, 1)
    assert [(asked.text, asked.evidence) for asked in talk.questions] == [
        ("Who has a dog?", ("D1:1", "D1:3")),
    ]
    ana, bo = read_histories(written(tmp_path / "own.json", [ANA, BO]))
    assert (len(ana.documents), ana.without_evidence, bo.questions) == (11, 1, [])
    assert ana.questions[0].evidence == ("dog", "tea")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["x"], "person 1: "),
        ([ANA, {"user": "bo"}], "person 2: 'documents' is missing"),
        ([ANA, ANA], "two people have the same name"),
        (ANA | {"documents": [{"id": "a"}]}, "text: Field required"),
        (ANA | {"documents": ANA["documents"][:-1]}, "no document has the id 'dog', evidence of 'sofa'"),
        ({"conversation": [], "qa": []}, "expected a LoCoMo sample"),
        ({"conversation": {}}, "'qa' is missing"),
    ],
)
def test_a_file_in_no_known_shape_is_refused(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(UnusableData, match=f"own.json.*{message}"):
        read_histories(written(tmp_path / "own.json", content))


def test_every_encoder_and_space_is_measured_and_what_is_counted_is_reported(tmp_path: Path) -> None:
    encoders = {name: HashEncoder(name) for name in ("before", "after")}
    file = written(tmp_path / "own.json", [ANA, BO])
    with Progress(disable=True) as progress:
        found = recall.report(file, encoders, {"ropg": HashEncoder("after")}, progress)
    assert (found.people, found.documents, found.questions, found.evidence) == (2, 12, 3, 5)
    by_row = {(row.retriever, row.encoder): row.recall for row in found.rows}
    assert by_row["ropg", ""] == by_row["dense", "before"] == by_row["dense", "after"]
    assert ("hybrid", "after") in by_row
    assert ("bm25", "after") not in by_row


def test_the_command_prints_a_table_and_writes_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    recall.main(["--data", str(written(tmp_path / "en.json", [ANA, BO])), "--json", str(out)])
    printed = capsys.readouterr().out
    assert "en: 2 people, 12 documents, 3 questions, 5 documents of evidence" in " ".join(printed.split())
    (en,) = json.loads(out.read_text())
    assert (en["dataset"], en["without_evidence"]) == ("en", 1)
    found = {row["retriever"]: row for row in en["rows"]}
    assert found["bm25"]["recall"]["20"] == pytest.approx(2 / 3)
    assert found["bm25"]["any"]["5"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "missing.json", "--encoder", "./none"], "./none does not exist"),
        (["--data", "missing.json", "--ranker", "none.json"], "none.json: No such file"),
        (["--data", "missing.json", "--space", "x"], "--space takes NAME=ENCODER"),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        recall.main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_hybrid_ranks_by_the_weights_of_a_ranker_file(tmp_path: Path) -> None:
    file = written(tmp_path / "ana.json", ANA)
    words = Weights(meaning=0, near_meaning=0, words=1, near_words=0, person=0, time=0)
    nothing = words.model_copy(update={"words": 0})
    with Progress(disable=True) as progress:
        found = [
            recall.report(file, {"a": HashEncoder()}, {}, progress, weights=weights).rows
            for weights in (words, nothing)
        ]
    by_words, by_nothing = ({row.retriever: row for row in rows} for rows in found)
    assert by_words["hybrid"].recall == by_words["bm25"].recall
    assert by_nothing["hybrid"].any[20] == 0
    assert by_nothing["dense"] == by_words["dense"]


def test_a_file_without_a_question_that_counts_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "bo.json", BO)
    with Progress(disable=True) as progress, pytest.raises(UnusableData, match="no question names its"):
        recall.report(file, {"a": HashEncoder()}, {}, progress)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableData, match=r"missing\.json cannot be read"):
        read_histories(tmp_path / "missing.json")


def test_each_retriever_is_measured_reranked_and_a_failure_is_no_figure(tmp_path: Path) -> None:
    file = written(tmp_path / "ana.json", [ANA])

    def named(request: Request) -> Reply:
        return cohere(lambda query, text: float("dog" in text or "noon" in text))(request)

    encoders = {"hash": HashEncoder()}
    with Progress(disable=True) as progress:
        with ModelServer(named) as server:
            reranker = load_reranker(f"cohere:{server.base_url}")
            found = recall.report(file, encoders, {}, progress, reranker)
        reranked = {row.retriever: row for row in found.rows if row.retriever.endswith(", reranked")}
        assert set(reranked) == {f"{name}, reranked" for name in recall.RETRIEVERS if name not in KEPT}
        # The two documents of evidence come first, the third of them in no order.
        assert reranked["dense, reranked"].recall[5] >= 5 / 6
        with ModelServer(lambda request: fails(500)) as server:
            away = load_reranker(f"cohere:{server.base_url}")
            with pytest.raises(UnusableData, match="was not reranked"):
                recall.report(file, encoders, {}, progress, away)
