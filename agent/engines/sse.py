"""An incremental decoder for server-sent events: bytes in, the data of complete events out.

It reads the name and the data of each event and skips comments and other fields. The result does not
depend on how the bytes were split.
"""

import codecs
import re

EVENT_CHARACTERS = 2**20
"""The longest event. Servers send a few hundred characters; without a limit, one could fill the memory."""

_LINE_END = re.compile(r"\r\n|\n|\r")


class EventDecoder:
    """Call `decode` with each piece of the body in turn.

    An event is complete at its blank line: an incomplete last event means that the stream was cut off, and
    is never returned.
    """

    def __init__(self, limit: int | None = EVENT_CHARACTERS) -> None:
        """`limit` is the length of the longest event, in characters; None for a trusted server."""
        self._limit = limit
        self._characters = codecs.getincrementaldecoder("utf-8-sig")()
        self._line = ""
        self._name = ""
        self._data: list[str] = []
        self._size = 0
        self._after_return = False

    def decode(self, piece: bytes) -> list[str]:
        """The data of the events that `piece` completes. Raises ValueError (encoding, length)."""
        return [data for _, data in self.decode_named(piece)]

    def decode_named(self, piece: bytes) -> list[tuple[str, str]]:
        """(name, data) of the events that `piece` completes. Events without a name are called `message`."""
        text = self._characters.decode(piece)
        if not text:
            return []
        # The last piece may have ended between "\r" and "\n", which are one line end.
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
