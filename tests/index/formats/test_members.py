"""Files, folders and archives, good and bad; and what is recognized in them."""

import json
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from index.documents import Document
from index.errors import InvalidDocument, UnreadableImport
from index.formats import FORMATS, Options, opened_members, read, recognize
from index.formats.kinds import OLE
from tests.index.formats.exports import zipped
from tests.index.formats.reading import imported

CHAT = "29/02/2024, 12:00 - Ben: tea\n"
ODT = b"application/vnd.oasis.opendocument.text"


def entry(name: str, content: bytes = b"") -> bytes:
    """One file of an archive, as it stands at the archive's beginning."""
    return b"PK\3\4" + b"\0" * 22 + len(name).to_bytes(2, "little") + b"\0\0" + name.encode() + content


PACKAGE = entry("[Content_Types].xml")
NAME = "WhatsApp Chat with Ben.txt"


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.txt", b"\x89PNG\r\n\x1a\n....", "an image (PNG)"),
        ("a.jpg", b"\xff\xd8\xff\xe0....", "an image (JPEG)"),
        ("msgstore.db", b"SQLite format 3\0....", "an SQLite database; export from the app"),
        ("a.pptx", PACKAGE + entry("ppt/x.xml"), "a PowerPoint presentation; save it as a PDF"),
        ("a", entry("mimetype", ODT) + entry("content.xml"), "an OpenDocument text; save it as .docx"),
        (
            "a.ods",
            entry("mimetype", ODT.replace(b"text", b"spreadsheet")),
            "an OpenDocument spreadsheet; save",
        ),
        (
            "a.pages",
            entry("Index/Document.iwa"),
            "a document of Apple's Pages, Numbers or Keynote; export it",
        ),
        ("archive_browser.html", b"<!DOCTYPE html><html>", "Google Takeout's table of contents"),
        ("a.epub", entry("mimetype", b"application/epub+zip"), "an EPUB book; save it as a PDF"),
        ("a.doc", OLE + b"..", "an old Office document; save it as .docx or .xlsx"),
        (
            "a.doc",
            OLE + "EncryptedPackage".encode("utf-16-le"),
            "an Office document with a password; save it",
        ),
        ("a.rtf", b"{\\rtf1", "an RTF document; save it as .docx"),
        ("a.tgz", b"\x1f\x8b....", "a gzip archive; unpack it"),
        ("a.mp4", b"\0\0\0\x18ftypmp42", "a video or picture"),
        ("a.backup", b"\1\2\3\4", "an encrypted Signal or WhatsApp backup; export the chat"),
        ("a.bin", b"\1\0\2", "a binary file"),
        ("a.xml", b"<?xml version='1.0'?><a/>", "XML; name its format"),
        ("a", b"hello", "text; name its format"),
    ],
)
def test_an_unknown_file_is_named_with_what_can_be_done(
    tmp_path: Path, name: str, content: bytes, kind: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnreadableImport) as error:
        imported(path)
    assert f"cannot tell the format of {name}: it seems to be {kind}" in str(error.value)


def test_a_folder_is_read_with_its_folders_and_what_is_not_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "chats").mkdir()
    (tmp_path / "chats" / NAME).write_text(CHAT)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    (tmp_path / "notes.ndjson").write_text('{"text": "milk"}\n')
    (tmp_path / "list.json").write_text('[{"text": "eggs"}]')
    (tmp_path / "other.json").write_text('{"a": 1}')
    found = imported(tmp_path)
    assert found.formats == ["whatsapp", "ndjson", "json"]
    assert found.texts == ["Ben: tea", "milk", "eggs"]
    assert found.left_out == [
        (
            "not imported: JSON; bring it into objects with a text field, or name its format with --format",
            "other.json",
        ),
        ("not imported: an image (JPEG)", "photo.jpg"),
    ]


def test_a_folder_in_a_format_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text('{"text": "milk"}\n')
    (tmp_path / "b.log").write_text('{"text": 1}\n')
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff")
    found = imported(tmp_path, form="ndjson")
    assert (found.texts, [where for _, where in found.left_out]) == (["milk"], ["c.jpg"])
    assert found.errors == ["b.log: text: Input should be a valid string"]


def test_a_folder_without_anything_to_read_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "c.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(UnreadableImport, match=r"its files are left out: not imported: an image \(JPEG\)"):
        imported(tmp_path)


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.ndjson"
    secret.write_text('{"text": "secret"}\n')
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.ndjson").write_text('{"text": "milk"}\n')
    (folder / "b.ndjson").symlink_to(secret)
    (folder / "c.ndjson").symlink_to(folder / "a.ndjson")
    (folder / "d").symlink_to(tmp_path)
    os.mkfifo(folder / "e.ndjson")
    found = imported(folder)
    assert found.texts == ["milk"]
    assert {where: reason for reason, where in found.left_out} == {
        "b.ndjson": "a symbolic link that leads out of the folder",
        "c.ndjson": "a symbolic link to a file that is read by itself",
        "d": "a symbolic link that leads out of the folder",
        "e.ndjson": "not a regular file",
    }


def test_names_that_lead_out_of_an_archive_are_not_read(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "x.zip", {"../a.ndjson": '{"text": "a"}', "/b.ndjson": '{"text": "b"}', NAME: CHAT}
    )
    link = zipfile.ZipInfo("c.ndjson")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    found = imported(path)
    assert found.texts == ["Ben: tea"]
    assert [reason for reason, _ in found.left_out] == [
        "a name that leads out of the archive",
        "a name that leads out of the archive",
        "a symbolic link in the archive",
    ]


def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {NAME: CHAT * 100})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UnreadableImport, match="a zip archive, but damaged or cut off"):
        imported(path)


def damaged(path: Path) -> None:
    """Change the contents of the first file, and not its checksum."""
    content = bytearray(path.read_bytes())
    at = content.index(b"tea")
    content[at : at + 3] = b"TEA"
    path.write_bytes(content)


def test_a_file_that_is_damaged_in_an_archive_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.ndjson", '{"text": "tea"}\n')
        archive.writestr("b.ndjson", '{"text": "milk"}\n')
    damaged(path)
    found = imported(path)
    assert found.texts == ["milk"]
    [(reason, where)] = found.left_out
    assert (reason.startswith("a.ndjson is damaged in the archive: Bad CRC-32"), where) == (True, "a.ndjson")


def test_damage_behind_the_beginning_is_a_fault_of_that_file(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    line = '{"text": "milk"}\n'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.ndjson", line * 5_000 + '{"text": "tea"}\n')
        archive.writestr("b.ndjson", line)
    damaged(path)
    found = imported(path)
    assert found.texts[-1] == "milk"
    assert [error.partition(":")[0] for error in found.errors] == ["a.ndjson"]
    assert "damaged in the archive" in found.errors[0]


def test_a_zip_bomb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.ndjson", "w", force_zip64=True) as entry,
    ):
        entry.write(b'{"text": "tea"}\n')
        for _ in range(65):
            entry.write(b"\n" * 2**20)
    with pytest.raises(UnreadableImport, match="looks like a zip bomb"):
        imported(path)


def test_an_attachment_of_any_size_is_not_read(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(CHAT)
    with (tmp_path / "video.mp4").open("wb") as video:
        video.write(b"\0\0\0\x18ftypmp42")
        video.truncate(2**30)
    found = imported(tmp_path)
    assert found.texts == ["Ben: tea"]
    assert found.left_out == [("not imported: a video or picture (MP4, HEIC)", "video.mp4")]


def grown(path: Path) -> None:
    with path.open("a") as stream:
        stream.write('{"text": "more"}\n')


def removed(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("change", [grown, removed])
def test_a_file_that_changes_while_it_is_read_is_named(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "notes.ndjson"
    path.write_text('{"text": "milk"}\n')
    with opened_members(path) as members:
        [(_, source)] = read(recognize(members, FORMATS), members, Options("ana"))
        items = iter(source.documents)
        first = next(items)
        change(path)
        *_, last = items
    assert isinstance(first, Document)
    assert str(last) == "notes.ndjson changed while it was read: import it again for what was added"


def test_names_in_utf8_without_a_flag_are_read(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"WhatsApp Chat with Zoë.txt": CHAT})
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags + 1] &= ~0x8  # The flag says that the name is in UTF-8.
    path.write_bytes(content)
    [document] = imported(path).documents
    assert document.source == "WhatsApp/Zoë"


def test_json_that_ends_in_the_middle_gives_what_stands_before(tmp_path: Path) -> None:
    path = tmp_path / "conversations.json"
    message = {"uuid": "m", "text": "tea", "sender": "human", "created_at": "2024-03-01T12:00:00Z"}
    item = {"uuid": "c", "name": "n", "chat_messages": [message]}
    path.write_text(json.dumps([item, item])[:-30])
    with opened_members(path) as members:
        [(_, source)] = read(recognize(members, FORMATS), members, Options("ana"))
        items = iter(source.documents)
        assert isinstance(next(items), Document)
        with pytest.raises(InvalidDocument, match="the file ends in the middle"):
            list(items)
