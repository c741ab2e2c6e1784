"""Streams the objects at given places of a large JSON file, so that one object at a time is in memory."""

from collections.abc import Collection, Iterator
from typing import IO, Any

import ijson

from index.errors import InvalidDocument

MOST_VALUES = 1_000_000
"""Values of one object, or between two of them."""
LONGEST_STRING = 16 * 2**20
_DEEPEST = 500
_PIECE = 2**20
"""Bytes that are read at a time. The parser's time for a long string is their number, squared."""
_BOM = b"\xef\xbb\xbf"


def objects(stream: IO[bytes], places: Collection[str]) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of each value at one of the places, in the file's order.

    A place is a path of keys and `item` for elements of arrays, such as `chats.list.item.name`. Raises
    InvalidDocument, after the values before the fault, for text that is not JSON, ends too early, or holds a
    value that is too large.
    """
    building: ijson.ObjectBuilder | None = None
    place, depth, outer, count = "", 0, 0, 0
    try:
        for prefix, event, value in ijson.parse(_Bounded(stream), buf_size=_PIECE, use_float=True):
            count += 1
            if event in ("start_map", "start_array"):
                depth += 1
            elif event in ("end_map", "end_array"):
                depth -= 1
            if depth > _DEEPEST:
                raise InvalidDocument("not JSON that can be read: nested too deeply")
            if building is None:
                if prefix not in places or event == "map_key" or event.startswith("end_"):
                    continue
                building, place, outer, count = ijson.ObjectBuilder(), prefix, depth, 0
                if event.startswith("start_"):
                    outer -= 1
            if count > MOST_VALUES:
                raise InvalidDocument(f"holds an object of more than {MOST_VALUES:,} values")
            building.event(event, value)
            if depth == outer:
                yield place, building.value
                building, count = None, 0
    except InvalidDocument:
        raise
    except (ijson.JSONError, ValueError) as error:
        if "premature EOF" in str(error) or "Incomplete JSON" in str(error):
            raise InvalidDocument("the file ends in the middle: export it again") from None
        raise InvalidDocument(f"not JSON: {str(error).splitlines()[0].strip()}") from None


class _Bounded:
    """A stream without its byte order mark that raises InvalidDocument within a very long string."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._start = stream.read(len(_BOM)).removeprefix(_BOM)
        self._unquoted = 0

    def read(self, count: int) -> bytes:
        if not count:  # The parser looks whether it gets bytes.
            return b""
        start, self._start = self._start, b""
        data = start or self._stream.read(count)
        quote = data.rfind(b'"')
        self._unquoted = self._unquoted + len(data) if quote < 0 else len(data) - quote
        if self._unquoted > LONGEST_STRING:
            raise InvalidDocument(f"holds a text of more than {LONGEST_STRING // 2**20} MB")
        return data
