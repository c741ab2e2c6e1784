"""The engine seq2seq with a tiny random T5, compared with plain calls of transformers."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BartConfig, BartForConditionalGeneration

from agent.engines.errors import EngineError
from agent.engines.factory import make_policy, text_model
from agent.engines.seq2seq import Seq2SeqText
from agent.engines.settings import EngineSettings
from agent.engines.text import Decoding, FileTokens, longest_prefix
from agent.engines.weights import fingerprint
from tests.tiny_t5 import LIMIT, make_t5

DECODING = Decoding(beams=4, max_tokens=8)
PROMPTS = [
    "Generate a headline for the following article: tea in Bergen.",
    "tea",
    "What is the score of the following review? The fox jumps over the harbour and the music of it.",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_t5(tmp_path_factory.mktemp("models") / "tiny-t5")


@pytest.fixture
async def model(folder: Path) -> AsyncIterator[Seq2SeqText]:
    opened = Seq2SeqText(str(folder), DECODING, arguments={"batch_size": 2})
    yield opened
    await opened.aclose()


@pytest.fixture(scope="module")
def reference(folder: Path) -> tuple[Any, Any]:
    return AutoTokenizer.from_pretrained(folder), AutoModelForSeq2SeqLM.from_pretrained(folder).eval()


async def test_it_writes_as_transformers_does_with_four_beams(
    model: Seq2SeqText, reference: tuple[Any, Any]
) -> None:
    tokenizer, plain = reference
    expected = [
        tokenizer.decode(
            plain.generate(**tokenizer(prompt, return_tensors="pt"), num_beams=4, max_new_tokens=8)[0],
            skip_special_tokens=True,
        )
        for prompt in PROMPTS
    ]
    assert await asyncio.gather(*map(model.generate, PROMPTS)) == expected
    assert [await model.generate(prompt) for prompt in PROMPTS] == expected
    assert any(expected)


async def test_the_likelihood_is_the_negative_loss_of_teacher_forcing(
    model: Seq2SeqText, reference: tuple[Any, Any]
) -> None:
    tokenizer, plain = reference
    targets = ["music", "tea and music in the harbour", "5"]
    read, written = ([tokenizer(text, return_tensors="pt") for text in texts] for texts in (PROMPTS, targets))
    expected = [
        -plain(**prompt, labels=target.input_ids).loss.item()
        for prompt, target in zip(read, written, strict=True)
    ]
    found = await asyncio.gather(*map(model.likelihood, PROMPTS, targets))
    assert found == pytest.approx(expected, abs=1e-5)
    assert max(found) < 0


async def test_a_prompt_beyond_the_limit_is_refused_alone_and_never_cut(model: Seq2SeqText) -> None:
    longest = model.cut("tea " * LIMIT, LIMIT)
    assert model.count(longest) == LIMIT
    short, full, long = await asyncio.gather(
        *map(model.generate, ("tea", longest, longest + " tea")), return_exceptions=True
    )
    assert isinstance(short, str)
    assert isinstance(full, str)
    assert isinstance(long, EngineError)
    assert long.fault == "refused"
    assert f"and {model.description['model']} reads at most {LIMIT}" in str(long)


async def test_the_limit_is_a_setting(folder: Path) -> None:
    longer = Seq2SeqText(str(folder), DECODING, context=4 * LIMIT)
    try:
        assert LIMIT < longer.count("tea " * LIMIT) <= 4 * LIMIT
        assert isinstance(await longer.generate("tea " * LIMIT), str)
    finally:
        await longer.aclose()


async def test_a_table_of_positions_is_a_limit_for_all_tokens(folder: Path, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    configuration = BartConfig(
        vocab_size=len(tokenizer),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=24,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=None,
    )
    BartForConditionalGeneration(configuration).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = Seq2SeqText(str(tmp_path), DECODING)
    longest = model.cut("tea " * LIMIT, 23)
    assert isinstance(await model.generate(longest), str)
    with pytest.raises(EngineError, match=r"the prompt has 2[45] tokens, and .* reads at most 23 tokens"):
        await model.generate(longest + " tea")
    await model.aclose()


async def test_a_temperature_samples(folder: Path) -> None:
    model = Seq2SeqText(str(folder), Decoding(temperature=1.5, max_tokens=6))
    assert len(set(await asyncio.gather(*(model.generate("tea") for _ in range(12))))) > 1
    await model.aclose()


async def test_concurrent_calls_share_batches_outside_of_the_event_loops_thread(model: Seq2SeqText) -> None:
    await model.generate("tea")
    seen: list[tuple[str, int]] = []
    _on_read(model, lambda ids: seen.append((threading.current_thread().name, len(ids))))
    await asyncio.gather(*map(model.generate, PROMPTS[:1] + PROMPTS[:2] * 2))
    assert seen == [("seq2seq_0", 2), ("seq2seq_0", 2), ("seq2seq_0", 1)]


async def test_control_tokens_in_a_prompt_are_read_as_text(
    model: Seq2SeqText, reference: tuple[Any, Any]
) -> None:
    await model.generate("tea")
    read: list[torch.Tensor] = []
    _on_read(model, read.append)
    hostile = "tea </s> music <extra_id_0> <pad>"
    await model.generate(hostile)
    tokenizer = reference[0]
    controls = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert controls & set(tokenizer(hostile, add_special_tokens=False).input_ids)
    assert not controls & set(read[0][0, :-1].tolist())
    assert read[0][0, -1] == tokenizer.eos_token_id


async def test_a_model_that_is_not_there_is_an_engine_error_each_time(tmp_path: Path) -> None:
    missing = Seq2SeqText(str(tmp_path / "nowhere"), DECODING)
    for _ in range(2):
        with pytest.raises(EngineError, match="cannot be loaded"):
            await missing.generate("tea")
    await missing.aclose()


async def test_a_failure_of_the_model_reaches_every_caller_of_its_batch(model: Seq2SeqText) -> None:
    await model.generate("tea")

    def fails(ids: torch.Tensor) -> None:
        raise RuntimeError("out of memory")

    _on_read(model, fails)
    outcomes = await asyncio.gather(*map(model.generate, PROMPTS), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == [
        f"{model.description['model']} failed: out of memory"
    ] * 3
    assert all(isinstance(outcome, EngineError) for outcome in outcomes)


def _on_read(model: Seq2SeqText, notify: Callable[[torch.Tensor], None]) -> None:
    """Calls `notify` with the tokens of each batch that the encoder reads."""

    def hook(_: Any, __: Any, given: dict[str, torch.Tensor]) -> None:
        notify(given["input_ids"])

    model._model.encoder.register_forward_pre_hook(hook, with_kwargs=True)


def test_the_description_names_the_weights_and_the_decoding(folder: Path, tmp_path: Path) -> None:
    one = Seq2SeqText(str(folder), DECODING, arguments={"dtype": "float32", "batch_size": 4})
    assert one.description == {
        "engine": "seq2seq",
        "model": str(folder),
        "weights": fingerprint(str(folder)),
        "decoding": {"beams": 4, "temperature": 0.0, "max_tokens": 8},
        "arguments": {"dtype": "float32"},
    }


def test_a_fingerprint_follows_the_files_and_not_the_folder(tmp_path: Path) -> None:
    def write(name: str, weights: bytes, configuration: str = "{}") -> str | None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(weights)
        (tmp_path / name / "config.json").write_text(configuration)
        return fingerprint(str(tmp_path / name))

    large = bytes(3 * 2**20)
    assert write("one", large) == write("copy", large)
    found = {
        write("end", large[:-1] + b"x"),
        write("middle", large[: 2**20] + b"x" + large[2**20 + 1 :]),
        write("longer", large + b"\0"),
        write("configured", large, '{"a": 1}'),
        fingerprint(str(tmp_path / "one")),
    }
    assert len(found) == 5
    assert fingerprint("google/flan-t5-small") is None


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=300), st.integers(0, 40))
def test_a_cut_text_is_a_prefix_with_no_more_tokens(folder: Path, text: str, tokens: int) -> None:
    counted = _tokens(str(folder))
    cut = counted.cut(text, tokens)
    assert text.startswith(cut)
    assert counted.count(cut) <= tokens
    if counted.count(text) <= tokens:
        assert cut == text


@given(st.lists(st.sampled_from("ab "), max_size=80).map("".join), st.integers(0, 30))
def test_the_longest_prefix_is_found_where_counts_grow(text: str, tokens: int) -> None:
    def count(text: str) -> int:
        return len(text.split())

    fitting = [text[:size] for size in range(len(text) + 1) if count(text[:size]) <= tokens]
    assert longest_prefix(text, tokens, count) == fitting[-1]


def test_a_decoding_out_of_range_is_refused() -> None:
    for wrong in ({"beams": 0}, {"max_tokens": 0}, {"temperature": -0.1}, {"temperature": 2.5}):
        with pytest.raises(ValueError, match="at least 1"):
            Decoding(**wrong)


async def test_the_engine_is_a_text_model_alone(folder: Path) -> None:
    configured = EngineSettings(engine="seq2seq", model=str(folder), engine_args={"batch_size": 1})
    model = text_model(configured, DECODING)
    assert isinstance(await model.generate("tea"), str)
    await model.aclose()
    with pytest.raises(EngineError, match="it cannot be a policy"):
        make_policy(configured)
    with pytest.raises(ValueError, match="seq2seq needs a model"):
        EngineSettings(engine="seq2seq")
    for wrong in (0, "many", True):
        with pytest.raises(ValueError, match="batch_size must be a whole number"):
            EngineSettings(engine="seq2seq", model="m", engine_args={"batch_size": wrong})


async def test_a_tokenizer_in_the_settings_counts_for_a_server(folder: Path) -> None:
    configured = EngineSettings(engine="openai", model="tiny", tokenizer=str(folder))
    model = text_model(configured, Decoding())
    assert model.count("fox </s> fox") > model.count("fox fox") > 0
    await model.aclose()


_counted: dict[str, FileTokens] = {}


def _tokens(folder: str) -> FileTokens:
    return _counted.setdefault(folder, FileTokens(folder))
