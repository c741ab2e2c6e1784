"""Ratios and verdicts are worked out by hand; the texts of files are read as they are."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.encoders import Measured, Way, main, measure, read_texts, verdicts
from index.encoding.encoders import Vectors
from tests.index.fakes import HashEncoder


def histories(file: Path, kind: str, count: int) -> Path:
    documents = [{"id": str(n), "text": f"{kind} {n}"} for n in range(count)]
    file.write_text(json.dumps({"user": kind, "documents": documents, "questions": []}), "utf-8")
    return file


def test_each_file_gives_as_many_texts_as_the_others_in_one_random_order(tmp_path: Path) -> None:
    files = [histories(tmp_path / f"{kind}.json", kind, 40) for kind in ("chat", "mail")]
    found = read_texts(files, 20)
    assert sorted(text.split()[0] for text in found) == ["chat"] * 10 + ["mail"] * 10
    assert len(set(found)) == 20
    assert found != sorted(found)
    assert found == read_texts(files, 20)
    assert len(read_texts(files[:1], 100)) == 40


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path / "none.json")])
    assert "none.json cannot be read" in capsys.readouterr().err


def test_vectors_of_every_way_are_compared_with_the_first(tmp_path: Path) -> None:
    encoder = HashEncoder()

    def turned(texts: Sequence[str]) -> Vectors:
        return -encoder.encode_documents(texts)

    ways = [
        Way(name, encode, lambda text: encoder.encode_queries([text]))
        for name, encode in (
            ("one", encoder.encode_documents),
            ("two", encoder.encode_documents),
            ("import, odd", turned),
        )
    ]
    found = measure(ways, ["tea", "milk and rice"], rounds=2)
    assert [each.name for each in found] == ["one", "two", "import, odd"]
    assert [each.least_cosine for each in found] == pytest.approx([1.0, 1.0, -1.0])
    assert found[0].naive_ratio == found[1].library_ratio == 1.0
    assert np.isfinite([each.per_second for each in found]).all()


@pytest.mark.parametrize(
    ("naive", "library", "cosine", "met"),
    [(3.0, 2.0, 0.999, True), (2.9, 9.0, 1.0, False), (9.0, 1.9, 1.0, False), (9.0, 9.0, 0.998, False)],
)
def test_an_import_meets_the_bars_with_both_ratios_and_the_cosine(
    naive: float, library: float, cosine: float, met: bool
) -> None:
    yardsticks = [Measured(name, 1.0, 1.0, 1.0, 1.0, 1.0) for name in ("one", "two")]
    own = Measured("import, torch", 1.0, naive, library, 1.0, cosine)
    [sentence] = verdicts([*yardsticks, own])
    assert sentence == (
        f"import, torch: the bars are {'met' if met else 'missed'}, "
        f"{naive:.2f} × (≥ 3) and {library:.2f} × (≥ 2)"
    )
