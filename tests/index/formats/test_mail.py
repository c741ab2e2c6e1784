import io
import mailbox
import zipfile
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document
from index.errors import InvalidDocument, UnreadableImport
from index.formats.mail import read_message, split_mbox
from index.formats.source import Skipped
from tests.index.formats.reading import imported
from tests.index.formats.storing import Stored, opened_profile

LUNCH = b"""\
Received: from mx.example.org by example.net; Tue, 05 Mar 2024 10:15:09 +0100
Message-ID: <1@example.org>
Date: Tue, 05 Mar 2024 10:15:00 +0100
From: =?utf-8?q?Jos=C3=A9_Silva?= <jose@example.org>
To: Ana Novak <ana@example.net>, bob@example.net
Subject: =?iso-8859-1?q?Lunch_at_the_caf=E9?=
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

Shall we have lunch on Friday? I know a place with caf=C3=A9 cr=C3=A8me.

From there we can walk.
--=20
Jos=C3=A9
"""
REPLY = b"""\
Message-ID: <2@example.net>
In-Reply-To: <1@example.org>
References: <1@example.org>
Date: Tue, 5 Mar 2024 20:30:00 -0800 (PST)
From: Ana Novak <ana@example.net>
To: jose@example.org
Subject: Re: Lunch at the =?utf-8?b?Y2Fmw6k=?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/alternative; boundary=inner

--inner
Content-Type: text/plain; charset=us-ascii

Friday is fine.

On Tue, 5 Mar 2024 at 10:15, Jose Silva <jose@example.org> wrote:

> Shall we have lunch on Friday?

--inner
Content-Type: text/html

<p>Friday is fine.</p><blockquote>Shall we</blockquote>
--inner--
--outer
Content-Type: image/png; name=map.png
Content-Disposition: attachment; filename=map.png
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--outer--
"""
LATER = b"""\
Message-ID: <3@example.org>
Date: Tue, 12 Mar 2024 09:00:00 +0100
From: jose@example.org
Subject: Next week
Content-Type: text/html; charset=windows-1252

<html><head><style>p {color: red}</style></head>
<body><p>See you <b>Monday</b> \x96 or Tuesday.</p></body></html>
"""


def mbox(*messages: bytes) -> bytes:
    begin = b"From jose@example.org Tue Mar  5 10:15:00 2024\n"
    return b"".join(begin + message.replace(b"\nFrom ", b"\n>From ") + b"\n" for message in messages)


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Stored]:
    with opened_profile(tmp_path) as stored:
        yield stored


def test_a_mailbox_is_read_with_writers_times_and_threads(tmp_path: Path) -> None:
    path = tmp_path / "All mail.mbox"
    path.write_bytes(mbox(LUNCH, REPLY, LATER))
    result = imported(path)
    assert result.formats == ["mbox"]
    assert result.texts == [
        "Shall we have lunch on Friday? I know a place with café crème.\n\nFrom there we can walk.",
        "Friday is fine.",
        "See you Monday – or Tuesday.",
    ]
    assert result.times == [
        "2024-03-05T10:15:00+01:00",
        "2024-03-05T20:30:00-08:00",
        "2024-03-12T09:00:00+01:00",
    ]
    assert [document.author for document in result.documents] == [
        "José Silva",
        "Ana Novak",
        "jose@example.org",
    ]
    first, second, third = result.documents
    assert first.title == "José Silva: Lunch at the café"
    assert first.source == second.source == "mail/Lunch at the café" != third.source
    assert first.thread == second.thread == "<1@example.org>" != third.thread
    assert first.metadata["to"] == "Ana Novak, bob@example.net"
    assert result.skipped == ["an attachment (image)"]


def test_a_mailbox_adds_nothing_twice_and_a_week_later_only_that_week(
    tmp_path: Path, profile: Stored
) -> None:
    path = tmp_path / "mbox"
    path.write_bytes(mbox(LUNCH, REPLY))
    assert profile.put(imported(path)) == (2, 0, 0)
    assert profile.put(imported(path)) == (0, 2, 0)
    path.write_bytes(mbox(LUNCH, REPLY, LATER))
    assert profile.put(imported(path)) == (1, 2, 0)


def test_mbox_maildir_and_single_files_are_the_same_mails(tmp_path: Path, profile: Stored) -> None:
    (tmp_path / "mbox").write_bytes(mbox(LUNCH, REPLY))
    box = mailbox.Maildir(tmp_path / "Maildir")
    box.add(LUNCH)
    box.add(REPLY.replace(b"\n", b"\r\n"))
    eml = tmp_path / "saved"
    eml.mkdir()
    (eml / "lunch.eml").write_bytes(LUNCH)
    (eml / "reply.emlx").write_bytes(b"%d    \n" % len(REPLY) + REPLY + b'<?xml version="1.0"?><plist/>')
    with zipfile.ZipFile(tmp_path / "mails.zip", "w") as archive:
        archive.writestr("inbox/lunch.eml", LUNCH)
        archive.writestr("inbox/photo.jpg", b"\xff\xd8\xff\xe0")
    assert profile.put(imported(tmp_path / "mbox")) == (2, 0, 0)
    assert imported(tmp_path / "Maildir").formats == ["mail"]
    assert profile.put(imported(tmp_path / "Maildir")) == (0, 2, 0)
    assert profile.put(imported(eml)) == (0, 2, 0)
    assert profile.put(imported(eml / "lunch.eml")) == (0, 1, 0)
    assert profile.put(imported(tmp_path / "mails.zip")) == (0, 1, 0)


def test_what_the_mailbox_of_python_writes_is_read(tmp_path: Path) -> None:
    message = EmailMessage()
    message["From"], message["Date"] = "Zoë <zoe@example.org>", "Sun, 31 Dec 1995 23:59:00 +0000"
    message.set_content("Dear all,\n\nFrom 10:15 on 5 March 1996 we are closed.\n" + "ü" * 300 + "\n")
    box = mailbox.mbox(tmp_path / "box")
    box.add(message)
    box.add(message)
    box.close()
    result = imported(tmp_path / "box")
    assert result.times == ["1995-12-31T23:59:00Z"] * 2
    assert result.texts[0] == "Dear all,\n\nFrom 10:15 on 5 March 1996 we are closed.\n" + "ü" * 300
    # Without a Message-ID, equal contents are one mail.
    assert result.documents[0].id == result.documents[1].id


def test_a_broken_message_is_reported_and_the_rest_goes_in(tmp_path: Path) -> None:
    nul = b"Message-ID: <n@x>\nFrom: a@b.c\n\nzero \0 byte\n"
    path = tmp_path / "mbox"
    path.write_bytes(mbox(LUNCH, b"\n\x80\x81 no headers\n", nul, LATER))
    result = imported(path)
    assert len(result.documents) == 2
    assert result.errors[0] == "a broken mail: it has no headers"
    assert "NUL" in result.errors[1]


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        (b"Content-Type: text/plain; charset=no-such", "grüße".encode(), "grüße"),
        (b"Content-Type: text/plain; charset=utf-8", b"gr\xfc\xdfe", "grüße"),
        (b"Content-Type: text/plain; charset=us-ascii", b"\x80 5", "€ 5"),
        (b"Content-Type: text/plain; charset=gb2312", "镕基".encode("gb18030"), "镕基"),
        (b"Content-Type: text/plain; charset=iso-2022-jp", "日本".encode("iso-2022-jp"), "日本"),
        (b"Content-Transfer-Encoding: base64", b"aGVsbG8", "hello"),
        (b"Content-Type: multipart/mixed; boundary=x", b"--x\n\nnot closed\n", "not closed"),
        (
            b"Content-Type: multipart/alternative; boundary=x",
            b"--x\n\n \n--x\nContent-Type: text/html\n\n<p>a<p>b\n",
            "a\nb",
        ),
    ],
)
def test_bodies_are_decoded_as_well_as_they_can_be(headers: bytes, body: bytes, text: str) -> None:
    (item,) = read_message(b"Message-ID: <1@x>\nFrom: a@b.c\n" + headers + b"\n\n" + body, 1)
    assert isinstance(item, Document)
    assert item.text == text


@pytest.mark.parametrize(
    "date", [b"", b"Date: soon\n", b"Date: Tue, 05 Mar 2024 10:15:00 XYZ\n", b"Date: 0\n"]
)
def test_a_mail_whose_date_is_not_understood_has_no_time(date: bytes) -> None:
    (item,) = read_message(b"From: a@b.c\n" + date + b"\nhello", 1)
    assert isinstance(item, Document)
    assert item.created_at is None


def test_headers_in_bare_utf8_are_read() -> None:
    (item,) = read_message("From: Zoë <z@x>\nSubject: Grüße\nReply-To: =?broken?q\n\nhello".encode(), 1)
    assert isinstance(item, Document)
    assert item.title == "Zoë: Grüße"


def test_a_huge_attachment_is_passed_over() -> None:
    most = 2**20

    class Huge(io.RawIOBase):
        """A mailbox with an attachment of 8 MB, then a small mail. It cannot be read twice."""

        def __init__(self) -> None:
            head = mbox(REPLY.partition(b"iVBORw0")[0]).rstrip(b"\n") + b"\n"
            line = b"A" * 76 + b"\n"
            self._pieces = iter([head, *[line * 2**10] * 104, b"--outer--\n\n", mbox(LATER)])

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
            piece = next(self._pieces, b"")
            buffer[: len(piece)] = piece
            return len(piece)

    huge: Any = Huge()
    raws = list(split_mbox(io.BufferedReader(huge, 2**17), most))
    assert most <= len(raws[0]) < most + 2**16
    items = [item for number, raw in enumerate(raws, 1) for item in read_message(raw, number)]
    assert [item.text for item in items if isinstance(item, Document)] == [
        "Friday is fine.",
        "See you Monday – or Tuesday.",
    ]
    assert [item.reason for item in items if isinstance(item, Skipped)] == ["an attachment (image)"]


def test_a_note_that_quotes_a_header_is_not_mail(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.write_text("From: the beginning\nwe walked, Subject: to rain.\n\nIt was nice.")
    with pytest.raises(UnreadableImport, match="seems to be text"):
        imported(path)
    with pytest.raises(InvalidDocument, match="not mbox"):
        imported(path, form="mbox")


def test_a_deep_message_is_a_fault() -> None:
    depth = 1_000
    raw = b"From: a@b.c\nContent-Type: multipart/mixed; boundary=b0\n\n" + b"".join(
        b"--b%d\nContent-Type: multipart/mixed; boundary=b%d\n\n" % (n, n + 1) for n in range(depth)
    )
    (item,) = read_message(raw, 7)
    assert isinstance(item, InvalidDocument)
    assert item.line == 7


@given(st.binary(max_size=400))
def test_any_bytes_are_documents_or_faults(raw: bytes) -> None:
    for item in read_message(raw, 1):
        assert isinstance(item, Document | InvalidDocument | Skipped)


@given(st.lists(st.text("ab>From :0\n 1", max_size=60), min_size=1, max_size=5))
def test_a_mailbox_splits_into_the_messages_that_were_put_in(bodies: list[str]) -> None:
    escaped = [body.replace("From ", ">From ") for body in bodies]
    raws = list(split_mbox(io.BytesIO(mbox(*[f"From: a@b.c\n\n{body}\n".encode() for body in escaped]))))
    assert len(raws) == len(bodies)
