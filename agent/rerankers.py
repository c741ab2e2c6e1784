"""The registry of rerankers: a cross-encoder in this process, or a server in one of the known forms."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from agent.crossencoder import CrossEncoderUnavailable, inputs_of, load_crossencoder, longest_input, scored
from index.ranking.rerank_servers import SERVERS
from index.ranking.reranking import LIMIT_MS, Reranker, RerankerFailure
from index.remote import Remote, RemoteFailure

_LONGEST = 512
"""Tokens of a query and a passage together: passages have at most 128 of the encoder's, and time counts."""
_AT_A_TIME = 8
"""Passages between two looks at the clock."""


class RerankerUnavailable(Exception):
    """The reranker cannot be used; the message says why."""


@dataclass(frozen=True)
class RerankerOptions:
    """Options of a reranker, beside its specification."""

    model: str = ""
    """The model's name, for servers with several."""
    api_key: str | None = field(default=None, repr=False)
    limit_ms: int = LIMIT_MS
    """Longest wait for the scores of a query."""


class CrossEncoderReranker:
    """A sequence classifier of transformers with one output, such as a CrossEncoder that was saved.

    A query takes at most half of the input; a passage that is too long loses its end.
    """

    calls = 1

    def __init__(self, model: Any, tokenizer: Any, name: str) -> None:
        """Raises CrossEncoderUnavailable."""
        self.name = name
        self._model = model.eval()
        self._inputs = inputs_of(model, tokenizer, min(_LONGEST, longest_input(model, tokenizer)))
        self._lock = threading.Lock()

    def scores(self, query: str, texts: Sequence[str], deadline: float) -> list[float]:
        """See Reranker. It ends soon after the deadline."""
        room = self._inputs.room_for_two
        read = self._inputs.tokens(query)[: room // 2]
        rows = [self._inputs.join(read, self._inputs.tokens(text)[: room - len(read)]) for text in texts]
        found: list[float] = []
        for start in range(0, len(rows), _AT_A_TIME):
            with self._lock:
                if time.monotonic() > deadline:
                    raise RerankerFailure(f"{self.name} was too slow")
                try:
                    found += scored(self._model, self._inputs, rows[start : start + _AT_A_TIME])
                except RuntimeError as error:  # PyTorch's, such as of a GPU without memory.
                    raise RerankerFailure(f"{self.name}: {type(error).__name__}") from error
        return found


Load = Callable[[str, RerankerOptions], Reranker]

RERANKERS: dict[str, Load] = {}
"""Rerankers by the name before the colon; any other specification is the folder of a cross-encoder."""


def register(name: str, load: Load) -> None:
    """Add a kind of reranker. Raises ValueError if the name is taken."""
    if name in RERANKERS:
        raise ValueError(f"there is already a reranker {name!r}")
    RERANKERS[name] = load


def load_reranker(spec: str, options: RerankerOptions | None = None) -> Reranker:
    """Load a reranker: `cohere:URL` or `tei:URL`, or the folder of a cross-encoder.

    Raises RerankerUnavailable.
    """
    name, _, argument = spec.partition(":")
    load = RERANKERS.get(name)
    options = options or RerankerOptions()
    return load(argument, options) if load else _load_folder(spec, options)


def _load_folder(folder: str, options: RerankerOptions) -> CrossEncoderReranker:
    if not Path(folder).is_dir():
        known = ", ".join(f"{name}:URL" for name in RERANKERS)
        raise RerankerUnavailable(f"the reranker {folder} is neither a folder nor one of {known}")
    try:
        return CrossEncoderReranker(*load_crossencoder(Path(folder)), Path(folder).name)
    except CrossEncoderUnavailable as error:
        raise RerankerUnavailable(str(error)) from None


def _load_server(form: str, url: str, options: RerankerOptions) -> Reranker:
    if not url.startswith(("http://", "https://")):
        raise RerankerUnavailable(f"the reranker {form} takes {form}:URL, not {url!r}")
    try:
        remote = Remote(url, options.api_key, timeout_s=options.limit_ms / 1000)
    except RemoteFailure as error:
        raise RerankerUnavailable(f"rerank_api_key: {error}") from None
    return SERVERS[form](remote, options.model)


for form in SERVERS:
    register(form, partial(_load_server, form))
