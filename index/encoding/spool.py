"""A temporary queue on disk: embeddings wait there until all are ready to be written to the store."""

import pickle
import tempfile
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from index.errors import StoreUnavailable

_IN_MEMORY = 4 * 2**20
"""Bytes of one queue. Many imports may be in progress at once."""


class Spool:
    """A queue of picklable items, in memory while small and on disk when it grows.

    Iterating starts from the first item. Raises StoreUnavailable when the disk is full.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 closed by __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, item: Any) -> None:
        try:
            self._file.seek(0, 2)
            pickle.dump(item, self._file, pickle.HIGHEST_PROTOCOL)
        except OSError as error:
            raise StoreUnavailable(f"the disk cannot be used now: {error}") from error

    def clear(self) -> None:
        """Remove all items."""
        self._file.seek(0)
        self._file.truncate()

    def __iter__(self) -> Iterator[Any]:
        self._file.seek(0)
        while True:
            try:
                yield pickle.load(self._file)
            except EOFError:
                return
