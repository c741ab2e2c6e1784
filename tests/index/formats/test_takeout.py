import json
import zipfile
from pathlib import Path

import pytest

from tests.index.formats.reading import imported
from tests.index.formats.storing import opened_profile

SEARCH = {
    "header": "Search",
    "title": "Searched for sailing near Kiel",
    "titleUrl": "https://www.google.com/search?q=sailing",
    "time": "2024-03-05T09:15:20.123Z",
    "products": ["Search"],
}
VIDEO = {
    "header": "YouTube",
    "title": "Watched How to tie a bowline",
    "subtitles": [{"name": "Knots", "url": "https://www.youtube.com/channel/1"}],
    "time": "2024-03-12T20:00:00Z",
}
PAGE = """\
<html><head><title>My Activity</title></head><body><div class="mdl-grid">
<div class="outer-cell mdl-cell mdl-cell--12-col mdl-shadow--2dp"><div class="mdl-grid">
<div class="header-cell mdl-cell mdl-cell--12-col"><p class="mdl-typography--title">Search<br></p></div>
<div class="content-cell mdl-cell mdl-cell--6-col mdl-typography--body-1">Searched for&nbsp;<a
href="https://www.google.com/search?q=sailing">sailing &amp; Kiel</a><br>{date}<br></div>
<div class="content-cell mdl-cell mdl-cell--6-col mdl-typography--body-1 mdl-typography--text-right"></div>
<div class="content-cell mdl-cell mdl-cell--12-col mdl-typography--caption"><b>Products:</b><br>
 Search<br></div>
</div></div></div></body></html>
"""
NOTE = {
    "title": "Packing",
    "textContent": "For Norway",
    "listContent": [{"text": "tent", "isChecked": True}, {"text": "stove", "isChecked": False}],
    "labels": [{"name": "travel"}],
    "isTrashed": False,
    "createdTimestampUsec": 1709633700000000,
    "userEditedTimestampUsec": 1709733700000000,
}


def test_a_takeout_archive_is_read_and_the_next_one_adds_what_is_new(tmp_path: Path) -> None:
    def takeout(name: str, activities: list[object], notes: dict[str, object]) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("Takeout/My Activity/Search/MyActivity.json", json.dumps(activities))
            for file, note in notes.items():
                archive.writestr(f"Takeout/Keep/{file}.json", json.dumps(note))
            archive.writestr("Takeout/archive_browser.html", "<html>")
        return tmp_path / name

    result = imported(takeout("a.zip", [SEARCH], {"Packing": NOTE, "Gone": NOTE | {"isTrashed": True}}))
    assert result.formats == ["google-activity", "google-keep"]
    assert result.texts == ["Searched for sailing near Kiel", "For Norway\n- tent (done)\n- stove"]
    assert result.times == ["2024-03-05T09:15:20.123000Z", "2024-03-05T11:15:00+01:00"]
    assert [document.source for document in result.documents] == ["Google/Search", "Google Keep"]
    assert result.documents[1].title == "Packing"
    assert result.documents[1].metadata == {"labels": ["travel"]}
    assert result.skipped == ["a note in the trash"]

    with opened_profile(tmp_path) as profile:
        assert profile.put(result) == (2, 0, 0)
        assert profile.put(imported(tmp_path / "a.zip")) == (0, 2, 0)
        later = takeout("b.zip", [VIDEO, SEARCH], {"Packing (1)": NOTE | {"title": "Packing list"}})
        assert imported(later).texts[0] == "Watched How to tie a bowline\nKnots"
        assert profile.put(imported(later)) == (1, 1, 1)


@pytest.mark.parametrize(
    ("date", "text", "moment"),
    [
        ("Mar 5, 2024, 10:15:20&#8239;AM CET", "", "2024-03-05T10:15:20+01:00"),
        ("Mar 5, 2024, 10:15:20 PM PDT", "", "2024-03-05T22:15:20-07:00"),
        ("5 Mar 2024, 10:15:20 GMT", "", "2024-03-05T10:15:20Z"),
        ("Mar 5, 2024, 10:15:20 AM IST", "\nMar 5, 2024, 10:15:20 AM IST", None),
        ("2024年3月5日 10:15:20 JST", "\n2024年3月5日 10:15:20 JST", None),
    ],
)
def test_a_page_of_activities_is_read(tmp_path: Path, date: str, text: str, moment: str | None) -> None:
    path = tmp_path / "MyActivity.html"
    path.write_text(PAGE.replace("{date}", date), encoding="utf-8")
    result = imported(path)
    assert result.formats == ["google-activity-html"]
    assert result.texts == [f"Searched for sailing & Kiel{text}"]
    assert result.times == [moment]
    assert result.documents[0].source == "Google/Search"
    assert result.documents[0].metadata == {"url": "https://www.google.com/search?q=sailing"}


def test_broken_activities_and_notes_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "MyActivity.json"
    path.write_text(
        json.dumps([SEARCH, {"header": "Search"}, 7, SEARCH | {"title": " "}, VIDEO | {"time": "soon"}])
    )
    result = imported(path)
    assert result.times == ["2024-03-05T09:15:20.123000Z", None]
    assert len(result.errors) == 3
    note = tmp_path / "Note.json"
    note.write_text(json.dumps(NOTE | {"textContent": "", "title": "", "listContent": [7], "labels": [3]}))
    assert imported(note).skipped == ["an empty note"]
