"""Runs a sentence-transformers model with gradients: the vectors that `index.encoding` computes without."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from index.encoding.encoders import EncoderManifest, batches, estimated_tokens
from training.retriever.questions import Batch

_TOKENS = 8_192
"""Tokens of a forward pass, padding included: texts of similar length are encoded together."""


def scores(model: Any, manifest: EncoderManifest, batch: Batch) -> Tensor:
    """Dot products of queries and documents, shape (questions, longest); meaningless where masked."""
    queries = embed(model, "query", batch.queries, manifest.query_prompt, manifest.window)
    documents = embed(model, "document", batch.documents, manifest.document_prompt, manifest.window)
    return torch.einsum("qd,qld->ql", queries, documents[batch.places])


def embed(model: Any, task: str, texts: Sequence[str], prompt: str, window: int) -> Tensor:
    """Encode texts, each different one once: vectors of shape (texts, dimension).

    `task` is "query" or "document", which models with a part for each tell apart.
    """
    different = list(dict.fromkeys(texts))
    lengths = [estimated_tokens(text, window) for text in different]
    order: list[int] = []
    parts = []
    for positions in batches(lengths, _TOKENS):
        features = model.preprocess([different[i] for i in positions], prompt=prompt or None, task=task)
        on_device = {
            name: value.to(model.device) if isinstance(value, Tensor) else value
            for name, value in features.items()
        }
        parts.append(model(on_device, task=task)["sentence_embedding"])
        order += positions
    places = {different[position]: row for row, position in enumerate(order)}
    return torch.cat(parts)[[places[text] for text in texts]]
