"""Reads a path as `pr2 profile import` does, and stores it to see what changes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from index.dates import iso
from index.documents import Document
from index.errors import InvalidDocument
from index.formats import FORMATS, Options, Skipped, opened_members, read, recognize
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder


@dataclass
class Found:
    """All that an import yields, by kind."""

    formats: list[str] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def times(self) -> list[str | None]:
        return [document.created_at and iso(document.created_at) for document in self.documents]

    def texts(self) -> list[str]:
        return [document.text for document in self.documents]


def found(path: Path, name: str | None = None, **options: Any) -> Found:
    """Read a file, folder or archive, in the format `name` or in the recognized ones."""
    result = Found()
    with opened_members(path) as members:
        recognition = recognize(members, FORMATS, name)
        result.skipped = [skipped.reason for skipped in recognition.left_out]
        for form, source in read(recognition, members, Options(options.pop("user", "ana"), **options)):
            result.formats.append(form.name)
            for item in source.documents:
                match item:
                    case Document():
                        result.documents.append(item)
                    case InvalidDocument():
                        result.faults.append(str(item))
                    case Skipped():
                        result.skipped.append(item.reason)
    return result


class Stored:
    """A profile that imports are put into, one after the other."""

    def __init__(self, profiles: Profiles) -> None:
        self.profiles = profiles

    def put(self, path: Path, name: str | None = None, **options: Any) -> tuple[int, int, int]:
        """Import `path`. Return how many documents were added, unchanged and replaced."""
        changes = self.profiles.put("ana", found(path, name, **options).documents).changes
        return changes.added.count, changes.unchanged.count, changes.replaced.count


@contextmanager
def opened_profile(folder: Path) -> Iterator[Stored]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{folder / 'profile.db'}", encoder.manifest)
    store.open()
    try:
        yield Stored(Profiles(store, encoder))
    finally:
        store.close()
