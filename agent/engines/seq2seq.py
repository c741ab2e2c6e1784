"""Sequence-to-sequence models, such as T5, run by transformers in this process: LaMP's published engine.

One thread runs the model; calls that arrive meanwhile form the next batches. It is an engine of its own
because vLLM has no such models.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from agent.engines.errors import EngineError
from agent.engines.text import Decoding, FileTokens
from agent.engines.weights import fingerprint
from index.batching import Batcher

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
Ids = list[int]

BATCH = "batch_size"
"""The one engine argument that is ours: the most prompts in a batch. All others are transformers'."""
DEFAULT_BATCH = 16
_UNLIMITED = 10**6
"""Tokenizers without a limit report a number beyond this."""
_IGNORED = -100
"""The label of padding (transformers)."""


class Seq2SeqText:
    """A TextModel (see there) of `model`: a folder, or a name on the Hugging Face hub.

    `context` is the most tokens of a prompt without special ones; by default, the tokenizer says. `arguments`
    are those of transformers' `from_pretrained`, such as dtype or device_map, and `batch_size`. It runs on
    the first GPU, if there is one.
    """

    def __init__(
        self,
        model: str,
        decoding: Decoding,
        context: int | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self._name = model
        self._decoding = decoding
        self._context = context
        self._arguments = {name: value for name, value in (arguments or {}).items() if name != BATCH}
        self._batch = int((arguments or {}).get(BATCH, DEFAULT_BATCH))
        self._tokens = FileTokens(model)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="seq2seq")
        self._texts = Batcher(self._written)
        self._scores = Batcher(self._scored)

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """See TextModel."""
        return {
            "engine": "seq2seq",
            "model": self._name,
            "weights": fingerprint(self._name),
            "decoding": self._decoding.to_dict(),
            "arguments": self._arguments,
        }

    def count(self, text: str) -> int:
        """See Tokens."""
        return self._tokens.count(text)

    def cut(self, text: str, tokens: int) -> str:
        """See Tokens."""
        return self._tokens.cut(text, tokens)

    async def generate(self, prompt: str) -> str:
        """See TextModel."""
        return await self._texts(prompt)

    async def likelihood(self, prompt: str, target: str) -> float:
        """See TextModel. By teacher forcing."""
        return await self._scores((prompt, target))

    async def aclose(self) -> None:
        """Wait for the batch in progress, and free the model."""
        await asyncio.to_thread(self._thread.shutdown, cancel_futures=True)
        self.__dict__.pop("_model", None)

    async def _written(self, prompts: Sequence[str]) -> Sequence[str | Exception]:
        return await self._in_thread(partial(self._in_batches, prompts, self._prompt_ids, self._write))

    async def _scored(self, pairs: Sequence[tuple[str, str]]) -> Sequence[float | Exception]:
        return await self._in_thread(partial(self._in_batches, pairs, self._pair_ids, self._score))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _in_batches(
        self,
        items: Sequence[Any],
        encode: Callable[[Any], tuple[Ids, Ids]],
        work: Callable[[Sequence[tuple[Ids, Ids]]], Sequence[T]],
    ) -> list[T | Exception]:
        """The result of each item. Items of about one length share a batch, so that little is padding.

        Raises EngineError if there is no model.
        """
        _ = self._model
        results: dict[int, T | Exception] = {}
        encoded: dict[int, tuple[Ids, Ids]] = {}
        for number, item in enumerate(items):
            try:
                encoded[number] = encode(item)
            except EngineError as error:
                results[number] = error
        order = sorted(encoded, key=lambda number: len(encoded[number][0]))
        for start in range(0, len(order), self._batch):
            batch = order[start : start + self._batch]
            try:
                results |= zip(batch, work([encoded[number] for number in batch]), strict=True)
            except (RuntimeError, IndexError, ValueError) as error:
                # Out of memory, or a model that does not take its own tokenizer's ids.
                failure = EngineError("unavailable", f"{self._name} failed: {error}")
                results |= dict.fromkeys(batch, failure)
        return [results[number] for number in range(len(items))]

    def _prompt_ids(self, prompt: str) -> tuple[Ids, Ids]:
        ids, limit, special = self._encode(prompt), self._limit, self._special
        if limit is not None and len(ids) > limit:
            why = f"{self._name} reads at most {limit - special} tokens"
            raise EngineError("refused", f"the prompt has {len(ids) - special} tokens, and {why}")
        return ids, []

    def _pair_ids(self, pair: tuple[str, str]) -> tuple[Ids, Ids]:
        prompt, target = pair
        return self._prompt_ids(prompt)[0], self._encode(target)

    def _encode(self, text: str) -> Ids:
        ids = self._tokens.files.texts().encode(text, True)
        if not ids:
            raise EngineError("refused", f"{self._name} was given a text without tokens")
        return ids

    def _write(self, batch: Sequence[tuple[Ids, Ids]]) -> list[str]:
        import torch

        decoding = self._decoding
        sampling = {"do_sample": True, "temperature": decoding.temperature} if decoding.temperature else {}
        with torch.inference_mode():
            written = self._model.generate(
                **self._read([ids for ids, _ in batch]),
                num_beams=decoding.beams,
                max_new_tokens=decoding.max_tokens,
                **(sampling or {"do_sample": False}),
            )
        texts: list[str] = self._tokens.files.tokenizer().batch_decode(written, skip_special_tokens=True)
        return texts

    def _score(self, batch: Sequence[tuple[Ids, Ids]]) -> list[float]:
        """Mean log-likelihoods of the targets: Σ log p(y_t | x, y_<t) / |y|."""
        import torch

        labels = self._padded([target for _, target in batch], _IGNORED)
        with torch.inference_mode():
            logits = self._model(**self._read([ids for ids, _ in batch]), labels=labels).logits
            chosen = logits.float().log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
            real = labels != _IGNORED
            means: list[float] = ((chosen * real).sum(1) / real.sum(1)).tolist()
        return means

    def _read(self, rows: Sequence[Ids]) -> dict[str, "Tensor"]:
        pad = self._tokens.files.tokenizer().pad_token_id or 0
        lengths = self._padded([[1] * len(row) for row in rows], 0)
        return {"input_ids": self._padded(rows, pad), "attention_mask": lengths}

    def _padded(self, rows: Sequence[Ids], filler: int) -> "Tensor":
        """Shape (rows, longest row), on the model's device."""
        import torch

        width = max(map(len, rows))
        return torch.tensor([row + [filler] * (width - len(row)) for row in rows], device=self._model.device)

    @cached_property
    def _special(self) -> int:
        """The number of special tokens around a prompt."""
        return len(self._tokens.files.texts().encode("", True))

    @cached_property
    def _limit(self) -> int | None:
        """The most tokens of a prompt, with the special ones; None if nothing limits it.

        The setting and the tokenizer's limit are without them, as `count` counts: T5, which has relative
        positions, reads a few more. A table of positions is exhausted by all tokens alike.
        """
        stated = self._context or self._tokens.files.tokenizer().model_max_length
        positions = getattr(self._model.config, "max_position_embeddings", None)
        known = [stated + self._special] if stated < _UNLIMITED else []
        return min([*known, *([positions] if positions else [])], default=None)

    @cached_property
    def _model(self) -> Any:
        """The model, loaded on first use, in the one thread that runs it. Raises EngineError."""
        import torch
        from transformers import AutoModelForSeq2SeqLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        try:
            model = AutoModelForSeq2SeqLM.from_pretrained(self._name, **self._arguments)
        except (ImportError, OSError, ValueError, TypeError) as error:
            raise EngineError("unavailable", f"{self._name} cannot be loaded: {error}") from None
        if "device_map" not in self._arguments and torch.cuda.is_available():
            model = model.to("cuda")
        return model.eval()
