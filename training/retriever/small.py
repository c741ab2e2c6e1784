"""A small encoder that trains within a minute on a CPU: the packaged one's words, and one layer above them.

Its word embeddings are those of MiniLM, reduced to their principal components, so that words keep their
meanings. The layer starts out adding nothing: as it is, the encoder compares bags of words.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from index.encoding.encoders import SentenceTransformerEncoder, load_trainable

_WIDTH, _HEADS, _LENGTH = 128, 4, 64
_SPREAD = 0.5
"""Standard deviation of the embeddings."""


def reduced(words: torch.Tensor, width: int) -> torch.Tensor:
    """Reduce word embeddings, of shape (words, dimensions), to `width` principal components."""
    centred = words - words.mean(dim=0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    components = centred @ directions[:, -width:]
    scaled: torch.Tensor = components / components.std() * _SPREAD
    return scaled


def write_small_encoder(folder: Path, seed: int = 0) -> None:
    """Write it to a folder, for `load_encoder`."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    packaged = load_trainable(device="cpu").model
    words = packaged[0].model.embeddings.word_embeddings.weight.detach()
    torch.manual_seed(seed)
    network = BertModel(
        BertConfig(
            vocab_size=len(words),
            hidden_size=_WIDTH,
            num_hidden_layers=1,
            num_attention_heads=_HEADS,
            intermediate_size=2 * _WIDTH,
            max_position_embeddings=_LENGTH,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    with torch.no_grad():
        network.embeddings.word_embeddings.weight.copy_(reduced(words, _WIDTH))
        for layer in network.encoder.layer:
            layer.attention.output.dense.weight.zero_()
            layer.output.dense.weight.zero_()
    with TemporaryDirectory() as files:
        network.save_pretrained(files)
        packaged.tokenizer.save_pretrained(files)
        modules = [Transformer(files, max_seq_length=_LENGTH - 2), Pooling(_WIDTH), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder), create_model_card=False)


def load_with_fixed_words(spec: str, *, device: str | None = None) -> SentenceTransformerEncoder:
    """Open it for training, with fixed word embeddings: words that training has not seen keep their places.

    One thread: so small a model gains nothing from more, and on a busy machine they wait for each other.
    """
    encoder = load_trainable(spec, device=device)
    torch.set_num_threads(1)
    encoder.model[0].model.embeddings.word_embeddings.weight.requires_grad_(False)
    return encoder
