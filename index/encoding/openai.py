"""Encodes at a server with OpenAI's /v1/embeddings: vLLM, text-embeddings-inference (TEI), Ollama, OpenAI."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from index.encoding.encoders import EncoderManifest, Vectors
from index.encoding.options import EncoderOptions
from index.errors import EncoderUnavailable
from index.remote import Remote, RemoteFailure
from index.text.passages import PASSAGE_TOKENS

BATCH_TOKENS = 8_192
"""Tokens to encode at a time: all requests of a batch are sent at once."""
TEXTS = 32
"""Texts of one request, the most that TEI takes by default."""
CONNECTIONS = 4
"""Requests in progress at a time."""
_BYTES = 3
"""Bytes of UTF-8 that count as a token without a tokenizer, as most languages have more a token."""
_PROBE = "The quick brown fox jumps over the lazy dog. 敏捷的棕色狐狸跳过懒狗。"
_PROBED = 32
"""Components of the probe's vector that identify the model."""


class _Embedding(BaseModel, extra="ignore"):
    index: int | None = None
    embedding: list[float]


class _Reply(BaseModel, extra="ignore"):
    data: list[_Embedding]


class OpenAIEncoder:
    """The model `options.model` of a server. Its vectors are compared by the dot product, as they come.

    The manifest identifies it by its name and by the vector of a fixed text, not by the server's URL.
    Without a tokenizer, three bytes of UTF-8 count as a token, and the window has as many bytes as the model
    reads tokens: a tokenizer makes no more tokens than there are bytes. Longer queries lose their end.
    """

    batch_tokens = BATCH_TOKENS

    def __init__(
        self,
        options: EncoderOptions,
        passage_tokens: int = PASSAGE_TOKENS,
        remote: Callable[..., Remote] = Remote,
    ) -> None:
        """Raises EncoderUnavailable if the server cannot be used, or no server or model is named."""
        if options.base_url is None or not options.model:
            raise EncoderUnavailable(
                "the encoder openai needs a server and a model: set encoding.base_url and encoding.model"
            )
        self._options = options
        self._count = _tokenizer(options.tokenizer) if options.tokenizer else None
        key = options.api_key.get_secret_value() if options.api_key else None
        try:
            self._remote = remote(
                str(options.base_url), key, timeout_s=options.timeout_s, retries=options.retries
            )
        except RemoteFailure as error:
            raise EncoderUnavailable(f"encoding.api_key: {error}") from None
        self._threads = ThreadPoolExecutor(CONNECTIONS, "pr2-embeddings")
        prompts = {"query": options.query_prompt or "", "document": options.document_prompt or ""}
        probe = self._request([_PROBE])[0]
        length = float(np.linalg.norm(probe))
        self.manifest = EncoderManifest(
            name=options.model,
            weights_sha256="",
            pooling="the server's",
            normalized=abs(length - 1) < 1e-2,
            dimension=len(probe),
            window=self._window(max(prompts.values(), key=len)),
            passage_tokens=passage_tokens,
            query_prompt=prompts["query"],
            document_prompt=prompts["document"],
            probe=tuple(round(float(value), 4) for value in probe[:_PROBED] / length),
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        if self._count is not None:
            return [len(ends) for ends in self._count(list(texts))]
        return [-(-len(text.encode()) // _BYTES) for text in texts]

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        return self._encode(self.manifest.query_prompt, texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        return self._encode(self.manifest.document_prompt, texts)

    def _window(self, prompt: str) -> int:
        """Tokens, as they are counted here, beside a prompt and two special tokens."""
        own = 2 + (self.count_tokens([prompt])[0] if self._count is not None else len(prompt.encode()))
        left = self._options.window - own
        window = left if self._count is not None else left // _BYTES
        if window < 1:
            raise EncoderUnavailable("the prompts take the whole window: set encoding.window")
        return window

    def _encode(self, prompt: str, texts: Sequence[str]) -> Vectors:
        sent = [prompt + text for text in self._cut(texts)]
        parts = [sent[start : start + TEXTS] for start in range(0, len(sent), TEXTS)]
        vectors = np.empty((len(texts), self.manifest.dimension), np.float32)
        if vectors.size:
            vectors[:] = np.concatenate(list(map(self._of_width, self._threads.map(self._request, parts))))
        return vectors

    def _cut(self, texts: Sequence[str]) -> list[str]:
        window = self.manifest.window
        if self._count is None:
            return [text.encode()[: window * _BYTES].decode(errors="ignore") for text in texts]
        ends = self._count(list(texts))
        return [
            text if len(e) <= window else text[: e[window - 1]] for text, e in zip(texts, ends, strict=True)
        ]

    def _of_width(self, vectors: Vectors) -> Vectors:
        if vectors.shape[1] != self.manifest.dimension:
            raise self._bad(f"vectors of {vectors.shape[1]} dimensions, not {self.manifest.dimension}")
        return vectors

    def _request(self, texts: list[str]) -> Vectors:
        """Vectors of texts as they are, shape (texts, dimension). Raises EncoderUnavailable."""
        # Some servers refuse an empty text, and none says more of it than of white space.
        asked: dict[str, Any] = {"model": self._options.model, "input": [text or " " for text in texts]}
        if self._options.dimensions is not None:
            asked["dimensions"] = self._options.dimensions
        try:
            reply = _Reply.model_validate(self._remote.post("/embeddings", asked))
        except RemoteFailure as error:
            raise EncoderUnavailable(f"no vectors: {error}") from None
        except ValidationError:
            raise self._bad("no list of embeddings") from None
        order = [position if item.index is None else item.index for position, item in enumerate(reply.data)]
        if sorted(order) != list(range(len(texts))):
            raise self._bad(f"{len(order)} vectors for {len(texts)} texts, or their indices are wrong")
        if len({len(item.embedding) for item in reply.data}) != 1:
            raise self._bad("vectors of several dimensions")
        vectors = np.empty((len(texts), len(reply.data[0].embedding)), np.float32)
        vectors[order] = [item.embedding for item in reply.data]
        if not np.isfinite(vectors).all() or not vectors.any(axis=1).all():
            raise self._bad("a vector that is zero or not finite")
        expected = self._options.dimensions
        if expected is not None and vectors.shape[1] != expected:
            raise self._bad(f"vectors of {vectors.shape[1]} dimensions, not {expected} (encoding.dimensions)")
        return vectors

    def _bad(self, what: str) -> EncoderUnavailable:
        return EncoderUnavailable(f"the encoder {self._options.model} at {self._remote.address} sent {what}")


def _tokenizer(folder: str) -> Callable[[list[str]], list[list[int]]]:
    """Gives the end of each token in its text, in characters. Raises EncoderUnavailable."""
    from tokenizers import Tokenizer

    file = Path(folder) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # The library raises plain Exception.
        raise EncoderUnavailable(f"no tokenizer can be loaded from {file}: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def ends(texts: list[str]) -> list[list[int]]:
        found = tokenizer.encode_batch(texts, add_special_tokens=False)
        return [[end for _, end in one.offsets] for one in found]

    return ends
