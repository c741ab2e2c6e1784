"""Reads CSV files with a header, mapping columns to the fields of a document."""

import csv
from collections.abc import Iterable, Mapping
from typing import Any

from index.documents import TEXT_CHARACTERS
from index.errors import InvalidDocument
from index.formats.items import parsed, without_bom
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Documents, Format, Options

FIELDS = ("id", "text", "created_at", "title", "source")


def read_csv(lines: Iterable[str], columns: Mapping[str, str] | None = None) -> Documents:
    """Yield the documents of a CSV file. `columns` maps fields of a document to column names.

    An unmapped field is read from the column with its own name; other columns become metadata. Raises
    InvalidDocument if a mapped column, or the column for `text`, is missing.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 2 * TEXT_CHARACTERS))
    reader = csv.DictReader(without_bom(line) if i == 0 else line for i, line in enumerate(lines))
    try:
        header = reader.fieldnames or []
    except csv.Error as error:
        raise InvalidDocument(f"not CSV: {error}", 1) from None
    mapping = {field: field for field in FIELDS if field in header} | dict(columns or {})
    unknown = sorted(set(mapping) - set(FIELDS))
    if unknown:
        raise InvalidDocument(f"unknown field: {', '.join(unknown)}; the fields are {', '.join(FIELDS)}")
    missing = sorted({mapping.get(field, field) for field in ("text", *mapping)} - set(header))
    if missing:
        raise InvalidDocument(
            f"the file has no column {', '.join(map(repr, missing))}; its columns are {', '.join(header)}"
        )
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield InvalidDocument(f"not CSV: {error}", reader.reader.line_num)
            continue
        line = reader.line_num
        if None in row or None in row.values():
            yield InvalidDocument(f"does not have the {len(header)} columns of the header", line)
            continue
        data: dict[str, Any] = {field: row[column] for field, column in mapping.items() if row[column]}
        metadata = {name: row[name] for name in header if name not in mapping.values() and row[name]}
        yield parsed(data | ({"metadata": metadata} if metadata else {}), line)


def _read(member: Member, options: Options) -> Documents:
    return read_csv(member.lines(), options.columns)


def _recognizes(beginning: Beginning) -> bool:
    header = next(csv.reader(beginning.text.splitlines()[:1]), [])
    return beginning.suffix == ".csv" and "text" in header


CSV = Format(
    "csv",
    "CSV",
    each(_read, counts_lines=True),
    recognizes=_recognizes,
    suffix=".csv",
    takes_columns=True,
    exported=False,
)
