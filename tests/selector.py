"""A selector that prefers what a test tells it to, without a model."""

import threading
from collections.abc import Callable, Sequence

from agent.selecting import Mode

MEMBERS = ("none", "bm25", "recency")
"""A pool that needs no encoder."""


def passages_in(prompt: str) -> int:
    """The number of passages that a prompt shows."""
    return prompt.count("\n[")


class ScriptedSelector:
    """Scores each prompt, with its output in the mode `post`, by `score`; keeps what it was shown.

    It returns only while `released` is set.
    """

    def __init__(
        self,
        mode: Mode,
        score: Callable[[str, str], float],
        members: Sequence[str] = MEMBERS,
    ) -> None:
        self.mode = mode
        self.members = members
        self.shown: list[tuple[str, str]] = []
        self.threads: set[str] = set()
        self.began = threading.Event()
        self.released = threading.Event()
        self.released.set()
        self._score = score

    def scores(self, prompts: Sequence[str], outputs: Sequence[str] | None) -> list[float]:
        """See Selector."""
        assert (outputs is None) == (self.mode == "pre")
        pairs = list(zip(prompts, outputs or [""] * len(prompts), strict=True))
        self.shown += pairs
        self.threads.add(threading.current_thread().name)
        self.began.set()
        self.released.wait(10)
        return [self._score(prompt, output) for prompt, output in pairs]
