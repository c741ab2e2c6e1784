"""Reads a JSON array of documents of any length, one element at a time."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping

from index.dates import STRICT, Style
from index.errors import InvalidDocument
from index.formats.columns import check_fields, dates_of, object_fields
from index.formats.items import ITEM_CHARACTERS, MOST_STRUCTURE, TOO_LARGE, loaded, parsed, without_bom
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Documents, Format, Options
from index.formats.structure import Structure

_DEEPEST = 500
"""Levels of nesting, within what Python's JSON parser can read."""


def read_json(
    pieces: Iterable[str], columns: Mapping[str, str] | None = None, dates: Style = STRICT
) -> Documents:
    """Yield the documents of an array that comes in pieces of any length; items count from 1.

    `columns` maps fields to the keys of other objects. Raises InvalidDocument for text that is not an array;
    the documents before the fault come first.
    """
    check_fields(columns or {})
    for number, element in elements(pieces, ITEM_CHARACTERS, MOST_STRUCTURE):
        try:
            data = loaded(element, number)
        except InvalidDocument as error:
            yield error
            continue
        yield parsed(object_fields(data, columns or {}, dates), number)


def elements(
    pieces: Iterable[str], longest: int | None = None, most: int | None = None
) -> Iterator[tuple[int, str]]:
    """Yield (number, text) of each element of a JSON array, holding about one element or piece at a time.

    Elements count from 1, and their text may be invalid. Raises InvalidDocument for text that is not one
    array, and for an element of more than `longest` characters, or `most` brackets, braces and commas.
    """
    read = _reader(pieces)
    buffer, number, depth, count = without_bom(read(1)), 1, 0, 0
    while not (buffer := buffer.lstrip()) and (more := read(1)):
        buffer = more
    if not buffer.startswith("["):
        raise InvalidDocument("expected a JSON array of documents")
    start = at = 1
    structure = Structure()
    while depth >= 0:
        for position in structure.positions(buffer, at):
            kind = buffer[position]
            count += 1
            if most is not None and count > most + 1:  # The comma behind the element is not its own.
                raise InvalidDocument(TOO_LARGE, number)
            if kind in "[{":
                depth += 1
                if depth > _DEEPEST:
                    raise InvalidDocument("not JSON: nested too deeply", number)
            elif kind in "]}":
                depth -= 1
            if depth < 0 or (kind == "," and depth == 0):
                element = buffer[start:position]
                start = at = position + 1
                if number > 1 or kind != "]" or element.strip():
                    yield number, element
                number, count = number + 1, 0
                if depth < 0:
                    break
        else:
            if longest is not None and len(buffer) - start > longest:
                raise InvalidDocument(f"longer than {longest // 2**20} MB", number)
            # As much again as there is, so that a long element is copied a few times only.
            more = read(max(1, len(buffer) - start))
            if not more:
                raise InvalidDocument("not JSON: the array does not end", number)
            buffer, at, start = buffer[start:] + more, len(buffer) - start, 0
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


def _is_array(beginning: Beginning) -> bool:
    """Whether the first element is an object with a text."""
    text = beginning.text.lstrip()
    try:
        first, _ = json.JSONDecoder().raw_decode(text[1:].lstrip())
    except (ValueError, RecursionError):
        return False
    return text.startswith("[") and isinstance(first, dict) and "text" in first


def _read(member: Member, options: Options) -> Documents:
    return read_json(member.lines(), options.columns, dates_of(options))


JSON = Format(
    "json", "JSON", each(_read), recognizes=_is_array, first="[", takes_columns=True, exported=False
)
