"""Keeps what the LLM made of each prompt by its content, so that feedback is computed and paid for once.

Runs share the file: with more documents or another first ranking, only new prompts cost anything.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.cachefile import CacheFile, content_key

_TABLE = """
    CREATE TABLE IF NOT EXISTS outputs (key TEXT PRIMARY KEY, output TEXT NOT NULL) WITHOUT ROWID
"""


@dataclass(frozen=True)
class Output:
    """An LLM's output for one prompt, and its cost."""

    text: str
    utility: float | None = None
    """The metric's value, where it is computed with the output."""
    prompt_tokens: int = 0
    written_tokens: int = 0


@dataclass
class Spent:
    """The cost of a session so far. What was kept from before costs nothing."""

    calls: int = 0
    kept: int = 0
    """Calls that were not needed."""
    prompt_tokens: int = 0
    written_tokens: int = 0


class Outputs(CacheFile):
    """The outputs in the file at `path` (see CacheFile)."""

    def __init__(self, path: Path | str) -> None:
        """Raises CacheUnavailable."""
        super().__init__(path, _TABLE)
        self.spent = Spent()

    async def output(self, content: Mapping[str, Any], call: Callable[[], Awaitable[Output]]) -> Output:
        """The output that is kept for `content`, or else that of `call`, which is then kept.

        `content` is all that the output depends on: model, decoding, prompt, metric. Raises CacheUnavailable,
        and what `call` raises; then nothing is kept.
        """
        key = content_key(content)
        with self.cursor() as cursor:
            row = cursor.execute("SELECT output FROM outputs WHERE key = ?", (key,)).fetchone()
        if row is not None:
            self.spent.kept += 1
            return Output(**json.loads(row[0]))
        output = await call()
        with self.cursor() as cursor:
            cursor.execute("INSERT OR IGNORE INTO outputs VALUES (?, ?)", (key, json.dumps(vars(output))))
        self.spent.calls += 1
        self.spent.prompt_tokens += output.prompt_tokens
        self.spent.written_tokens += output.written_tokens
        return output
