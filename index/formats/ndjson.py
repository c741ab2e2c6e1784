"""Reads NDJSON of any length: one JSON object per line."""

from collections.abc import Iterable

from index.errors import InvalidDocument
from index.formats.items import loaded, parsed, without_bom
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Documents, Format, Options


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


def _read(member: Member, options: Options) -> Documents:
    return read_ndjson(member.lines())


def _recognizes(beginning: Beginning) -> bool:
    return beginning.suffix in (".ndjson", ".jsonl") and beginning.has_keys("text")


NDJSON = Format(
    "ndjson", "NDJSON", each(_read, counts_lines=True), recognizes=_recognizes, first="{", exported=False
)
