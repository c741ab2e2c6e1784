"""Answers requests, a JSON line each, with a store of mem0; mem0.py runs it in an environment of its own.

    python -P benchmarks/mem0_store.py STORE MODEL DIMENSION FOLDER PACKAGES

STORE is `faiss` or `qdrant`, MODEL the folder of a model of sentence-transformers. Everything is written in
FOLDER. PACKAGES is where PyTorch, sentence-transformers and FAISS are, so that both sides have the same ones;
packages of its own environment come first. It imports nothing of this project.

Requests are `{"load": [[user, id, text, row]...], "vectors": FILE}`, which gives the vector store what
`Memory.add` would without encoding it, `{"add": [[id, text]...], "user": USER}` and
`{"search": QUERY, "user": USER, "k": K}`. A reply has the seconds that mem0 took and, of a search, the
documents found. The first line that it prints has the versions of packages.
"""

import json
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import md5
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

COLLECTION = "documents"
LOADED = 50_000
"""Vectors of one call: they are lists of Python's numbers, and the FAISS store is written at its end."""
PACKAGES = ("mem0ai", "qdrant-client")


def memory_of(store: str, model: str, dimension: int, folder: Path) -> Any:
    """A mem0 Memory on an empty local store, with the store's cosine similarity. No LLM is ever called."""
    from mem0 import Memory  # type: ignore[import-not-found]

    options = {"collection_name": COLLECTION, "embedding_model_dims": dimension, "path": str(folder / store)}
    if store == "faiss":
        options["distance_strategy"] = "cosine"
    return Memory.from_config(
        {
            "embedder": {"provider": "huggingface", "config": {"model": model, "embedding_dims": dimension}},
            "vector_store": {"provider": store, "config": options},
            "llm": {"provider": "openai", "config": {"api_key": "never sent"}},
            "history_db_path": str(folder / "history.db"),
        }
    )


def replies(memory: Any, requests: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Answer each request. Memories are known by the ids of the documents that they were made of."""
    documents: dict[str, str] = {}
    for line in requests:
        request = json.loads(line)
        if "load" in request:
            yield {"seconds": _load(memory, request, documents)}
        elif "add" in request:
            messages = [{"role": "user", "content": text} for _, text in request["add"]]
            began = time.perf_counter()
            made = memory.add(messages, user_id=request["user"], infer=False)["results"]
            seconds = time.perf_counter() - began
            for (document_id, _), each in zip(request["add"], made, strict=True):
                documents[each["id"]] = document_id
            yield {"seconds": seconds}
        else:
            began = time.perf_counter()
            found = memory.search(
                request["search"], top_k=request["k"], filters={"user_id": request["user"]}, threshold=0.0
            )["results"]
            seconds = time.perf_counter() - began
            yield {"seconds": seconds, "found": [documents[each["id"]] for each in found]}


def _load(memory: Any, request: dict[str, Any], documents: dict[str, str]) -> float:
    """Insert memories with known vectors, with the payload of `Memory.add`."""
    import numpy as np

    vectors = np.load(request["vectors"])
    now = datetime.now(UTC).isoformat()
    ids, payloads = [], []
    for user, document_id, text, _ in request["load"]:
        ids.append(str(uuid4()))
        documents[ids[-1]] = document_id
        payload = {"user_id": user, "role": "user", "data": text, "text_lemmatized": text}
        payload |= {"hash": md5(text.encode()).hexdigest(), "created_at": now, "updated_at": now}
        payloads.append(payload)
    rows = [row for *_, row in request["load"]]
    began = time.perf_counter()
    for start in range(0, len(ids), LOADED):
        part = slice(start, start + LOADED)
        memory.vector_store.insert(vectors[rows[part]].tolist(), payloads[part], ids[part])
    return time.perf_counter() - began


if __name__ == "__main__":
    name, model, dimension, folder, packages = sys.argv[1:]
    sys.path.append(packages)
    # Only replies go to the standard output.
    replying, sys.stdout = sys.stdout, sys.stderr
    memory = memory_of(name, model, int(dimension), Path(folder))
    for reply in chain(
        [{"versions": {each: version(each) for each in PACKAGES}}], replies(memory, sys.stdin)
    ):
        print(json.dumps(reply), file=replying, flush=True)
