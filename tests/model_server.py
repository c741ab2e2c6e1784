"""A server of vectors and scores on 127.0.0.1, which answers or misbehaves as scripted."""

import json
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.engine import Engine, Reply, Request

WIDTH = 8


class ModelServer(Engine):
    """Passes every request to the script. See Engine."""

    def _reply(self, request: Request) -> Reply:
        return self._script(request)


def says(value: Any) -> Reply:
    return Reply((json.dumps(value).encode(),), content_type="application/json")


def vector(text: str, width: int = WIDTH) -> list[float]:
    """A normalized vector that depends on the words of the text."""
    total = np.zeros(width)
    for word in text.split() or [""]:
        total += np.random.default_rng(zlib.crc32(word.encode())).normal(size=width)
    return [float(value) for value in total / np.linalg.norm(total)]


def embeds(request: Request, *, width: int = WIDTH) -> Reply:
    """The vectors of the texts, the last one first."""
    found = [
        {"object": "embedding", "index": index, "embedding": vector(text, width)}
        for index, text in enumerate(request.json["input"])
    ]
    return says({"object": "list", "data": found[::-1], "model": request.json["model"], "usage": {}})


def shared_words(query: str, text: str) -> float:
    return len(set(query.lower().split()) & set(text.lower().split())) / 8


def cohere(score: Callable[[str, str], float]) -> Callable[[Request], Reply]:
    """Scores in the form of Cohere and vLLM, best first."""

    def script(request: Request) -> Reply:
        body = request.json
        ranked = _ranked([score(body["query"], text) for text in body["documents"]])
        results = [
            {"index": index, "document": {"text": body["documents"][index]}, "relevance_score": value}
            for index, value in ranked
        ]
        return says({"id": "rerank-1", "results": results})

    return script


def tei(score: Callable[[str, str], float]) -> Callable[[Request], Reply]:
    """Scores in the form of text-embeddings-inference, best first."""

    def script(request: Request) -> Reply:
        body = request.json
        ranked = _ranked([score(body["query"], text) for text in body["texts"]])
        return says([{"index": index, "score": value} for index, value in ranked])

    return script


def _ranked(scores: Sequence[float]) -> list[tuple[int, float]]:
    return sorted(enumerate(scores), key=lambda pair: -pair[1])
