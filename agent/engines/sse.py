"""Server-sent events, as an incremental decoder: bytes in, the data of whole events out.

The name and the data of each event are read; comments and other fields are skipped. Where the bytes were
cut makes no difference.
"""

import codecs
import re

EVENT_CHARACTERS = 2**20
"""The longest event. Servers send a few hundred characters; without a bound, one could fill the memory."""

_LINE_END = re.compile(r"\r\n|\n|\r")


class EventDecoder:
    """`decode` every piece of the body in turn.

    An event counts once its blank line is there: a torn last one says that the stream was cut, and is
    never given out.
    """

    def __init__(self, limit: int | None = EVENT_CHARACTERS) -> None:
        """`limit` is the longest event, in characters; None for a server that is trusted."""
        self._limit = limit
        self._characters = codecs.getincrementaldecoder("utf-8-sig")()
        self._line = ""
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._after_return = False

    def decode(self, piece: bytes) -> list[str]:
        """The data of the events that `piece` completes. Raises ValueError: no UTF-8, or too long."""
        return [data for _, data in self.decode_named(piece)]

    def decode_named(self, piece: bytes) -> list[tuple[str, str]]:
        """(name, data) of the events that `piece` completes; an event without a name is a `message`."""
        text = self._characters.decode(piece)
        if not text:
            return []
        # A "\n" right after a "\r" that ended the last piece belongs to that line end.
        second_half = self._after_return and text.startswith("\n")
        self._after_return = text.endswith("\r")
        *lines, rest = _LINE_END.split(text[second_half:])
        events = []
        for end in lines:
            line, self._line = self._line + end, ""
            if line:
                self._field(line)
            else:
                if self._data:
                    events.append((self._name or "message", "\n".join(self._data)))
                self._name, self._data, self._size = "", [], 0
        self._line += rest
        if self._limit is not None and self._size + len(self._line) > self._limit:
            raise ValueError("an event is too long")
        return events

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        if name == "event":
            self._name = value.removeprefix(" ")
        elif name == "data":
            self._data.append(value.removeprefix(" "))
            self._size += len(line)
