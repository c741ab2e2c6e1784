"""Puts imports into a profile, one after the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.formats.reading import Import


class Stored:
    """A profile."""

    def __init__(self, profiles: Profiles) -> None:
        self.profiles = profiles

    def put(self, found: Import) -> tuple[int, int, int]:
        """Store what was read. Return how many documents were added, unchanged and replaced."""
        changes = self.profiles.put("ana", found.documents).changes
        return changes.added.count, changes.unchanged.count, changes.replaced.count


@contextmanager
def opened_profile(folder: Path) -> Iterator[Stored]:
    """Open an empty profile whose store is in `folder`."""
    encoder = HashEncoder()
    store = Store(f"sqlite:///{folder / 'profile.db'}", encoder.manifest)
    yield Stored(Profiles(store, encoder))
    store.close()
