"""Keeps verdicts on disk by content, so that nothing is judged and paid for twice.

They are in one SQLite file, which several processes can use at once and which survives a killed one.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from training.cachefile import CacheFile, content_key
from training.judging.judge import (
    JUDGE_PROMPT_VERSION,
    Judge,
    RubricAspect,
    RubricQuestion,
    Unjudged,
    is_score,
)

_TABLE = """
    CREATE TABLE IF NOT EXISTS verdicts (
        key TEXT PRIMARY KEY,
        judge TEXT NOT NULL,
        score INTEGER NOT NULL CHECK (score IN (0, 1, 2))
    ) WITHOUT ROWID
"""


def key_of(judge: str, question: RubricQuestion, aspect: RubricAspect, response: str) -> str:
    """sha256, in hex, of everything that a verdict depends on, including the prompt version."""
    content = {
        "judge": judge,
        "prompt": JUDGE_PROMPT_VERSION,
        "question": question.question,
        "narrative": question.narrative,
        "aspect": aspect.aspect,
        "reason": aspect.reason,
        "evidence": aspect.evidence,
        "response": response,
    }
    return content_key(content)


class VerdictCache(CacheFile):
    """The verdicts in the file at `path` (see CacheFile)."""

    def __init__(self, path: Path | str) -> None:
        """Raises CacheUnavailable."""
        super().__init__(path, _TABLE)

    def __len__(self) -> int:
        with self.cursor() as cursor:
            return int(cursor.execute("SELECT count(*) FROM verdicts").fetchone()[0])

    def get(self, key: str) -> int | None:
        """The score stored under `key`, or None. Raises CacheUnavailable."""
        with self.cursor() as cursor:
            row = cursor.execute("SELECT score FROM verdicts WHERE key = ?", (key,)).fetchone()
        return None if row is None else int(row[0])

    def put(self, key: str, judge: str, score: int) -> int:
        """Store a score, and return the stored one: another process may have been faster.

        Raises ValueError if it is not a score, and CacheUnavailable.
        """
        if not is_score(score):
            raise ValueError(f"{score!r} is no score")
        with self.cursor() as cursor:
            cursor.execute("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", (key, judge, score))
        kept = self.get(key)
        return score if kept is None else kept


@dataclass
class _Asking:
    task: asyncio.Task[int]
    waiting: int = 0


class CachedJudge:
    """Asks `judge` only for verdicts that are not in `cache`. Use it in one event loop.

    Equal concurrent requests are merged. Only scores are stored: an unjudged aspect is asked for again the
    next time. `aclose` closes the judge and the cache.
    """

    def __init__(self, judge: Judge, cache: VerdictCache) -> None:
        self._judge = judge
        self._cache = cache
        self._asking: dict[str, _Asking] = {}
        self.hits = 0
        """Requests that cost nothing: already in the cache, or in flight."""
        self.asked = 0
        """Requests that were passed on to the judge."""

    @property
    def name(self) -> str:
        """See Judge: the name of the wrapped judge."""
        return self._judge.name

    @property
    def comparable(self) -> bool:
        """See Judge."""
        return self._judge.comparable

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        """See Judge. Raises CacheUnavailable too."""
        key = key_of(self.name, question, aspect, response)
        asking = self._asking.get(key)
        if asking is None and (kept := self._cache.get(key)) is not None:
            self.hits += 1
            return kept
        if asking is None:
            self.asked += 1
            asking = self._asking[key] = _Asking(
                asyncio.create_task(self._ask(key, question, aspect, response))
            )
        else:
            self.hits += 1
        asking.waiting += 1
        try:
            # The first caller may be cancelled while others still wait.
            return await asyncio.shield(asking.task)
        finally:
            asking.waiting -= 1
            if not asking.waiting:
                asking.task.cancel()
                if self._asking.get(key) is asking:
                    del self._asking[key]

    async def aclose(self) -> None:
        """See Judge."""
        try:
            await self._judge.aclose()
        finally:
            self._cache.close()

    async def _ask(self, key: str, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        score = await self._judge.judge(question, aspect, response)
        if not is_score(score):
            raise Unjudged(f"{self.name} returned something that is no score")
        return self._cache.put(key, self.name, score)
