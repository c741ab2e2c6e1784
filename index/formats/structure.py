"""Finds the structure of JSON text without parsing it.

A parser builds everything in one call, which holds up all other threads of the process while it lasts. This
reads in short calls, so that text which is too much is known before it is parsed.
"""

import re
from collections.abc import Iterator
from itertools import islice

_OUTSIDE = re.compile(r'["\[\]{},]')
_INSIDE = re.compile(r'"|\\.?', re.DOTALL)


class Structure:
    """Reads text that comes in pieces. It may begin anywhere outside of a string."""

    def __init__(self) -> None:
        self._in_string = False
        self._escaped = False

    def positions(self, text: str, at: int = 0) -> Iterator[int]:
        """Yield the positions, from `at` on, of brackets, braces and commas outside of strings."""
        if self._escaped and at < len(text):
            at, self._escaped = at + 1, False
        while found := (_INSIDE if self._in_string else _OUTSIDE).search(text, at):
            at = found.end()
            kind = text[found.start()]
            if kind == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                yield found.start()
            elif found.end() - found.start() == 1:
                self._escaped = True  # The next piece begins with what is escaped.


def is_large(text: str, most: int) -> bool:
    """Whether JSON text has more than `most` brackets, braces and commas outside of strings."""
    return next(islice(Structure().positions(text), most, None), None) is not None
