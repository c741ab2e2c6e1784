"""Evidence as feedback, by hand; and the whole command on two small histories."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ropg
from benchmarks.evidence import profiles_of, read_histories
from tests.index.fakes import HashEncoder
from training.feedback.records import Judged
from training.retriever.small import write_small_encoder

TOPICS = ("tea", "dogs", "boats", "maps")


def history(user: str) -> dict[str, Any]:
    documents = [
        {"id": f"{topic}-{n}", "text": f"{user} wrote about {topic}, part {n}", "title": topic}
        for topic in TOPICS
        for n in range(6)
    ]
    questions = [{"question": f"What about {topic}, part 0?", "gold": [f"{topic}-0"]} for topic in TOPICS]
    return {"user": user, "documents": documents, "questions": questions}


def written(file: Path, *users: str) -> Path:
    file.write_text(json.dumps([history(user) for user in users]), "utf-8")
    return file


def test_evidence_among_the_first_documents_is_the_feedback(tmp_path: Path) -> None:
    asked = history("ana")
    asked["questions"] = [
        {"question": "ana wrote about tea, part 0", "gold": ["tea-0", "maps-5"]},
        {"question": "ana wrote about dogs, part 1", "gold": ["tea-0"]},
    ]
    (tmp_path / "ana.json").write_text(json.dumps(asked), "utf-8")
    histories = read_histories(tmp_path / "ana.json")
    with profiles_of(histories, HashEncoder()) as profiles:
        found = ropg.gather(profiles, histories)
        first = [
            [passage.document_id for passage in passages]
            for passages in profiles.search(
                "ana", [q.text for q in histories[0].questions], ropg.TOP, "dense"
            )
        ]
    holding = [bool({"tea-0", "maps-5"} & set(first[0])), "tea-0" in first[1]]
    assert len(found.records) == sum(holding)
    assert found.without == 2 - sum(holding)
    assert found.records
    for record in found.records:
        number = int(record.id.rpartition(" ")[2])
        gold = set(histories[0].questions[number].evidence)
        assert [document.id for document in record.documents] == first[number]
        assert len(record.documents) == ropg.TOP
        assert {document.id for document in record.documents if document.utility} == gold & set(first[number])
        assert all(document.utility in (0.0, 1.0) for document in record.documents)
    tea = next(each for record in found.records for each in record.documents if each.id == "tea-0")
    assert tea == Judged("tea-0", "tea: ana wrote about tea, part 0", tea.utility)


def test_each_data_set_is_left_out_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_small_encoder(tmp_path / "small")
    files = [
        str(written(tmp_path / "one.json", "ana", "ben")),
        str(written(tmp_path / "two.json", "cleo", "dora")),
    ]
    ropg.main(["--data", *files, "--encoder", str(tmp_path / "small"), "--out", str(tmp_path / "out")])
    shown = capsys.readouterr().out
    for left_out in ("one", "two"):
        assert f"{left_out} left out: 8 questions" in shown
        for method in ropg.METHODS:
            assert (tmp_path / "out" / left_out / method / method / "model.safetensors").exists()
    rows = [line.split() for line in shown.splitlines() if "dense" in line or "hybrid" in line]
    assert len(rows) == 2 * 3 * 2
    # Nothing but the encoder ranks alone; the words find what it may miss.
    assert all("0.000" not in row for row in rows if "hybrid" in row)


def test_one_data_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ropg.main(["--data", str(written(tmp_path / "one.json", "ana"))])
    assert "at least two are needed" in capsys.readouterr().err
