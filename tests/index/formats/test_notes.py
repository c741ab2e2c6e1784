import zipfile
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.dates import STRICT, Style, iso
from index.documents import Document
from index.errors import InvalidDocument
from index.formats.notes import read_note
from index.formats.parts import LONG
from index.formats.source import Skipped
from tests.index.formats.reading import BERLIN, imported
from tests.index.formats.storing import Stored, opened_profile

OBSIDIAN = {
    ".obsidian/workspace.md": "not a note",
    "Daily/2024-03-05.md": (
        "# Tuesday\n\nLunch with [[People/José Silva|José]] at the café.\n![[photo.png]]\n"
    ),
    "Projects/Boat.md": (
        "---\ntitle: The boat\ncreated: 2024-03-04T09:30:00+09:00\ntags: [boat, 'summer plans']\n---\n"
        "We paint it blue, see [[Colours#Blue]] and ![[Plan]].\n"
    ),
    "Undated.md": "Some thought.\n",
    "empty.md": "---\ntitle: nothing\n---\n\n",
}
LOGSEQ = {
    "journals/2024_03_05.md": (
        "- Met [[Ana Novak]] #friend\n  id:: 65e6-1\n  collapsed:: true\n\t- She moves to Oslo.\n"
    ),
    "pages/Ana Novak.md": (
        "title:: Ana Novak\ntags:: friend, [[Oslo]]\ndate:: [[Mar 5th, 2024]]\n\n- Born in 1990\n"
    ),
    "logseq/bak/pages/Ana Novak.md": "- old\n",
}


def write(folder: Path, notes: dict[str, str]) -> Path:
    for name, text in notes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Stored]:
    with opened_profile(tmp_path) as stored:
        yield stored


def test_a_vault_of_obsidian(tmp_path: Path) -> None:
    result = imported(write(tmp_path / "vault", OBSIDIAN))
    assert (result.formats, result.errors) == (["markdown"], [])
    assert result.texts == [
        "Some thought.",
        "# Tuesday\n\nLunch with José at the café.",
        "We paint it blue, see Colours and Plan.",
    ]
    assert result.times == [None, "2024-03-05T00:00:00+01:00", "2024-03-04T09:30:00+09:00"]
    assert [document.title for document in result.documents] == ["Undated", "2024-03-05", "The boat"]
    assert [document.source for document in result.documents] == [
        "Undated.md",
        "Daily/2024-03-05.md",
        "Projects/Boat.md",
    ]
    assert result.documents[2].metadata == {"tags": ["boat", "summer plans"]}
    assert sorted(result.skipped) == ["a file that the notes' app keeps for itself", "an empty note"]


def test_a_graph_of_logseq(tmp_path: Path) -> None:
    result = imported(write(tmp_path / "graph", LOGSEQ))
    assert result.texts == ["- Met Ana Novak #friend\n\t- She moves to Oslo.", "- Born in 1990"]
    assert result.times == ["2024-03-05T00:00:00+01:00"] * 2
    assert result.documents[1].metadata == {"tags": ["friend", "Oslo"]}


def test_notes_are_stored_once_and_an_edited_note_replaces_itself(tmp_path: Path, profile: Stored) -> None:
    vault = write(tmp_path / "vault", OBSIDIAN)
    assert profile.put(imported(vault)) == (3, 0, 0)
    assert profile.put(imported(vault)) == (0, 3, 0)
    write(vault, {"Daily/2024-03-12.md": "A week later.", "Undated.md": "Another thought."})
    assert profile.put(imported(vault)) == (1, 2, 1)
    with zipfile.ZipFile(tmp_path / "vault.zip", "w") as archive:
        for name in ("Daily/2024-03-05.md", "Undated.md"):
            archive.write(vault / name, name)
    assert profile.put(imported(tmp_path / "vault.zip")) == (0, 2, 0)


def long_note(*changes: tuple[str, str]) -> list[Document]:
    text = (
        "Intro.\n\n# Boat\n\n## Paint\n\nBlue. " + "blue " * LONG + "\n```\n# no heading\n```\n"
        "## Sails\nTwo.\n# Boat\nAgain.\n# Last\n"
    )
    for old, new in changes:
        text = text.replace(old, new)
    return [item for item in read_note("a/Summer.md", text, STRICT) if isinstance(item, Document)]


def test_a_long_note_is_a_document_for_each_heading() -> None:
    found = long_note()
    assert [document.title for document in found] == [
        "Summer",
        "Summer > Boat > Paint",
        "Summer > Boat > Sails",
        "Summer > Boat",
        "Summer > Last",
    ]
    assert found[1].text.startswith("# Boat\n\n## Paint\n\nBlue. ")
    assert found[1].text.endswith("```\n# no heading\n```")
    assert [document.text for document in found[2:]] == ["## Sails\nTwo.", "# Boat\nAgain.", "# Last"]
    assert {document.source for document in found} == {"a/Summer.md"}


def test_an_edit_changes_the_identity_of_no_other_section() -> None:
    ids = [document.id for document in long_note()]
    assert len(set(ids)) == 5
    assert [document.id for document in long_note(("Two.", "Three."))] == ids
    more = [document.id for document in long_note(("## Sails", "## Oars\nFour.\n## Sails"))]
    assert [one for one in more if one in ids] == ids
    # The whole note, while it was short.
    (short,) = read_note("a/Summer.md", "Intro.", STRICT)
    assert isinstance(short, Document)
    assert short.id == ids[0]


@pytest.mark.parametrize(
    ("name", "text", "moment"),
    [
        ("2024-03-05 Lunch.md", "x", "2024-03-05T00:00:00Z"),
        ("Lunch 20240305.md", "x", "2024-03-05T00:00:00Z"),
        ("202403051015 Lunch.md", "x", "2024-03-05T10:15:00Z"),
        ("Mar 5th, 2024.md", "x", "2024-03-05T00:00:00Z"),
        ("1944-06-06.md", "x", "1944-06-06T00:00:00Z"),
        ("2024-13-45.md", "x", None),
        ("Version 2024.md", "x", None),
        ("1709633700.md", "x", None),
        ("2024-03-05.md", "---\ndate: 2023-01-02 03:04\n---\nx", "2023-01-02T03:04:00Z"),
        ("a.md", "---\ndate: 05.03.2024\n---\nx", "2024-03-05T00:00:00Z"),
        ("a.md", "---\ndate: soon\n---\nx", None),
        ("a.md", "---\ndate: [2024-03-05]\n---\nx", None),
        ("a.md", "---\n- a list\n---\nx", None),
        ("a.md", "---\nbroken: [\n---\nx", None),
        ("a.md", "---\nnot closed: 2024-03-05\nx", None),
    ],
)
def test_the_time_of_a_note_stands_in_it_or_in_its_name(name: str, text: str, moment: str | None) -> None:
    (item,) = read_note(name, text, Style("day-first", zone=UTC))
    assert isinstance(item, Document)
    assert (item.created_at and iso(item.created_at)) == moment
    assert item.text.endswith("x")


def test_a_note_in_an_old_encoding_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes("Grüße aus Köln".encode("cp1252"))
    (tmp_path / "b.md").write_bytes("Grüße aus Köln".encode("utf-16"))
    assert imported(tmp_path).texts == ["Grüße aus Köln"] * 2


@given(st.text(), st.text("abc-_0123456789 "))
def test_any_note_is_read(text: str, name: str) -> None:
    for item in read_note(f"{name}.md", text, Style(zone=BERLIN)):
        assert isinstance(item, Document | InvalidDocument | Skipped)


@given(st.lists(st.sampled_from(["# A", "## B", "text", "", "```", "a:: b", "---"]), max_size=30))
def test_no_line_of_a_long_note_is_lost(lines: list[str]) -> None:
    long = "text" * LONG
    items = read_note("n.md", "\n".join([long, *lines]), STRICT)
    kept = [item.text for item in items if isinstance(item, Document)]
    words = [line for line in "\n".join(kept).splitlines() if line]
    assert words == [long, *(line for line in lines if line and line != "a:: b")]
