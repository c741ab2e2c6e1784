"""Encoders convert text to vectors. Each has a manifest, so that a store can refuse any other encoder."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from index.encoding.backends import run_by
from index.encoding.options import TORCH, EncoderOptions
from index.errors import EncoderUnavailable, InvalidName
from index.text.passages import PASSAGE_TOKENS

Vectors = NDArray[np.float32]

CPU_BATCH = 256
"""Tokens per batch on a CPU. Everybody waits for the batch in progress: 256 tokens of MiniLM take 0.1 s on
one core, and a token costs about a tenth less in batches of 1,024."""
_UNBOUNDED = 2**31 - 1
"""Passage tokens that leave only the window as a bound."""
GPU_BATCH = 8_192
"""Tokens per batch on an accelerator, where small batches leave most of it idle: about as many as an import
gives at a time (MOST_CHARACTERS in embedding.py). With the 110 million parameters of Contriever they take
about 2 TFLOP, a tenth of a second at 20 TFLOP/s."""
_OPTIONAL = ("query_prompt", "document_prompt", "backend", "probe")
_TOLERANCE = 0.1
"""Relative distance of two probes of one model: their cosine is .995. float16 and bfloat16 give more."""


@dataclass(frozen=True)
class EncoderManifest:
    """Identifies an encoder: two encoders whose manifests match give equal vectors."""

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
    backend: str = field(default="", compare=False)
    """Backend that made the vectors, if not PyTorch in float32. Those of all backends can be compared."""
    probe: Sequence[float] = field(default=(), compare=False)
    """Part of the normalized vector of a fixed text, for an encoder whose weights are elsewhere."""

    def matches(self, other: "EncoderManifest") -> bool:
        """Whether the other's vectors can be compared with these: equal manifests and, within the precision
        in which servers compute, equal probes."""
        if self != other or len(self.probe) != len(other.probe):
            return False
        own = np.asarray(self.probe)
        return bool(np.linalg.norm(own - other.probe) <= _TOLERANCE * np.linalg.norm(own))

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON values. Empty optional ones are left out: older stores have no such keys."""
        values = asdict(self)
        return {key: value for key, value in values.items() if value or key not in _OPTIONAL}

    def __str__(self) -> str:
        normalized = "normalized" if self.normalized else "not normalized"
        prompts = [repr(prompt) for prompt in (self.query_prompt, self.document_prompt) if prompt]
        return (
            f"{self.name} ({self.dimension} dimensions, {self.pooling} pooling, {normalized}, "
            f"passages of {min(self.passage_tokens, self.window)} tokens, "
            f"{f'weights {self.weights_sha256[:12]}' if self.weights_sha256 else 'at a server'}"
            f"{', prompts ' + ' and '.join(prompts) if prompts else ''}"
            f"{f', by {self.backend}' if self.backend else ''})"
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
    """Wraps any model that sentence-transformers can load, from a folder or by its hub name.

    Gives the vectors of its `encode_query` and `encode_document`, unless `options` has other prompts. Raises
    EncoderUnavailable if the backend of `options` cannot be used.
    """

    def __init__(
        self,
        model: Any,
        name: str,
        weights_sha256: str,
        passage_tokens: int = PASSAGE_TOKENS,
        options: EncoderOptions | None = None,
    ) -> None:
        self.model = model
        """The sentence-transformers model itself, for training."""
        # The forward pass is thread-safe; the fast tokenizer's padding state is not.
        self._lock = threading.Lock()
        # A copy that only counts: it never changes that state, so it needs no lock once it has been used.
        self._counter = copy.deepcopy(model.tokenizer)
        self.count_tokens(["warm up"])
        self.batch_tokens = CPU_BATCH if model.device.type == "cpu" else GPU_BATCH
        kinds = [type(module).__name__ for module in model]
        pooling = next((m for m in model if type(m).__name__ == "Pooling"), None)
        options = options or EncoderOptions()
        if options.backend != TORCH:
            run_by(options.backend, model)
        query_prompt, document_prompt = options.query_prompt, options.document_prompt
        if query_prompt is None:
            query_prompt = _prompt(model, "query")
        if document_prompt is None:
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
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            backend="" if options.backend == TORCH else options.backend,
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
                vectors[batch] = self.model.encode(
                    [texts[i] for i in batch],
                    # Also an empty one: None would select the default prompt, which neither encode_query
                    # nor encode_document falls back to.
                    prompt=prompt,
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


class Load(Protocol):
    """Loads one kind of encoder. `argument` is what follows the name and a colon in the specification."""

    def __call__(
        self, argument: str, passage_tokens: int, options: EncoderOptions, device: str | None
    ) -> Encoder: ...


ENCODERS: dict[str, Load] = {}
"""The encoders that have a name; any other specification is the path of a sentence-transformers model."""


def register(name: str, load: Load) -> None:
    """Add a kind of encoder. Raises InvalidName if the name is taken."""
    if name in ENCODERS:
        raise InvalidName(f"there is already an encoder {name!r}")
    ENCODERS[name] = load


def load_encoder(
    spec: str = "minilm",
    passage_tokens: int = PASSAGE_TOKENS,
    *,
    options: EncoderOptions | None = None,
    device: str | None = None,
) -> Encoder:
    """Load an encoder: `NAME` or `NAME:ARGUMENT` of ENCODERS, or any sentence-transformers path.

    Its manifest asks for documents to be split into passages of at most `passage_tokens`. Raises
    EncoderUnavailable if the weights are missing or are not the expected ones, or a server cannot be used.
    """
    name, _, argument = spec.partition(":")
    load = ENCODERS.get(name)
    if load is None:
        load, argument = _load_path, spec
    return load(argument, passage_tokens, options or EncoderOptions(), device)


def load_space(spec: str, *, device: str | None = None) -> Encoder:
    """Load the encoder of a further space: `load_encoder` for passages that the store's own encoder splits.

    Whatever fits its window is encoded. Raises EncoderUnavailable.
    """
    return load_encoder(spec, _UNBOUNDED, device=device)


def load_trainable(spec: str = "minilm", *, device: str | None = None) -> SentenceTransformerEncoder:
    """Load an encoder that can be trained. Raises EncoderUnavailable, also for one that runs elsewhere."""
    encoder = load_encoder(spec, device=device)
    if not isinstance(encoder, SentenceTransformerEncoder):
        raise EncoderUnavailable(f"the encoder {spec} cannot be trained: it is not in this process")
    return encoder


# Kinds import what they need when they are loaded, so that listing their names stays fast.
def _minilm(device: str | None) -> tuple[Any, str]:
    from index.encoding.models import load_minilm

    return load_minilm(device)


def _multilingual(device: str | None) -> tuple[Any, str]:
    from index.encoding.multilingual import load_multilingual

    return load_multilingual(device)


def _packaged(name: str, load_model: Callable[[str | None], tuple[Any, str]]) -> Load:
    """Loads an encoder whose model and hash of weights `load_model` gives for a device."""

    def load(
        argument: str, passage_tokens: int, options: EncoderOptions, device: str | None
    ) -> SentenceTransformerEncoder:
        if argument:
            raise EncoderUnavailable(f"the encoder {name} takes no argument, such as {argument!r}")
        model, weights = load_model(device)
        return SentenceTransformerEncoder(model, name, weights, passage_tokens, options)

    return load


def _load_contriever(
    argument: str, passage_tokens: int, options: EncoderOptions, device: str | None
) -> SentenceTransformerEncoder:
    from index.encoding.models import load_contriever, weights_of

    path = argument or "facebook/contriever-msmarco"
    model = load_contriever(path, device)
    return SentenceTransformerEncoder(model, "contriever", weights_of(path), passage_tokens, options)


def _load_openai(argument: str, passage_tokens: int, options: EncoderOptions, device: str | None) -> Encoder:
    from index.encoding.openai import OpenAIEncoder

    named = options.model_copy(update={"model": argument}) if argument else options
    return OpenAIEncoder(named, passage_tokens)


def _load_path(
    argument: str, passage_tokens: int, options: EncoderOptions, device: str | None
) -> SentenceTransformerEncoder:
    from index.encoding.models import load_model, weights_of

    model = load_model(argument, device)
    return SentenceTransformerEncoder(
        model, Path(argument).name, weights_of(argument), passage_tokens, options
    )


register("minilm", _packaged("minilm", _minilm))
register("multilingual", _packaged("multilingual", _multilingual))
register("contriever", _load_contriever)
register("openai", _load_openai)
