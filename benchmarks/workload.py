"""Times ingest, search and answers in whatever source tree it is run in; revisions.py runs it in two.

    python -P benchmarks/workload.py HISTORY VECTORS

It imports only what earlier revisions have as well, under either of its names. Vectors of documents come from
a file, so that only the first documents are encoded here. Prints seconds of processor time as JSON.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.locomo import read_by_policy
from index.documents import Document
from index.profiles import Profiles

try:
    from index.encoding.encoders import load_encoder
    from index.storage.store import Store
except ImportError:
    from index.encoders import load_encoder  # type: ignore[import-not-found, no-redef]
    from index.store import Store  # type: ignore[import-not-found, no-redef]

USER = "somebody"
K = 10
READ = 20
"""Documents that an answer may read."""


class KnownVectors:
    """An encoder that looks up the vectors of known texts and encodes the rest."""

    def __init__(self, encoder: Any, known: Any) -> None:
        self._encoder = encoder
        self._known = dict(zip(known["texts"].tolist(), known["vectors"], strict=True))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def _looked_up(self, encode: Callable[..., Any], texts: Sequence[str], *rest: Any, **named: Any) -> Any:
        texts = list(texts)
        new = [text for text in texts if text not in self._known]
        encoded = iter(encode(new, *rest, **named) if new else ())
        found = [self._known[text] if text in self._known else next(encoded) for text in texts]
        return np.array(found, np.float32).reshape(len(texts), self._encoder.manifest.dimension)

    def encode(self, texts: Sequence[str], *rest: Any, **named: Any) -> Any:
        return self._looked_up(self._encoder.encode, texts, *rest, **named)

    def encode_documents(self, texts: Sequence[str], *rest: Any, **named: Any) -> Any:
        return self._looked_up(self._encoder.encode_documents, texts, *rest, **named)


def seconds(work: Callable[[], Any]) -> float:
    """Processor time of all threads."""
    began = time.process_time()
    work()
    return time.process_time() - began


def run(history: dict[str, Any], known: Any, folder: Path) -> dict[str, float]:
    """Seconds for each document or question."""
    encoder = load_encoder("minilm")
    encode_queries = getattr(encoder, "encode_queries", None) or encoder.encode  # type: ignore[attr-defined]
    encode_queries(["The first call loads what later ones use."])
    documents = [Document.model_validate(one) for one in history["documents"]]
    questions: list[str] = history["questions"]

    few = documents[: history["encoded"]]
    fresh = Profiles(Store(f"sqlite:///{folder}/fresh.db", encoder.manifest), encoder)
    ingest = seconds(lambda: fresh.put(USER, few)) / len(few)

    stub: Any = KnownVectors(encoder, known)
    profiles = Profiles(Store(f"sqlite:///{folder}/all.db", encoder.manifest), stub)
    around = seconds(lambda: profiles.put(USER, documents)) / len(documents)
    vectors = [encode_queries([question]) for question in questions]
    profiles.search(USER, questions[:1], K, vectors=vectors[0])

    def search() -> None:
        for question, vector in zip(questions, vectors, strict=True):
            profiles.search(USER, [question], K, vectors=vector)

    def answer() -> None:
        assert all(found.answer for found in read_by_policy(profiles, USER, questions, READ))

    return {
        "ingest": ingest,
        "ingest without encoding": around,
        "search without encoding": seconds(search) / len(questions),
        "answer": seconds(answer) / len(questions),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        asked = json.loads(Path(sys.argv[1]).read_text("utf-8"))
        print(json.dumps(run(asked, np.load(sys.argv[2]), Path(scratch))))
