"""`--space`, `pr2 profile reembed --space` and `pr2 profile spaces`, with the real encoder."""

import json
import re
from pathlib import Path

import pytest

from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.server.cli.test_profile import fail, lines, pr2, succeed, written
from tests.server.live import ANA

SECOND = ["--space", "second=minilm"]


@pytest.fixture
def here(tmp_path: Path) -> list[str]:
    return ["--data", str(tmp_path / "local")]


def test_a_space_is_added_used_and_dropped(here: list[str], tmp_path: Path) -> None:
    file = written(tmp_path / "ana.ndjson", lines(*ANA))
    succeed("import", "ana", file, *here)
    asked = ["ana", "ripe fruit", "--retriever", "second", *SECOND, *here]
    assert "pr2 profile reembed --space second=ENCODER" in fail("search", *asked)
    own = succeed("spaces", *here)
    assert re.fullmatch(r"the store's own: minilm \(384 dimensions, .*\)\n", own)
    made = succeed("reembed", *SECOND, *here)
    assert made.startswith("embedded 3 documents in the space second with minilm (384 dimensions")
    assert re.fullmatch(re.escape(own) + r"second: minilm \(384 .*\)\n", succeed("spaces", *here))

    assert "add --space second=ENCODER" in fail("import", "ben", file, *here)
    exported = succeed("export", "ana", *here)
    succeed("import", "copy", "-", *SECOND, *here, stdin=exported)
    assert succeed("export", "copy", *here) == exported
    results = json.loads(succeed("search", "copy", *asked[1:], "--json"))["results"]
    assert results[0][0]["document_id"] == "a1"

    assert "no space 'first'; it has second" in fail("spaces", "--drop", "first", *here)
    assert succeed("spaces", "--drop", "second", *here) == "deleted the space second\n"
    assert succeed("spaces", *here) == own


def test_another_main_encoder_names_the_spaces_that_it_drops(here: list[str], tmp_path: Path) -> None:
    succeed("import", "ana", written(tmp_path / "ana.ndjson", lines(*ANA)), *SECOND, *here)
    both = succeed("reembed", "--encoder", "minilm", *SECOND, *here).splitlines()
    assert [line.split(" with ")[0] for line in both] == [
        "embedded 3 documents", "embedded 3 documents in the space second",
    ]  # fmt: skip
    alone = succeed("reembed", "--encoder", "minilm", *here).splitlines()
    assert alone[1:] == ["dropped the space second, whose passages have changed"]


@pytest.mark.parametrize("pair", ["second", "=minilm", "second="])
def test_a_pair_that_is_none_is_refused(here: list[str], pair: str) -> None:
    result = pr2("search", "ana", "tea", "--space", pair, *here)
    assert result.exit_code == 2
    assert "NAME=ENCODER" in result.stderr


@pytest.mark.parametrize(
    ("pair", "message"),
    [("dense=minilm", "already a retriever 'dense'"), ("second=./missing", "./missing does not exist")],
)
def test_a_space_that_cannot_be_used_is_refused(here: list[str], pair: str, message: str) -> None:
    Path(here[1]).mkdir()
    Store(f"sqlite:///{here[1]}/pr2.db", HashEncoder().manifest).open()
    assert message in fail("reembed", "--space", pair, *here)
    assert len(succeed("spaces", *here).splitlines()) == 1
