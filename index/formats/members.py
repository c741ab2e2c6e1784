"""The files of an import: one file, a folder, or a .zip as it was exported, all behind one list of members.

Nothing is unpacked and nothing outside the given path is read: links and names that lead elsewhere are left
out and reported. Contents are read as streams.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from index.errors import InvalidDocument, UnreadableImport
from index.formats.items import without_bom
from index.formats.kinds import office
from index.formats.source import Skipped

MOST_MEMBERS = 1_000_000
LARGEST_RATIO = 200
"""Most bytes that one byte of an archive may become. Chats, mail and JSON reach about 30, a zip bomb
1,000."""
SMALL = 64 * 2**20
"""Bytes up to which the ratio is not looked at."""
_UTF16 = ("\ufeff".encode("utf-16-le"), "\ufeff".encode("utf-16-be"))
_BOM = b"\xef\xbb\xbf"
_UNICODE_NAME = 0x800
_ENCRYPTED = 0x1
_PIECE = 2**20


@dataclass(frozen=True)
class Member:
    """One file to read. `open` may be called repeatedly."""

    name: str
    """Path below the folder or in the archive, with slashes; for a single file, its own name."""
    size: int
    stored: int
    """Bytes on disk: less than `size` in an archive."""
    _open: Callable[[], IO[bytes]]
    within: str = ""
    """Name of the folder or archive that was given; of a single file, the folder that it lies in."""
    alone: bool = False
    """Whether this file was given, and not a folder or archive."""

    @property
    def folder(self) -> str:
        """Name of the folder that the file lies in; for one at the top, of what was given."""
        return self.name.rpartition("/")[0].rpartition("/")[2] or self.within

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the file to be read once, in a `with` block. Raises InvalidDocument if it is damaged."""
        try:
            with self._open() as stream:
                yield stream
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise InvalidDocument(f"{self.name} is damaged in the archive: {error}") from None

    def beginning(self, count: int) -> bytes:
        """Return the first `count` bytes, fewer if the file is shorter."""
        with self.open() as stream:
            return stream.read(count)

    def lines(self) -> Iterator[str]:
        """Yield the lines of UTF-8. Raises InvalidDocument, with the line, for any other encoding."""
        with self.open() as stream:
            for number, line in enumerate(stream, 1):
                if number == 1 and line.startswith(_UTF16):
                    raise InvalidDocument("the file is in UTF-16: save it as UTF-8")
                try:
                    yield without_bom(line.decode()) if number == 1 else line.decode()
                except UnicodeDecodeError as error:
                    raise InvalidDocument(
                        f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}; "
                        "save the file as UTF-8",
                        number,
                    ) from None

    def line_count(self) -> int:
        """Return the number of lines."""
        count, last = 0, b"\n"
        with self.open() as stream:
            while piece := stream.read(_PIECE):
                count += piece.count(b"\n")
                last = piece[-1:]
        return count + (last != b"\n")


@dataclass(frozen=True)
class Members:
    """All files of an import, in the order of their names."""

    name: str
    """Name of the given file or folder, without its place."""
    members: tuple[Member, ...]
    single: bool = False
    """Whether one plain file was given."""
    left_out: tuple[Skipped, ...] = ()
    """Entries that cannot or must not be read."""
    stored: int = 0
    """Bytes on disk of all files together."""
    _states: dict[Path, tuple[int, int]] = field(default_factory=dict)

    def check(self, chosen: Iterable[Member]) -> None:
        """Raise UnreadableImport if files would become implausibly large: a zip bomb."""
        sizes = [(member.size, member.stored) for member in chosen]
        size, stored = sum(size for size, _ in sizes), sum(stored for _, stored in sizes)
        # Entries of an archive may overlap, so that each has a small ratio and all together a large one.
        if size > max(SMALL, LARGEST_RATIO * min(stored, self.stored)):
            raise UnreadableImport(
                f"{self.name} looks like a zip bomb: {stored:,} bytes would become {size:,}; if it is an "
                "honest archive, unpack it and import the folder"
            )

    def changed(self) -> list[str]:
        """Return the names of files that have changed on disk since they were listed."""
        return [path.name for path, state in self._states.items() if _state(path) != state]


@contextmanager
def opened_members(path: Path) -> Iterator[Members]:
    """List the files at `path`: a file, a folder or a zip archive.

    Raises OSError if it cannot be read, and UnreadableImport for an archive that is damaged or a bomb.
    """
    if path.is_dir():
        yield _of_folder(path)
        return
    with path.open("rb") as start:
        first = start.read(_PIECE)
    is_zip = first.startswith((b"PK\3\4", b"PK\5\6")) and not office(first) and not _is_office(path)
    if not is_zip:
        size, _ = state = _state(path)
        within = path.resolve().parent.name
        member = Member(path.name, size, size, partial(_open_file, path), within, alone=True)
        yield Members(path.name, (member,), True, (), size, {path: state})
        return
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise UnreadableImport(
                f"{path.name} is a zip archive, but damaged or cut off ({error}): download or export it again"
            ) from None
        yield _of_archive(path, archive)


def _open_file(path: Path) -> IO[bytes]:
    return path.open("rb")


def _is_office(path: Path) -> bool:
    return path.suffix.lower() in {".docx", ".xlsx", ".pptx", ".odt", ".ods", ".epub", ".jar", ".apk"}


def _state(path: Path) -> tuple[int, int]:
    """Size and time of the last change, in nanoseconds; (-1, -1) for a file that is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _of_folder(folder: Path) -> Members:
    members: list[Member] = []
    left_out: list[Skipped] = []
    states: dict[Path, tuple[int, int]] = {}
    own = folder.resolve().name

    def failed(error: OSError) -> None:
        left_out.append(Skipped(f"a folder that cannot be read: {error.strerror}", str(error.filename)))

    for place, folders, files in os.walk(folder, onerror=failed):
        folders.sort()
        for name in sorted([*files, *(inner for inner in folders if (Path(place) / inner).is_symlink())]):
            path = Path(place) / name
            shown = path.relative_to(folder).as_posix()
            found = path.lstat()
            if stat.S_ISLNK(found.st_mode):
                inside = path.resolve().is_relative_to(folder.resolve())
                where = "to a file that is read by itself" if inside else "that leads out of the folder"
                left_out.append(Skipped(f"a symbolic link {where}", shown))
            elif not stat.S_ISREG(found.st_mode):
                left_out.append(Skipped("not a regular file", shown))
            else:
                members.append(Member(shown, found.st_size, found.st_size, partial(_open_file, path), own))
                states[path] = (found.st_size, found.st_mtime_ns)
    stored = sum(member.stored for member in members)
    return Members(own, tuple(members), False, tuple(left_out), stored, states)


def _of_archive(path: Path, archive: zipfile.ZipFile) -> Members:
    entries = sorted((entry for entry in archive.infolist() if not entry.is_dir()), key=_entry_name)
    if len(entries) > MOST_MEMBERS:
        raise UnreadableImport(f"{path.name} holds more than {MOST_MEMBERS:,} files")
    members: list[Member] = []
    left_out: list[Skipped] = []
    for entry in entries:
        name = _entry_name(entry)
        if reason := _refused(entry, name):
            left_out.append(Skipped(reason, name))
        else:
            opened = partial(archive.open, entry)
            members.append(Member(name, entry.file_size, entry.compress_size, opened, path.stem))
    size, _ = state = _state(path)
    return Members(path.name, tuple(members), False, tuple(left_out), size, {path: state})


def _entry_name(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & _UNICODE_NAME:
        return entry.filename
    try:  # Many programs write UTF-8 without saying so.
        return entry.filename.encode("cp437").decode()
    except UnicodeError:
        return entry.filename


def _refused(entry: zipfile.ZipInfo, name: str) -> str | None:
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a symbolic link in the archive"
    if (
        name.startswith(("/", "\\"))
        or ".." in PurePosixPath(name.replace("\\", "/")).parts
        or name[1:2] == ":"
    ):
        return "a name that leads out of the archive"
    if entry.flag_bits & _ENCRYPTED:
        return "encrypted: unpack the archive with its password first"
    return None
