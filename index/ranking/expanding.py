"""An expander writes sentences that may answer a question, and a search looks for what is like them, too.

A question names an attribute ("appearance") where a text has an instance ("I'm 5'8"). The vector of a query
becomes the mean of its own and those of the sentences, as in HyDE (Gao et al. 2023); its words,
names and times stay its own. The search does not depend on it: sentences that come too late, or cannot be
used, leave the question alone, and that is counted.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from index.ranking.optional import within

if TYPE_CHECKING:
    from index.encoding.encoders import Vectors

SENTENCES = 4
"""The most sentences of an expander that are read."""
LONGEST = 300
"""The most characters of a sentence that are read."""
LIMIT_MS = 2_000
"""Longest wait for the sentences, by default."""

_log = logging.getLogger(__name__)


class ExpanderFailure(Exception):
    """There are no sentences; the message says why, without any text of the user's."""


class Expander(Protocol):
    """Writes what may answer a question. Called from one event loop."""

    @property
    def name(self) -> str: ...

    async def expand(self, question: str) -> Sequence[str]:
        """Sentences that may answer the question, most likely first; none if it has none to add.

        Raises ExpanderFailure.
        """
        ...

    async def aclose(self) -> None: ...


@dataclass
class Counts:
    """Queries since the start, without those to which nothing was added."""

    expanded: int = 0
    late: int = 0
    """Searched as they are because the time was over."""
    failed: int = 0
    """Searched as they are because the expander failed."""


class Expanding:
    """Expands queries, each within `limit_ms`."""

    def __init__(self, expander: Expander, limit_ms: int = LIMIT_MS) -> None:
        self.expander = expander
        self.counts = Counts()
        self._limit_s = limit_ms / 1000

    async def sentences(self, queries: Sequence[str]) -> list[tuple[str, ...]]:
        """The sentences of each query; none where the expander was late or failed."""
        return await asyncio.gather(*map(self._one, queries))

    async def _one(self, query: str) -> tuple[str, ...]:
        name, given = self.expander.name, self.expander.expand(query)
        sentences = await within(
            self._limit_s, given, ExpanderFailure, self.counts, log=_log, otherwise="not expanded", name=name
        )
        found = _usable(sentences or ())
        self.counts.expanded += bool(found)
        return found


def _usable(sentences: Iterable[str]) -> tuple[str, ...]:
    read = (" ".join(sentence[:LONGEST].split()) for sentence in sentences)
    return tuple(dict.fromkeys(filter(None, read)))[:SENTENCES]


def combined(query: "Vectors", sentences: "Vectors") -> "Vectors":
    """Return the mean direction of a query, shape (dimension,), and sentences, shape (sentences, dimension).

    Its length is the query's, so that scores keep their scale.
    """
    import numpy as np  # The settings import this module, and a command's help must not wait for it.

    mean = (query + sentences.sum(axis=0)) / (1 + len(sentences))
    length = float(np.linalg.norm(mean))
    if not length:
        return query
    combined: Vectors = (mean * (float(np.linalg.norm(query)) / length)).astype(np.float32)
    return combined
