"""The workload is run as it is run in both source trees; ratios are worked out by hand."""

import json
from pathlib import Path

import pytest

from benchmarks.evidence import read_histories
from benchmarks.revisions import ROOT, NoSuchRevision, main, prepare, table_of, timed, unpack
from index.encoding.encoders import Encoder


def history(file: Path) -> Path:
    documents = [
        {
            "id": f"d{n}",
            "text": f"I painted picture {n} of the lake.",
            "created_at": f"2024-03-0{n + 1}T10:00:00Z",
        }
        for n in range(6)
    ]
    questions = [{"question": f"When did I paint picture {n}?", "gold": [f"d{n}"]} for n in range(4)]
    file.write_text(json.dumps([{"user": "ana", "documents": documents, "questions": questions}]), "utf-8")
    return file


def test_the_workload_times_every_part(minilm: Encoder, tmp_path: Path) -> None:
    [person] = read_histories(history(tmp_path / "ana.json"))
    asked, vectors = prepare(person, 2, minilm, tmp_path)
    assert len(json.loads(asked.read_text("utf-8"))["questions"]) == 2
    times = timed(ROOT, asked, vectors)
    parts = ["ingest", "ingest without encoding", "search without encoding", "answer"]
    assert list(times) == parts
    assert all(seconds > 0 for seconds in times.values())


def test_the_ratio_is_taken_round_by_round() -> None:
    now = [{"answer": 0.010}, {"answer": 0.030}, {"answer": 0.020}]
    earlier = [{"answer": 0.020}, {"answer": 0.020}, {"answer": 0.020}]
    assert [list(column.cells) for column in table_of("ana", now, earlier).columns] == [
        ["answer"],
        ["20.00"],
        ["20.00"],
        ["1.00 [0.50, 1.50]"],
    ]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_an_earlier_tree_comes_from_git(tmp_path: Path) -> None:
    unpack("HEAD", tmp_path)
    assert (tmp_path / "index" / "profiles.py").is_file()
    with pytest.raises(NoSuchRevision, match="no-such-revision"):
        unpack("no-such-revision", tmp_path)


def test_an_unknown_revision_and_unusable_data_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["no-such-revision", "--data", str(history(tmp_path / "ana.json"))])
    assert "no-such-revision" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["HEAD", "--data", str(tmp_path / "missing.json")])
    assert "missing.json" in capsys.readouterr().err
