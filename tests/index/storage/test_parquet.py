"""An export to Parquet has everything that a store has, and becomes the same store again."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from index.errors import NotCopied, StoreUnavailable
from index.storage.checking import faults
from index.storage.copying import copy, size
from index.storage.opening import REVISION
from index.storage.parquet import SUMMARY, export, import_
from index.storage.store import Store
from tests.index.storage.conftest import putting_slowly
from tests.index.storage.test_copying import ENCODER, OTHER, assert_same, fill
from tests.index.storage.test_store import encoded
from tests.postgresql import Cluster


@pytest.fixture
def exported(store: Store, tmp_path: Path) -> Path:
    store.put("ana", [[encoded("a", passages=2), encoded("b")]])
    export(store, tmp_path / "exported")
    return tmp_path / "exported"


def test_a_store_goes_to_parquet_and_back_between_databases(postgresql: Cluster, tmp_path: Path) -> None:
    source = fill(f"sqlite:///{tmp_path / 'a.db'}")
    rows: list[int] = []
    written = export(source, tmp_path / "one", rows.append)
    assert sum(rows) == size(source) == sum(contents.rows for contents in written.values())
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "one").iterdir()} == {0o600}
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700
    url = postgresql.create("parquet")
    assert import_(tmp_path / "one", url) == written
    elsewhere = Store(url, ENCODER.manifest, {"other": OTHER.manifest})
    assert_same(source, elsewhere)
    assert list(faults(elsewhere)) == []
    assert export(elsewhere, tmp_path / "two") == written
    for store in (source, elsewhere):
        store.close()


@pytest.mark.usefixtures("path")
def test_other_programs_read_texts_and_vectors(store: Store, exported: Path) -> None:
    documents = pq.read_table(exported / "documents.parquet").to_pylist()
    assert [(row["user"], row["id"], row["text"]) for row in documents] == [
        ("ana", "a", "tea"),
        ("ana", "b", "tea"),
    ]
    passages = pq.read_table(exported / "passages.parquet").to_pylist()
    vectors = np.array([row["vector"] for row in passages], np.float32)
    np.testing.assert_array_equal(vectors, store.load("ana").vectors.astype(np.float32))


@pytest.mark.usefixtures("path")
def test_an_export_has_one_state_of_a_store_in_use(store: Store, tmp_path: Path) -> None:
    store.put("ana", [[encoded("a")]])
    with putting_slowly(store, encoded("b"), encoded("c")):
        written = export(store, tmp_path / "exported")
    assert (written["documents"].rows, store.count("ana")) == (1, 3)


@pytest.mark.usefixtures("path")
def test_what_breaks_off_leaves_nothing(store: Store, exported: Path, tmp_path: Path) -> None:
    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(store, tmp_path / "again", stop)
    assert not [path for path in tmp_path.iterdir() if "again" in path.name]
    url = f"sqlite:///{tmp_path / 'other.db'}"
    with pytest.raises(KeyboardInterrupt):
        import_(exported, url, stop)
    with pytest.raises(StoreUnavailable, match="there is no store yet"):
        Store(url, None).users()
    import_(exported, url)


def rewritten(path: Path, old: str, new: str) -> None:
    """Change a value of a column of strings in a Parquet file."""
    table = pq.read_table(path)
    columns = [
        pa.array([new if value == old else value for value in column.to_pylist()], column.type)
        for column in table.columns
    ]
    pq.write_table(pa.table(columns, schema=table.schema), path)


@pytest.mark.usefixtures("path")
def test_an_export_that_was_changed_is_refused(exported: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'other.db'}"
    summary = exported / SUMMARY
    sound = summary.read_text()
    for wrong, message in (
        ("{}", "is not an export"),
        (sound.replace(f'"schema": "{REVISION}"', '"schema": "2"'), "exported with schema 2"),
        (json.dumps(json.loads(sound) | {"tables": {}}), "was exported with"),
    ):
        assert wrong != sound
        summary.write_text(wrong)
        with pytest.raises(NotCopied, match=message):
            import_(exported, url)
    summary.write_text(sound)
    documents = exported / "documents.parquet"
    whole = documents.read_bytes()
    rewritten(documents, "tea", "gin")
    with pytest.raises(NotCopied, match=r"documents\.parquet is not as it was written: nothing was imported"):
        import_(exported, url)
    for damaged in (whole[:100], b"", whole[:-4] + b"garb"):
        documents.write_bytes(damaged)
        with pytest.raises(NotCopied, match=r"documents\.parquet: "):
            import_(exported, url)
    documents.unlink()
    with pytest.raises(NotCopied, match=r"documents\.parquet: "):
        import_(exported, url)
    pq.write_table(pa.table({"id": ["a"]}), documents)
    with pytest.raises(NotCopied, match="does not have the columns"):
        import_(exported, url)
    with pytest.raises(StoreUnavailable, match="there is no store yet"):
        Store(url, None).users()


@pytest.mark.usefixtures("path")
def test_nothing_is_written_over_anything(store: Store, url: str, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(NotCopied, match="exists already"):
        export(store, exported)
    with pytest.raises(NotCopied, match="there is a store in"):
        import_(exported, url)
    copy(store, f"sqlite:///{tmp_path / 'copy.db'}")
    assert store.count("ana") == 2


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotCopied, match=r"pip install 'pr2\[parquet\]'"):
        import_(tmp_path, f"sqlite:///{tmp_path / 'pr2.db'}")
