"""Saved web pages, with their titles, dates and headings."""

from pathlib import Path

import pytest

from index.errors import InvalidDocument, UnreadableImport
from tests.index.formats.exports import zipped
from tests.index.formats.reading import imported

HEAD = (
    '<!DOCTYPE html>\n<html lang="de"><head><meta charset="utf-8"><title>Rezept &amp; Tipps</title>'
    '<meta content="2024-03-05T10:15:00+01:00" property="article:published_time">'
    '<meta content="2025-01-01" property="article:modified_time"><style>p {}</style></head>'
)
LONG = "Der Teig ruht über Nacht im Kühlschrank. " * 100


def test_a_page_is_a_document_with_its_title_and_date(tmp_path: Path) -> None:
    path = tmp_path / "seite"
    path.write_text(f"{HEAD}<body><h1>Brot</h1><h2></h2><p>Mehl &amp; Wasser</p><script>x()</script></body>")
    found = imported(path)
    assert (found.formats, found.texts) == (["html"], ["# Brot\nMehl & Wasser"])
    assert found.times == ["2024-03-05T10:15:00+01:00"]
    assert (found.documents[0].title, found.documents[0].source) == ("Rezept & Tipps", "seite")
    assert imported(zipped(tmp_path / "all.zip", {"seite": path.read_bytes()})).texts == found.texts


def test_a_long_page_is_a_document_for_each_heading_and_a_name_may_state_the_date(tmp_path: Path) -> None:
    path = tmp_path / "2023-01-02 Brot.html"
    path.write_text(f"{HEAD}<h2>Teig</h2><p>{LONG}</p><h2>Ofen</h2><p>Heiß.</p>", encoding="utf-8")
    found = imported(path)
    assert [document.title for document in found.documents] == [
        "Rezept & Tipps > Teig",
        "Rezept & Tipps > Ofen",
    ]
    assert found.texts[1] == "## Ofen\nHeiß."
    assert found.times == ["2023-01-02T00:00:00+01:00"] * 2


def test_an_old_page_is_read_in_its_encoding_and_named_by_its_file(tmp_path: Path) -> None:
    path = tmp_path / "gruss.htm"
    path.write_bytes("<html><body>Grüße aus Köln</body></html>".encode("cp1252"))
    found = imported(path)
    assert (found.texts, found.documents[0].title, found.times) == (["Grüße aus Köln"], "gruss", [None])


def test_a_page_that_scripts_would_fill_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "app.html"
    path.write_text("<!doctype html><html><body><div id=app></div></body></html>")
    with pytest.raises(InvalidDocument, match="a web page without text: save it once it is shown"):
        imported(path)


@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ('<div class="page_body chat_page">', "a Telegram chat as a web page; export it in the format JSON"),
        ("<title>Exported Data</title>", "a Telegram chat as a web page; export it in the format JSON"),
        ('<div class="chatlog__message">', "a Discord chat as a web page; export it in the format JSON"),
    ],
)
def test_a_chat_as_a_web_page_is_better_exported_again(tmp_path: Path, mark: str, kind: str) -> None:
    (tmp_path / "messages.html").write_text(f"<!DOCTYPE html><html><body>{mark}Ben: tea")
    with pytest.raises(UnreadableImport, match=f"it seems to be {kind}"):
        imported(tmp_path / "messages.html")
