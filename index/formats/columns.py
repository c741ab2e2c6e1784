"""Maps the columns of a table, or the keys of JSON objects, to the fields of a document."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any

from index.dates import Style, date_if_read, settled_order
from index.errors import InvalidDocument
from index.formats.source import Options

SERIAL = "created_at_serial"
"""Field for a column of a spreadsheet's days, like 45356.5; it gives created_at."""
FIELDS = ("id", "text", "created_at", "title", "source")
_MISSING = object()


def check_fields(fields: Iterable[str]) -> None:
    """Raise InvalidDocument for a field that a document does not have."""
    if unknown := sorted(set(fields) - {*FIELDS, SERIAL}):
        known = ", ".join((*FIELDS, SERIAL))
        raise InvalidDocument(f"unknown field: {', '.join(unknown)}; the fields are {known}")


def table_fields(header: Iterable[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return the column of each field: the mapped one or else the one with the field's name.

    Raises InvalidDocument if a mapped column, or the column for `text`, is missing.
    """
    header = list(header)
    mapping = {field: field for field in FIELDS if field in header} | dict(columns)
    check_fields(mapping)
    missing = sorted({mapping.get(field, field) for field in ("text", *mapping)} - set(header))
    if missing:
        raise InvalidDocument(
            f"the file has no column {', '.join(map(repr, missing))}; its columns are {', '.join(header)}"
        )
    return mapping


def dates_of(options: Options, dates: Iterable[str] = ()) -> Style:
    """Return how dates are read: in the stated order or else the one that `dates` settle, and in UTC."""
    style = replace(options.dates, zone=options.zone or UTC)
    return style if style.order else replace(style, order=settled_order(dates))


def row_fields(row: Mapping[str, Any], mapping: Mapping[str, str], dates: Style) -> dict[str, Any]:
    """Return the fields of one row of a table. Empty cells are left out, further columns become metadata."""
    data = {field: row[column] for field, column in mapping.items() if row[column] not in ("", None)}
    metadata = {
        name: value for name, value in row.items() if name not in mapping.values() and value not in ("", None)
    }
    return _with_date(data, dates) | ({"metadata": metadata} if metadata else {})


def object_fields(item: Any, columns: Mapping[str, str], dates: Style) -> Any:
    """Return the fields of a JSON object whose keys are mapped, like text=message or text=message.body.

    Further keys become metadata. Without a mapping, or if it is no object, `item` is returned.
    """
    if not columns or not isinstance(item, dict):
        return item
    data = {field: item[field] for field in FIELDS if field in item}
    data |= {
        field: value for field, path in columns.items() if (value := _at(item, path)) not in (_MISSING, None)
    }
    keys = [path if path in item else path.partition(".")[0] for path in columns.values()]
    metadata = {key: value for key, value in item.items() if key not in (*FIELDS, "metadata", *keys)}
    if isinstance(item.get("metadata"), dict):
        metadata |= item["metadata"]
    return _with_date(data, dates) | ({"metadata": metadata} if metadata else {})


def _at(item: Mapping[str, Any], path: str) -> Any:
    """Return the value of a key, or of a path of keys with dots between them; _MISSING if there is none."""
    value: Any = item.get(path, _MISSING)
    if value is _MISSING and "." in path:
        value = item
        for key in path.split("."):
            value = value.get(key, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value


def _with_date(data: dict[str, Any], dates: Style) -> dict[str, Any]:
    serial = data.pop(SERIAL, None)
    if serial is not None:
        return data | {"created_at": date_if_read(serial, replace(dates, serials=True)) or serial}
    if "created_at" in data:
        # The document names a date that is not understood.
        return data | {"created_at": date_if_read(data["created_at"], dates) or data["created_at"]}
    return data
