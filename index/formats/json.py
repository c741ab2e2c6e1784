"""Reads a JSON array of documents of any length, one element at a time."""

import re
from collections.abc import Callable, Iterable, Iterator

from index.errors import InvalidDocument
from index.formats.items import ITEM_CHARACTERS, loaded, parsed, without_bom
from index.formats.source import Documents, File, Format, Source

_DEEPEST = 500
"""Levels of nesting, within what Python's JSON parser can read."""
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*("?)|[\[\]{},]', re.DOTALL)
"""A string, perhaps cut off, or a character of the structure. A string always matches: otherwise the search
would go on inside of it."""
_OPENING = re.compile(r"\s*\[")


def read_json(pieces: Iterable[str]) -> Documents:
    """Yield the documents of an array that comes in pieces of any length; items count from 1.

    Raises InvalidDocument for text that is not an array; the documents before the fault come first.
    """
    for number, element in elements(pieces, longest=ITEM_CHARACTERS):
        try:
            data = loaded(element, number)
        except InvalidDocument as error:
            yield error
            continue
        yield parsed(data, number)


def elements(pieces: Iterable[str], longest: int | None = None) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each element of a JSON array, holding about one element or piece at a time.

    Elements count from 1, and their text may be invalid. Raises InvalidDocument for text that is not one
    array, and for an element of more than `longest` characters.
    """
    read = _reader(pieces)
    buffer, number, depth = without_bom(read(1)), 1, 0
    while (opening := _OPENING.match(buffer)) is None:
        if buffer.strip() or not (buffer := read(1)):
            raise InvalidDocument("expected a JSON array of documents")
    start = at = opening.end()
    while depth >= 0:
        for token in _TOKEN.finditer(buffer, at):
            kind = buffer[token.start()]
            if kind == '"' and not token.group(1):
                break
            at = token.end()
            if kind in "[{":
                depth += 1
                if depth > _DEEPEST:
                    raise InvalidDocument("not JSON: nested too deeply", number)
            elif kind in "]}":
                depth -= 1
            if depth < 0 or (kind == "," and depth == 0):
                element = buffer[start : at - 1]
                if number > 1 or kind != "]" or element.strip():
                    yield number, element
                start, number = at, number + 1
                if depth < 0:
                    break
        else:
            # All that is left has no structure, such as a part of a number.
            at = len(buffer)
        if depth < 0:
            break
        if longest is not None and len(buffer) - start > longest:
            raise InvalidDocument(f"longer than {longest // 2**20} MB", number)
        # A string that is cut off is read again from its beginning, so the buffer doubles.
        more = read(max(1, len(buffer) - start))
        if not more:
            raise InvalidDocument("not JSON: the array does not end", number)
        buffer, at, start = buffer[start:] + more, at - start, 0
    if kind != "]" or buffer[at:].strip() or any(piece.strip() for piece in iter(lambda: read(1), "")):
        raise InvalidDocument("not JSON: something follows the end of the array", number - 1)


def _reader(pieces: Iterable[str]) -> Callable[[int], str]:
    """Return a function that returns at least so many more characters, fewer only at the end."""
    rest = iter(pieces)

    def read(count: int) -> str:
        found: list[str] = []
        while count > 0 and (piece := next(rest, None)) is not None:
            found.append(piece)
            count -= len(piece)
        return "".join(found)

    return read


def _sources(file: File) -> list[Source]:
    return [Source(file.user, read_json(file.lines))]


JSON = Format("json", _sources, beginning="[")
