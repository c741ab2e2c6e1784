"""Stores of many users with random vectors, filled in bulk, for benchmarks of the number of users."""

import hashlib
import random
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert

from index.documents import Document
from index.encoding.encoders import EncoderManifest, Vectors
from index.storage import schema
from index.storage.digests import digest
from index.storage.rows import row_of
from index.storage.store import Store
from index.storage.vectors import to_bytes
from server import demo

DIMENSION = 384
"""That of the default encoder."""
_AT_ONCE = 200
"""Users of a transaction."""


class RandomEncoder:
    """A random vector of length 1 for each text, always the same, in some 10 µs."""

    batch_tokens = 2_048
    manifest = EncoderManifest("random", "none", "none", True, DIMENSION, 256)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        seeds = (int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest()) for text in texts)
        return np.array([_unit(np.random.default_rng(seed))[0] for seed in seeds], np.float32)


def fill(store: Store, users: Sequence[str], documents: int, seed: int = 0) -> None:
    """Store so many documents of one to four sentences for each user, one passage each.

    The rows are those that Store.put writes; many users share a transaction.
    """
    store.open()
    chance, vectors = random.Random(seed), np.random.default_rng(seed)
    for some in _parts(users):
        rows: dict[Any, list[dict[str, Any]]] = {schema.users: [], schema.documents: [], schema.passages: []}
        for user in some:
            rows[schema.users].append(schema.owner(user) | {"version": 1, "next_position": documents})
            for position, vector in enumerate(_unit(vectors, documents)):
                document = Document(id=f"d{position}", text=" ".join(_sentences(chance)))
                row = row_of(user, position, document)
                part = (0, len(document.text), to_bytes(vector))
                rows[schema.documents].append(row | {"digest": digest(row, [part])})
                rows[schema.passages].append(
                    schema.owner(user)
                    | dict(zip(("position", "start", "end", "vector"), (position, *part), strict=True))
                )
        with store.database.write() as connection:
            for table, own in rows.items():
                connection.execute(insert(table), own)


def _parts(users: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(users), _AT_ONCE):
        yield users[first : first + _AT_ONCE]


def _sentences(chance: random.Random) -> list[str]:
    return chance.choices(_pool(), k=chance.randint(1, 4))


@cache
def _pool() -> list[str]:
    """Sentences of the demo people."""
    return [
        f"{sentence.rstrip('.')}."
        for user in demo.users()
        for document in demo.documents(user)
        for sentence in document.text.split(". ")
    ]


def _unit(chance: np.random.Generator, count: int = 1) -> NDArray[np.float16]:
    """Random vectors of length 1, shape (count, DIMENSION)."""
    found = chance.standard_normal((count, DIMENSION), np.float32)
    unit: NDArray[np.float16] = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)
    return unit


class Zipf:
    """Draws users, the one at rank r with a probability proportional to 1/r."""

    def __init__(self, users: Sequence[str], seed: int = 0) -> None:
        self._chance = np.random.default_rng(seed)
        # Popular users do not lie side by side in the database.
        self._ranked = self._chance.permutation(np.array(users, object))
        shares = np.cumsum(1 / np.arange(1, len(users) + 1))
        self._shares = shares / shares[-1]

    def draw(self) -> str:
        return str(self._ranked[np.searchsorted(self._shares, self._chance.random(), side="right")])
