"""Reads NDJSON of any length: one JSON object per line."""

from collections.abc import Iterable

from index.errors import InvalidDocument
from index.formats.items import loaded, parsed, without_bom
from index.formats.source import Documents, File, Format, Source


def read_ndjson(lines: Iterable[str | bytes]) -> Documents:
    """Yield the document on each line, skipping blank lines. Lines count from 1."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = loaded(without_bom(line) if number == 1 and isinstance(line, str) else line, number)
        except InvalidDocument as error:
            yield error
            continue
        yield parsed(data, number)


def _sources(file: File) -> list[Source]:
    return [Source(file.user, read_ndjson(file.lines), file.line_count)]


NDJSON = Format("ndjson", _sources, beginning="{")
