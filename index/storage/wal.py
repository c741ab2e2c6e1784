"""Finds damage in SQLite's write-ahead log, which SQLite itself passes over without a word.

SQLite reads a log up to the first frame whose checksum is wrong, because a crash may leave such an end, and
overwrites the rest. A frame in the middle that went bad on the disk so takes every later transaction with it,
acknowledged as they were. The format is in https://sqlite.org/fileformat2.html#walformat.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_HEADER, _FRAME_HEADER = 32, 24
_MAGIC = {0x377F0682: "<u4", 0x377F0683: ">u4"}
"""Byte order of the words that checksums are made of."""
_VERSION = 3_007_000
_NATIVE = "<u4" if sys.byteorder == "little" else ">u4"
_CHUNK_BYTES = 4 * 2**20
_LARGEST_PAGE = 65_536

Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Examination:
    """Result of reading a log."""

    intact: int = 0
    """Frames that SQLite will read."""
    lost: int = 0
    """Transactions that were committed behind the damage. SQLite will drop them."""
    doubtful: bool = False
    """Whether the log ends in an unreadable commit: one that was interrupted, or else damaged."""


@dataclass(frozen=True)
class _Log:
    """Contents of the header. `salts` is None if it is garbled."""

    page_size: int
    order: str
    salts: tuple[int, int] | None
    seed: Words
    resets: int


def examine(database: Path) -> Examination:
    """Read the log of a database that may be in use. Raises OSError."""
    before = None
    # Reading a log while it is written may mix two states: only a result that comes twice is one.
    while (found := _examine(database)) != before and found.lost:
        before = found
    return found


def _examine(database: Path) -> Examination:
    try:
        with database.with_name(f"{database.name}-wal").open("rb") as file:
            header = file.read(_HEADER)
            log = _log(header, database)
            found = Examination() if log is None else _result(log, file)
            file.seek(0)
            # A reset overwrites the header first.
            return found if file.read(_HEADER) == header else Examination()
    except (FileNotFoundError, NotADirectoryError):  # SQLite reports the latter.
        return Examination()


def _log(header: bytes, database: Path) -> _Log | None:
    """Read the header. None if the log holds nothing: it was cut off while it was made."""
    if len(header) < _HEADER or not any(header):
        return None
    magic, version, page_size, resets, *salts, first, second = np.frombuffer(header, ">u4").tolist()
    seed = np.array([first, second], np.uint32)
    if magic in _MAGIC and version == _VERSION:
        order = _MAGIC[magic]
        words = np.frombuffer(header[:24], order).astype(np.uint32)
        if (_sums(words[None])[0] == seed).all():
            return _Log(page_size, order, (salts[0], salts[1]), seed, resets)
    order = _NATIVE  # The log was made on a machine like this one, if anything.
    with database.open("rb") as file:
        page_size = int.from_bytes(file.read(18)[16:], "big")
    return _Log(_LARGEST_PAGE if page_size == 1 else page_size, order, None, seed, 0)


def _result(log: _Log, file: BinaryIO) -> Examination:
    """Tell damage from what a crash leaves.

    A commit is acknowledged when the log is on the disk up to it, and only then anything follows. So of all
    frames behind the break, a loss of power leaves at most one commit, as the last one: its transaction was
    being written. A commit that others follow, or bytes that SQLite never wrote, are damage.
    """
    intact, lost = 0, 0
    broken = garbled = log.salts is None
    damaged, doubtful, before, last = False, garbled, garbled, False
    for ours, consistent, commits, foreign in _frames(log, file):
        sound, ended = ours & consistent, ours & commits
        run = 0 if broken else len(sound) if sound.all() else int(np.argmin(sound))
        intact += run
        broken = broken or run < len(sound)
        sound[:run], ended[:run] = False, False
        foreign[:run] = False
        earlier = np.logical_or.accumulate(np.concatenate([[before], ended | foreign]))
        follows = np.concatenate([[last], ended[:-1]])
        damaged = damaged or bool((sound & (follows | commits & earlier[:-1])).any())
        doubtful = doubtful or bool((foreign | ended).any())
        lost += int((sound & commits).sum())
        before, last = bool(earlier[-1]), bool(ended[-1])
    return Examination(intact, lost if damaged else 0, doubtful)


def _frames(log: _Log, file: BinaryIO) -> Iterator[tuple[NDArray[np.bool_], ...]]:
    """Yield four facts about some frames at a time, each an array of shape (frames,).

    The frame has the log's salts; it has the checksum of its contents and the frame before; it ends a
    transaction; it has salts of no use of the log, so that SQLite did not write it.
    """
    size = _FRAME_HEADER + log.page_size
    if not 512 <= log.page_size <= _LARGEST_PAGE or log.page_size % 8:
        return
    seed = log.seed
    while chunk := file.read(max(_CHUNK_BYTES // size, 1) * size):
        count = len(chunk) // size
        raw = np.frombuffer(chunk[: count * size], np.uint8).reshape(count, size)
        if not count:
            return
        heads = np.ascontiguousarray(raw[:, :_FRAME_HEADER]).view(">u4").astype(np.uint32)
        covered = np.ascontiguousarray(np.concatenate([raw[:, :8], raw[:, _FRAME_HEADER:]], axis=1))
        stored = heads[:, 4:6]
        before = np.concatenate([seed[None], stored[:-1]])
        consistent = (_sums(covered.view(log.order).astype(np.uint32), before) == stored).all(axis=1)
        if log.salts is None:
            ours = np.ones(count, np.bool_)
            foreign = ~ours
        else:
            first, second = log.salts
            ours = (heads[:, 2] == first) & (heads[:, 3] == second)
            # Each reset adds one to the first salt and draws the second one.
            age = np.uint32(first) - heads[:, 2]
            foreign = ~ours & ((age == 0) | (age > log.resets)) & heads.any(axis=1)
        yield ours, consistent, heads[:, 1] > 0, foreign
        seed = stored[-1]


def _sums(words: Words, before: Words | None = None) -> Words:
    """Checksums, shape (rows, 2), of rows of words, continued from the checksums `before`.

    SQLite adds s0 += x0 + s1, s1 += x1 + s0 for each pair of words, modulo 2**32. This is linear, so that a
    checksum is a weighted sum of the words and the checksum before.
    """
    weights, carried = _weights(words.shape[1])
    with np.errstate(over="ignore"):
        sums = np.stack([(words * weight).sum(axis=1, dtype=np.uint32) for weight in weights], axis=1)
        return (
            sums if before is None else sums + (before[:, None] * carried[None]).sum(axis=2, dtype=np.uint32)
        )


@lru_cache(maxsize=4)
def _weights(count: int) -> tuple[Words, Words]:
    """Weights of `count` words, shape (2, count), and of the two sums before them, shape (2, 2)."""
    columns: list[tuple[int, int]] = []
    a, b, c, d = 1, 0, 0, 1  # [[1, 1], [1, 2]] to the power of the pairs that follow.
    for _ in range(count // 2):
        columns += [(b, d), ((a + b) % 2**32, (c + d) % 2**32)]
        a, b, c, d = (a + b) % 2**32, (a + 2 * b) % 2**32, (c + d) % 2**32, (c + 2 * d) % 2**32
    return np.array(columns[::-1], np.uint32).T, np.array([[a, b], [c, d]], np.uint32)
