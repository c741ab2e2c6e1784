"""Every reader: an export imported twice adds nothing more, and one of a week later adds that week."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.formats.exports import EXPORTS, Export
from tests.index.formats.reading import imported


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path / 'store.db'}", encoder.manifest)
    yield Profiles(store, encoder)
    store.close()


def written(export: Export, tmp_path: Path, name: str, weeks: int) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return export.write(folder, weeks)


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.write.__name__.strip("_"))
def test_the_next_export_adds_what_is_new_and_nothing_twice(
    export: Export, tmp_path: Path, profiles: Profiles
) -> None:
    first = imported(written(export, tmp_path, "first", 1))
    again = imported(written(export, tmp_path, "again", 1))
    later = imported(written(export, tmp_path, "later", 2))
    assert (first.formats, first.faults, later.faults) == ([export.form], [], [])
    assert later.times == list(export.times)
    assert len({document.id for document in later.documents}) == len(export.times)

    assert profiles.put("ana", first.documents).changes.added.count == len(export.times) - export.later
    changes = profiles.put("ana", again.documents).changes
    assert (changes.added.count, changes.replaced.count) == (0, 0)
    changes = profiles.put("ana", later.documents).changes
    assert (changes.added.count, changes.replaced.count) == (export.later, 0)
    assert changes.unchanged.count == len(export.times) - export.later


@pytest.mark.parametrize("export", EXPORTS, ids=lambda export: export.write.__name__.strip("_"))
def test_a_message_begins_with_its_author_and_names_its_chat(export: Export, tmp_path: Path) -> None:
    found = imported(written(export, tmp_path, "first", 1))
    assert all(document.source for document in found.documents)
    for document in found.documents:
        if export.form != "lifebench":
            assert document.author
            assert document.text.startswith(f"{document.author}: ")
