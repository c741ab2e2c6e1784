"""A fast, deterministic encoder for tests that records its calls."""

import re
import threading
import zlib
from collections.abc import Sequence

import numpy as np

from index.encoding.encoders import EncoderManifest, Vectors

_TOKEN = re.compile(r"\w+|[^\w\s]")


class HashEncoder:
    """Sums a pseudo-random vector for each word. Records the texts of each call."""

    batch_tokens = 2_048

    def __init__(
        self, name: str = "hash", dimension: int = 16, window: int = 64, passage_tokens: int = 128
    ) -> None:
        self.manifest = EncoderManifest(name, "0" * 64, "sum", False, dimension, window, passage_tokens)
        self.calls: list[list[str]] = []
        self.error: Exception | None = None
        self.hold: threading.Event | None = None
        self.entered = threading.Event()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_TOKEN.findall(text)) for text in texts]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self.encode_documents(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        self.calls.append(list(texts))
        self.entered.set()
        if self.hold is not None:
            self.hold.wait(60)
        if self.error is not None:
            raise self.error
        vectors = np.zeros((len(texts), self.manifest.dimension), np.float32)
        for row, text in enumerate(texts):
            for token in _TOKEN.findall(text.lower()):
                seed = zlib.crc32(token.encode())
                vectors[row] += np.random.default_rng(seed).normal(size=self.manifest.dimension)
        return vectors


class Counting:
    """Records its batches; the vector of a text is its length.

    It stops at a closed door with every batch or, if `stops_at` is set, with those that have such a text.
    """

    manifest = EncoderManifest("counting", "0" * 64, "none", False, 1, 254)
    batch_tokens = 512

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.kinds: list[str] = []
        self.door = threading.Event()
        self.door.set()
        self.stops_at: set[str] = set()
        self.entered = threading.Event()
        self.refused: dict[str, BaseException] = {}

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) // 4 for text in texts]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encode("queries", texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return self._encode("documents", texts)

    def _encode(self, kind: str, texts: Sequence[str]) -> Vectors:
        self.batches.append(list(texts))
        self.kinds.append(kind)
        self.entered.set()
        if not self.stops_at or self.stops_at.intersection(texts):
            assert self.door.wait(60)
        for text in texts:
            if text in self.refused:
                raise self.refused[text]
        return np.array([[len(text)] for text in texts], np.float32)
