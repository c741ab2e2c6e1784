"""Reads CSV and TSV files with a header, mapping columns to the fields of a document."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice

from index.dates import STRICT, Style
from index.documents import TEXT_CHARACTERS
from index.errors import InvalidDocument
from index.formats.columns import dates_of, row_fields, table_fields
from index.formats.encodings import SAMPLE_BYTES, encoding_of
from index.formats.items import parsed, without_bom
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Documents, Format, Options

_DELIMITERS = ",;\t|"
_LOOKED_AT = 20
"""Rows by which the delimiter is found."""


def read_csv(
    lines: Iterable[str], columns: Mapping[str, str] | None = None, dates: Style = STRICT
) -> Documents:
    """Yield the documents of a CSV file. `columns` maps fields of a document to column names.

    An unmapped field is read from the column with its own name; other columns become metadata. The delimiter
    is found, or stated by a first line like `sep=;`. Raises InvalidDocument if a mapped column, or the column
    for `text`, is missing.
    """
    reader, first = _reader(lines)
    header = _header(reader)
    mapping = table_fields(header, columns or {})
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield InvalidDocument(f"not CSV: {error}", reader.reader.line_num + first)
            continue
        line = reader.line_num + first
        if None in row or None in row.values():
            yield InvalidDocument(f"does not have the {len(header)} columns of the header", line)
            continue
        yield parsed(row_fields(row, mapping, dates), line)


def _reader(lines: Iterable[str]) -> "tuple[csv.DictReader[str], int]":
    """Return a reader of the rows, and the number of lines before the header."""
    csv.field_size_limit(max(csv.field_size_limit(), 2 * TEXT_CHARACTERS))
    rest = iter(lines)
    head = list(islice(rest, _LOOKED_AT))
    head[:1] = map(without_bom, head[:1])
    stated = head[0].strip().strip('"') if head else ""
    if (stated.lower().startswith("sep=") and len(stated) == 5) or stated.lower() == "sep=":
        delimiter, first = stated[4:] or "\t", 1
    else:
        delimiter, first = _delimiter(head), 0
    return csv.DictReader(chain(head[first:], rest), delimiter=delimiter), first


def _delimiter(head: list[str]) -> str:
    """Return the delimiter that gives the header most columns, and the rows as many; by default ","."""
    best, most = ",", 1
    for delimiter in _DELIMITERS:
        try:
            rows = [row for row in csv.reader(head, delimiter=delimiter) if row]
        except csv.Error:
            continue
        # The last row may go on after these lines.
        width = len(rows[0]) if rows else 0
        if width > most and all(len(row) == width for row in rows[1:-1]):
            best, most = delimiter, width
    return best


def _header(reader: "csv.DictReader[str]") -> list[str]:
    try:
        return list(reader.fieldnames or [])
    except csv.Error as error:
        raise InvalidDocument(f"not CSV: {error}", 1) from None


def _lines(member: Member) -> Iterator[str]:
    """Yield the lines of a file in its own encoding. Raises InvalidDocument if it is not text."""
    try:
        encoding = encoding_of(member.beginning(SAMPLE_BYTES))
        with member.open() as stream, io.TextIOWrapper(stream, encoding, newline="") as text:
            yield from text
    except UnicodeDecodeError as error:
        raise InvalidDocument(
            f"not {error.encoding.upper()}, as its beginning is: save it as UTF-8"
        ) from None
    except UnicodeError as error:
        raise InvalidDocument(str(error)) from None


def _dates(member: Member, options: Options) -> Iterator[str]:
    """Yield the dates of a file, to settle their order."""
    reader, _ = _reader(_lines(member))
    column = table_fields(_header(reader), options.columns).get("created_at")
    try:
        for row in reader if column else ():
            yield row[column] or ""
    except csv.Error:
        return  # Reading it again reports where.


def _read(member: Member, options: Options) -> Documents:
    dates = dates_of(options, _dates(member, options) if options.day_first is None else ())
    return read_csv(_lines(member), options.columns, dates)


def _recognizes(beginning: Beginning) -> bool:
    if beginning.suffix not in (".csv", ".tsv"):
        return False
    try:
        text = beginning.data.decode(encoding_of(beginning.data), "replace")
        return "text" in _header(_reader(text.splitlines(keepends=True)[:_LOOKED_AT])[0])
    except (UnicodeError, InvalidDocument):
        return False


CSV = Format(
    "csv",
    "CSV",
    each(_read, counts_lines=True),
    recognizes=_recognizes,
    suffix=".csv",
    takes_columns=True,
    exported=False,
)
TSV = Format("tsv", "TSV", CSV.sources, suffix=".tsv", takes_columns=True, exported=False)
