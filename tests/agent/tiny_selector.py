"""Tiny untrained encoders with their tokenizers, as a selector's folder holds them."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LongformerConfig,
    LongformerForSequenceClassification,
    PreTrainedTokenizerFast,
)

from agent.checkpoints import STAMP
from agent.selecting import SelectorManifest

CONTROLS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
LETTERS = tuple("abcdefghijklmnopqrstuvwxyz0123456789.:?[]")


def tokenizer_of(words: Iterable[str], most: int) -> PreTrainedTokenizerFast:
    """One token for each word, and for each letter of any other word."""
    tokens = dict.fromkeys([*CONTROLS, *LETTERS, *(f"##{letter}" for letter in LETTERS), *words])
    made = Tokenizer(models.WordPiece({token: n for n, token in enumerate(tokens)}, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=most,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **names,
    )


def make(
    folder: Path,
    manifest: SelectorManifest | None,
    *,
    words: Iterable[str] = (),
    longformer: bool = False,
    most: int = 64,
    **sizes: Any,
) -> Path:
    """Write an encoder with its tokenizer to the folder or, with a manifest, a selector."""
    tokenizer = tokenizer_of(words, most)
    shape = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": most + 2,
        "initializer_range": 0.2,
        "num_labels": 1,
        "pad_token_id": 0,
        **sizes,
    }
    torch.manual_seed(0)
    if longformer:
        config = LongformerConfig(attention_window=8, sep_token_id=3, **shape)
        model = LongformerForSequenceClassification(config)
    else:
        model = BertForSequenceClassification(BertConfig(**shape))
    (model if manifest is not None else model.base_model).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if manifest is not None:
        stamp = manifest.model_dump(mode="json")
        (folder / STAMP).write_text(json.dumps(stamp), "utf-8")
    return folder
