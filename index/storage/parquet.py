"""Exports a store to a folder of Parquet files, one for each table, and makes a store of such a folder.

The files have the rows as they are stored, in the order of their keys; vectors are lists of float32, which
hold float16 exactly and which other programs read. `store.json` has the schema, and the number of rows and a
digest for each table.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Column, Float, Integer, LargeBinary, Table

from index.errors import NotCopied
from index.storage import opening, schema
from index.storage.copying import (
    AT_ONCE,
    Contents,
    Counting,
    differing,
    fill,
    new_database,
    new_tables,
    parts,
    read_back,
)
from index.storage.store import Store
from index.values import Progress

if TYPE_CHECKING:
    import pyarrow as pa

SUMMARY = "store.json"
_VECTOR = "vector"


def export(source: Store, folder: Path, progress: Progress | None = None) -> dict[str, Contents]:
    """Write one state of `source`, which may be in use, to a new folder, and read it back.

    An export that breaks off leaves no folder. `progress` is called with the number of rows just written.
    Returns the contents by table. Raises NotCopied if the folder exists, cannot be written, or what is read
    back differs, StoreUnavailable, StoreDamaged, SchemaMismatch.
    """
    _check_extra()
    if folder.exists():
        raise NotCopied(f"{folder} exists already: export to a new folder")
    source.open()
    draft = folder.with_name(f".{folder.name}.part")
    with _as_not_copied(draft):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(0o700, parents=True)
        try:
            written = _write(source, draft, progress)
            if name := differing(partial(_read, draft), written):
                raise NotCopied(f"{name} in {draft} differ from what was written")
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return written


def import_(folder: Path, url: str, progress: Progress | None = None) -> dict[str, Contents]:
    """Make a new store at `url` of an exported folder, and read it back.

    Everything is written in one transaction: an import that breaks off leaves no store. `progress` is called
    with the number of rows just written. Returns the contents by table. Raises NotCopied if the folder is not
    an export or not as it was written, or there is a store already, StoreUnavailable, StoreDamaged.
    """
    _check_extra()
    expected = summary(folder)
    with new_database(url) as target:
        with new_tables(target) as writing:
            for name, table in schema.tables.tables.items():
                if fill(writing, table, _read(folder, table), progress) != expected[name]:
                    raise NotCopied(f"{folder / name}.parquet is not as it was written: nothing was imported")
        read_back(target, expected)
    return expected


def summary(folder: Path) -> dict[str, Contents]:
    """Return the contents of an export by table. Raises NotCopied."""
    try:
        found = json.loads((folder / SUMMARY).read_text("utf-8"))
        tables = found["tables"]
        contents = {
            name: Contents(tables[name]["rows"], bytes.fromhex(tables[name]["digest"])) for name in tables
        }
        revision = found["schema"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotCopied(f"{folder} is not an export of a store: {error}") from None
    if revision != opening.REVISION or contents.keys() != schema.tables.tables.keys():
        raise NotCopied(
            f"{folder} was exported with schema {revision}, and this version of pr2 has {opening.REVISION}: "
            "import it with the version that wrote it, and migrate that store"
        )
    return contents


def _write(source: Store, folder: Path, progress: Progress | None) -> dict[str, Contents]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    written = {}
    with source.database.read() as reading:
        source.database.unhurried(reading)
        for name, table in schema.tables.tables.items():
            counting = Counting(progress)
            fields = pa.schema([pa.field(column.name, _type(column)) for column in table.c])
            with _private(folder / f"{name}.parquet") as file, pq.ParquetWriter(file, fields) as writer:
                for rows in parts(reading, table):
                    counting.add(rows)
                    columns = zip(*rows, strict=True)
                    arrays = [
                        _array(field, list(values)) for field, values in zip(fields, columns, strict=True)
                    ]
                    writer.write_batch(pa.record_batch(arrays, schema=fields))
            written[name] = counting.contents
    tables = {
        name: {"rows": contents.rows, "digest": contents.digest.hex()} for name, contents in written.items()
    }
    with _private(folder / SUMMARY) as file:
        file.write(json.dumps({"schema": opening.REVISION, "tables": tables}, indent=2).encode())
    return written


def _read(folder: Path, table: Table) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table's file, AT_ONCE at a time. Raises NotCopied for other columns."""
    import pyarrow.parquet as pq

    path = folder / f"{table.name}.parquet"
    with _as_not_copied(path), pq.ParquetFile(path) as file:
        if file.schema_arrow.names != list(table.c.keys()):
            raise NotCopied(f"{path} does not have the columns of {table.name}")
        for batch in file.iter_batches(AT_ONCE):
            columns = [
                _vectors(column) if name == _VECTOR else column.to_pylist()
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            if rows := list(zip(*columns, strict=True)):
                yield rows


def _type(column: Column[Any]) -> "pa.DataType":
    import pyarrow as pa

    match column.type:
        case LargeBinary():
            return pa.list_(pa.float32()) if column.name == _VECTOR else pa.binary()
        case Integer():  # BigInteger is one, too.
            return pa.int64()
        case Float():
            return pa.float64()
        case _:
            return pa.string()


def _array(field: "pa.Field", values: Sequence[Any]) -> "pa.Array":
    import pyarrow as pa

    if field.name != _VECTOR:
        return pa.array(values, field.type)
    if any(len(value) % 2 for value in values):
        raise NotCopied("a vector is damaged: see pr2 store check")
    lengths = [len(value) // 2 for value in values]
    flat = np.frombuffer(b"".join(values), np.float16).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat))


def _vectors(column: "pa.Array") -> list[bytes]:
    return [np.asarray(vector.values, np.float32).astype(np.float16).tobytes() for vector in column]


@contextmanager
def _private(path: Path) -> Iterator[Any]:
    """A new file that only its owner reads, on the disk at the end."""
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _as_not_copied(folder: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise NotCopied(f"{folder}: {error}") from error


def _check_extra() -> None:
    if find_spec("pyarrow") is None:
        raise NotCopied("Parquet needs an extra that is missing: pip install 'pr2[parquet]'")
