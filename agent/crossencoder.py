"""Encoders with one output that read a text, or two apart: selectors and reward models.

Texts are encoded here for training and for use, so that a model sees the same tokens in both.
"""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agent.tokenizer import text_tokenizer
from index.encoding.encoders import batches

Row = tuple[list[int], list[int]]
"""Token ids, and their types: 0 up to the separator, then 1."""

_BATCH = 4_096
"""Tokens scored at a time, padding included: the prompts of a pool of eight, of 512 tokens each."""


class CrossEncoderUnavailable(Exception):
    """A folder holds no model that can be used here; the message says why."""


class Inputs:
    """Makes a model's inputs of prompts and outputs. No text can spell one of its control tokens."""

    def __init__(self, tokenizer: Any, max_tokens: int, *, global_attention: bool = False) -> None:
        """Raises CrossEncoderUnavailable if the tokenizer does not separate two texts.

        With `global_attention`, the first token attends to all others, and they to it (Longformer).
        """
        self._texts = text_tokenizer(tokenizer)
        self._max_tokens = max_tokens
        self._padding = tokenizer.pad_token_id or 0
        self._global = global_attention
        self._types = "token_type_ids" in tokenizer.model_input_names
        self._one, self._two = _frame(tokenizer, "a"), _frame(tokenizer, "a", "a")
        if not self._one[0] or not self._two[1]:
            raise CrossEncoderUnavailable("the encoder's tokenizer has no first token, or no separator")

    def encode(self, prompt: str, output: str | None = None) -> Row:
        """Token ids and their types (0 up to the separator). Too long a prompt loses its end.

        The output is cut only if it does not fit even without the prompt.
        """
        room = self.room if output is None else self.room_for_two
        written = None if output is None else self.tokens(output)[:room]
        return self.join(self.tokens(prompt)[: room - len(written or ())], written)

    @property
    def room(self) -> int:
        """Most tokens of one text, without the model's own."""
        return self._max_tokens - sum(map(len, self._one))

    @property
    def room_for_two(self) -> int:
        """Most tokens of two texts together, without the model's own."""
        return self._max_tokens - sum(map(len, self._two))

    @property
    def separator(self) -> list[int]:
        """The tokens between two texts."""
        return self._two[1]

    def tokens(self, text: str) -> list[int]:
        """The tokens of a text alone, however long it is."""
        return self._texts.encode(text, False)

    def join(self, read: Sequence[int], written: Sequence[int] | None) -> Row:
        """Put the model's own tokens around one text or two. Returns ids and types, see `encode`."""
        head, *rest = self._one if written is None else self._two
        first = [*head, *read, *rest[0]]
        second = [] if written is None else [*written, *rest[1]]
        return [*first, *second], [0] * len(first) + [1] * len(second)

    def batch(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Pad encoded rows to tensors of shape (rows, tokens), by the names of a model's parameters."""
        import torch

        longest = max(len(ids) for ids, _ in rows)

        def padded(values: Sequence[list[int]], padding: int) -> Any:
            return torch.tensor([[*row, *[padding] * (longest - len(row))] for row in values])

        batch = {
            "input_ids": padded([ids for ids, _ in rows], self._padding),
            "attention_mask": padded([[1] * len(ids) for ids, _ in rows], 0),
        }
        if self._types:
            batch["token_type_ids"] = padded([types for _, types in rows], 0)
        if self._global:
            batch["global_attention_mask"] = padded([[1] for _ in rows], 0)
        return batch


def inputs_of(model: Any, tokenizer: Any, max_tokens: int) -> Inputs:
    """The inputs of a sequence classifier of transformers, with global attention where it has that.

    Raises CrossEncoderUnavailable if it cannot read so many tokens.
    """
    if max_tokens > (most := longest_input(model, tokenizer)):
        raise CrossEncoderUnavailable(f"the encoder reads at most {most} tokens, not {max_tokens}")
    has_global = "global_attention_mask" in inspect.signature(model.forward).parameters
    return Inputs(tokenizer, max_tokens, global_attention=has_global)


def longest_input(model: Any, tokenizer: Any) -> int:
    """The number of tokens that the model can read, special tokens included."""
    positions = getattr(model.config, "max_position_embeddings", None)
    return min(int(tokenizer.model_max_length), positions or int(tokenizer.model_max_length))


def load_crossencoder(folder: Path, device: str | None = None) -> tuple[Any, Any]:
    """Load the model in a folder, and its tokenizer. `device` is a GPU, if there is one, by default.

    Raises CrossEncoderUnavailable if it cannot be loaded, or has more than one output.
    """
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise CrossEncoderUnavailable(f"the model in {folder} cannot be loaded: {error}") from None
    if model.config.num_labels != 1:
        raise CrossEncoderUnavailable(f"the model in {folder} has {model.config.num_labels} outputs, not one")
    return model.eval().to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer


def scored(model: Any, inputs: Inputs, rows: Sequence[Row]) -> list[float]:
    """Score each row by the model's output. Blocks while it runs."""
    import torch

    found = [0.0] * len(rows)
    for positions in batches([len(ids) for ids, _ in rows], _BATCH):
        batch = inputs.batch([rows[position] for position in positions])
        with torch.inference_mode():
            logits = model(**{name: values.to(model.device) for name, values in batch.items()}).logits
        for position, output in zip(positions, logits[:, 0].tolist(), strict=True):
            found[position] = output
    return found


def _frame(tokenizer: Any, *texts: str) -> list[list[int]]:
    """The control tokens before, between and after the texts."""
    found = tokenizer(*texts)
    frame: list[list[int]] = [[] for _ in range(len(texts) + 1)]
    place = 0
    for token, text in zip(found["input_ids"], found.sequence_ids(0), strict=True):
        if text is None:
            frame[place].append(token)
        else:
            place = text + 1
    return frame
