import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Unpack

import pytest
from typer.testing import CliRunner

from index.formats import Options
from index.profiles import Profiles
from index.storage.location import FILE
from index.storage.store import Store
from index.values import PutItems, PutOptions, PutReport
from server.cli import app
from server.cli.errors import BadInput
from server.cli.watching import STATE, FolderWatch, Synced, changes_of
from tests.index.fakes import HashEncoder
from tests.index.formats.reading import BERLIN, imported

MAIL = (
    "Message-ID: <{0}@example.org>\nFrom: ana@example.org\nDate: Tue, 5 Mar 2024 10:15:00 +0100\n\nMail {0}\n"
)


class Kept:
    """A profile behind the two calls that a watch makes."""

    def __init__(self, profiles: Profiles) -> None:
        self.profiles = profiles

    async def put(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> PutReport:
        return await asyncio.to_thread(self.profiles.put, user, documents, on_error="skip")

    async def delete_document(self, user: str, document_id: str) -> None:
        await asyncio.to_thread(self.profiles.store.delete_document, user, document_id)

    def ids(self) -> set[str]:
        return {document.id for _, document in self.profiles.store.documents("ana")}

    def texts(self) -> set[str]:
        return {document.text for _, document in self.profiles.store.documents("ana")}


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest)
    yield Kept(Profiles(store, encoder))
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "folder"
    found.mkdir()
    return found


class Reports:
    """The passes of a watch, added up."""

    def __init__(self, queue: "asyncio.Queue[Synced]") -> None:
        self._queue = queue

    async def until(self, added: int = 0, replaced: int = 0, deleted: int = 0) -> None:
        """Wait until the next passes have done exactly this, together."""
        found = (0, 0, 0)
        async with asyncio.timeout(120):
            while found != (added, replaced, deleted):
                synced = await self._queue.get()
                found = (found[0] + synced.added, found[1] + synced.replaced, found[2] + synced.deleted)


def watch(kept: Kept, folder: Path) -> FolderWatch:
    return FolderWatch(kept, Options("ana", zone=BERLIN), folder)


@asynccontextmanager
async def watched(kept: Kept, folder: Path) -> AsyncIterator[Reports]:
    queue: asyncio.Queue[Synced] = asyncio.Queue()
    task = asyncio.create_task(watch(kept, folder).run(changes_of(folder), queue.put_nowait))
    try:
        yield Reports(queue)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_folder_of_notes_is_kept_in_step(kept: Kept, folder: Path) -> None:
    (folder / "2024-03-05.md").write_text("Lunch with [[Ana]]")
    (folder / "photo.png").write_bytes(b"\x89PNG\r\n")
    async with watched(kept, folder) as reports:
        await reports.until(added=1)
        assert kept.ids() == {document.id for document in imported(folder).documents}
        (folder / "sub").mkdir()
        (folder / "sub" / "new.md").write_text("A new note")
        await reports.until(added=1)
        (folder / "2024-03-05.md").write_text("Lunch with [[Bob]]")
        await reports.until(replaced=1)
        assert kept.texts() == {"Lunch with Bob", "A new note"}
        assert kept.ids() == {document.id for document in imported(folder).documents}
        (folder / "sub" / "new.md").unlink()
        await reports.until(deleted=1)
        assert kept.texts() == {"Lunch with Bob"}


async def test_a_maildir_is_kept_in_step_and_a_mail_stays_the_same(kept: Kept, folder: Path) -> None:
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir()
    (folder / "new" / "1").write_text(MAIL.format(1))
    async with watched(kept, folder) as reports:
        await reports.until(added=1)
        (folder / "new" / "1").rename(folder / "cur" / "1:2,S")
        (folder / "new" / "2").write_text(MAIL.format(2))
        await reports.until(added=1)
        assert kept.texts() == {"Mail 1", "Mail 2"}
        (folder / "cur" / "1:2,S").unlink()
        await reports.until(deleted=1)
        assert kept.texts() == {"Mail 2"}


async def one_pass(kept: Kept, folder: Path) -> Synced:
    async def once() -> AsyncGenerator[set[str], None]:
        yield set()

    found: list[Synced] = []
    await watch(kept, folder).run(once(), found.append)
    return found[0]


async def test_what_was_deleted_between_two_watches_is_deleted_and_nothing_of_others(
    kept: Kept, folder: Path
) -> None:
    await kept.put("ana", imported(folder_with(folder.parent / "other", "x.md", "Imported")).documents)
    (folder / "a.md").write_text("A")
    (folder / "b.md").write_text("B")
    assert await one_pass(kept, folder) == Synced(added=2)
    assert await one_pass(kept, folder) == Synced()
    (folder / "a.md").unlink()
    (folder / "b.md").write_text("# B\n\n" + "long " * 2_000 + "\n# C\nmore")
    assert await one_pass(kept, folder) == Synced(added=1, replaced=1, deleted=1)
    (folder / "b.md").write_text("B")
    assert await one_pass(kept, folder) == Synced(replaced=1, deleted=1)
    assert kept.texts() == {"Imported", "B"}


def folder_with(folder: Path, name: str, text: str) -> Path:
    folder.mkdir()
    (folder / name).write_text(text)
    return folder


async def test_a_file_that_cannot_be_read_deletes_nothing(kept: Kept, folder: Path) -> None:
    path = folder / "box"
    begin = "From ana@example.org Tue Mar  5 10:15:00 2024\n"
    path.write_text(begin + MAIL.format(1) + "\n" + begin + MAIL.format(2))
    assert await one_pass(kept, folder) == Synced(added=2)
    path.write_text(begin + MAIL.format(1) + "\n" + begin + "\nbroken\n")
    synced = await one_pass(kept, folder)
    assert synced == Synced(faults=("box: a broken mail: it has no headers",))
    assert kept.texts() == {"Mail 1", "Mail 2"}


async def test_a_folder_that_is_suddenly_empty_deletes_nothing(kept: Kept, folder: Path) -> None:
    (folder / "a.md").write_text("A")
    await one_pass(kept, folder)
    (folder / "a.md").unlink()
    with pytest.raises(BadInput, match="is it mounted"):
        await one_pass(kept, folder)
    assert kept.texts() == {"A"}
    (folder / STATE).write_text("[")
    with pytest.raises(BadInput, match="is damaged"):
        await one_pass(kept, folder)


def test_an_interrupt_ends_the_command_which_reads_dates_as_an_import_does(
    tmp_path: Path, folder: Path
) -> None:
    (folder / "a.md").write_text("---\ndate: 05/03/2024 10:15\n---\nA note")
    command = [sys.executable, "-m", "server.cli", "profile", "watch", "ana", str(folder), "--data"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "data"), "--time-zone", "Asia/Kolkata", "--day-first"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "added 1, replaced 0, deleted 0\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")
    assert err.splitlines()[0] == f"watching {folder} for ana"
    assert err.splitlines()[-1] == "stopped"
    assert "Traceback" not in err
    with closing(sqlite3.connect(tmp_path / "data" / FILE)) as database:
        assert database.execute("SELECT created_at FROM documents").fetchall() == [
            ("2024-03-05T10:15:00+05:30",)
        ]


def test_an_unknown_time_zone_is_refused(folder: Path) -> None:
    result = CliRunner().invoke(app, ["profile", "watch", "ana", str(folder), "--time-zone", "Berlin"])
    assert result.exit_code == 2
    assert "'Berlin' is not a time zone, like Europe/Berlin" in result.stderr
