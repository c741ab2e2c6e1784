"""Reads a JSON array of documents into memory."""

from index.errors import InvalidDocument
from index.formats.items import loaded, parsed, without_bom
from index.formats.source import Documents, File, Format, Source


def read_json(text: str | bytes) -> Documents:
    """Yield the documents of an array; items count from 1. Raises InvalidDocument if it is not an array."""
    data = loaded(without_bom(text) if isinstance(text, str) else text)
    if not isinstance(data, list):
        raise InvalidDocument("expected a JSON array of documents")
    for number, item in enumerate(data, 1):
        yield parsed(item, number)


def _sources(file: File) -> list[Source]:
    documents = list(read_json("".join(file.lines)))
    return [Source(file.user, documents, len(documents))]


JSON = Format("json", _sources, beginning="[")
