"""A T5 of a few thousand random weights, with a tokenizer of its own."""

import json
from pathlib import Path

VOCABULARY = 300
LIMIT = 128
"""The longest prompt, in tokens."""
_TEXTS = (
    "Generate a headline for the following article: tea and music in the harbour of Bergen.",
    "What is the score of the following review on a scale of 1 to 5? The quick brown fox jumps over it.",
    "0123456789 ABCDEFGHIJKLMNOPQRSTUVWXYZ abcdefghijklmnopqrstuvwxyz , . : ; ! ? ' \" ( ) - /",
)


def make_t5(folder: Path, limit: int = LIMIT) -> Path:
    """Write the model and its tokenizer to `folder`. The same weights each time."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    trained = Tokenizer(models.Unigram())
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    special = ["<pad>", "</s>", "<unk>"]
    trained.train_from_iterator(
        _TEXTS * 5,
        trainers.UnigramTrainer(
            vocab_size=VOCABULARY, special_tokens=special, unk_token="<unk>", show_progress=False
        ),
    )
    vocabulary = [tuple(entry) for entry in json.loads(trained.to_str())["model"]["vocab"]]
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in range(9, -1, -1)]
    tokenizer = T5Tokenizer(vocab=vocabulary + sentinels, extra_ids=len(sentinels), model_max_length=limit)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=32,
            d_kv=16,
            d_ff=64,
            num_layers=2,
            num_heads=2,
            decoder_start_token_id=0,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
