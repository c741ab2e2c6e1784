"""Reads NDJSON of any length: one JSON object per line."""

from collections.abc import Iterable, Mapping

from index.dates import STRICT, Style
from index.errors import InvalidDocument
from index.formats.columns import check_fields, dates_of, object_fields
from index.formats.items import loaded, parsed, without_bom
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Documents, Format, Options


def read_ndjson(
    lines: Iterable[str | bytes], columns: Mapping[str, str] | None = None, dates: Style = STRICT
) -> Documents:
    """Yield the document on each line, skipping blank lines. Lines count from 1.

    `columns` maps fields to the keys of other objects.
    """
    check_fields(columns or {})
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = loaded(without_bom(line) if number == 1 and isinstance(line, str) else line, number)
        except InvalidDocument as error:
            yield error
            continue
        yield parsed(object_fields(data, columns or {}, dates), number)


def _read(member: Member, options: Options) -> Documents:
    return read_ndjson(member.lines(), options.columns, dates_of(options))


def _recognizes(beginning: Beginning) -> bool:
    return beginning.suffix in (".ndjson", ".jsonl") and beginning.has_keys("text")


NDJSON = Format(
    "ndjson",
    "NDJSON",
    each(_read, counts_lines=True),
    recognizes=_recognizes,
    first="{",
    takes_columns=True,
    exported=False,
)
