"""A small cross-encoder that trains within a minute on a CPU: the packaged encoder's words, two layers above.

Word embeddings are those of MiniLM, reduced to their principal components and fixed, so that words that
training has not seen keep their meanings. In the first layer, words attend to their equals: that is how
words of an answer find themselves in a history.
"""

from pathlib import Path
from typing import Any

from index.encoding.models import packaged_minilm
from training.crossencoder import CrossEncoderRecipe, load_encoder

_HEAD, _LENGTH = 32, 96


def write_small_encoder(folder: Path, width: int = 128) -> Path:
    """Write it to the folder, with embeddings of `width` dimensions, a multiple of 32."""
    import torch
    from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

    from training.retriever.small import reduced

    words = AutoModel.from_pretrained(packaged_minilm()).embeddings.word_embeddings.weight.detach()
    torch.manual_seed(0)
    network = BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=width,
            num_hidden_layers=2,
            num_attention_heads=width // _HEAD,
            intermediate_size=2 * width,
            max_position_embeddings=_LENGTH,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    with torch.no_grad():
        network.embeddings.word_embeddings.weight.copy_(reduced(words, width))
        attention = network.encoder.layer[0].attention.self
        for weights in (attention.query.weight, attention.key.weight):
            weights.copy_(torch.eye(width))
    network.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged_minilm()).save_pretrained(folder)
    return folder


def load_with_fixed_words(model: str, recipe: CrossEncoderRecipe) -> tuple[Any, Any, int]:
    """Load it for training, see `load_encoder`.

    One thread: so small a model gains nothing from more, and on a busy machine they wait for each other.
    """
    import torch

    encoder, tokenizer, longest = load_encoder(model, recipe)
    torch.set_num_threads(1)
    encoder.base_model.embeddings.word_embeddings.weight.requires_grad_(False)
    return encoder, tokenizer, longest
