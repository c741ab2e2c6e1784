"""Stop sequences, applied to the text of an answer.

Not sent to the engine: they are about the answer, and a policy also writes thoughts and queries.
"""

from collections.abc import Sequence


def cut(text: str, stops: Sequence[str]) -> str | None:
    """`text` before the stop sequence that is complete first; None if there is none.

    Of two that end together, the one that begins first counts. Stop sequences must not be empty.
    """
    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    return text[: min(found)[1]] if found else None


class Stops:
    """Cuts a growing text at its first stop sequence, as `cut` does at its end.

    The output so far is always a prefix of the final text: only the end that may become a stop sequence is
    held back.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._longest = max(map(len, stops), default=0)
        self._held = ""
        self._stopped = False

    def feed(self, text: str) -> str:
        """Take the next piece of the text. Returns the next piece of the final one."""
        if self._stopped:
            return ""
        text = self._held + text
        shown = cut(text, self._stops)
        self._stopped = shown is not None
        if shown is None:
            ends = range(max(len(text) - self._longest + 1, 0), len(text))
            shown = text[: next((end for end in ends if self._may_become_stop(text[end:])), len(text))]
        self._held = text[len(shown) :]
        return shown

    def _may_become_stop(self, end: str) -> bool:
        return any(stop.startswith(end) for stop in self._stops)
