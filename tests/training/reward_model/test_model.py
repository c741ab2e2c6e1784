"""A reward model's inputs and scores, and the folders that are refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from agent.checkpoints import STAMP
from agent.crossencoder import Inputs
from agent.engines.weights import fingerprint
from tests.agent import tiny_selector
from training.reward_model.model import (
    ResponseInputs,
    RewardModelManifest,
    UnfitRewardModel,
    load_reward_model,
    weights_hash,
)
from training.reward_model.records import Response

WORDS = ("tea", "strong", "black", "which", "rain", "north")
RESPONSE = Response("which tea", "strong black tea", ("rain rain", "north"))
TOKENIZER = tiny_selector.tokenizer_of(WORDS, 64)


def inputs(max_tokens: int, reads_history: bool = True) -> ResponseInputs:
    return ResponseInputs(Inputs(TOKENIZER, max_tokens), reads_history)


def text(row: tuple[list[int], list[int]]) -> str:
    return str(TOKENIZER.decode(row[0]))


def make(folder: Path, *, reads_history: bool = True, **changes: Any) -> Path:
    """Write an untrained reward model."""
    tiny_selector.make(folder, None, words=WORDS)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.save_pretrained(folder)
    manifest = RewardModelManifest(
        base="minilm",
        base_hash=None,
        reads_history=reads_history,
        negatives="plain",
        max_tokens=24,
        weights=weights_hash(model),
    )
    (folder / STAMP).write_text(manifest.model_copy(update=changes).model_dump_json(), "utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models") / "history")


@pytest.mark.parametrize(
    ("window", "read", "lost"),
    [
        (64, "[CLS] rain rain [SEP] north [SEP] which tea [SEP] strong black tea [SEP]", 0),
        (12, "[CLS] rain [SEP] north [SEP] which tea [SEP] strong black tea [SEP]", 1),
        (9, "[CLS] [SEP] which tea [SEP] strong black tea [SEP]", 4),
        (8, "[CLS] which tea [SEP] strong black tea [SEP]", 5),
        (7, "[CLS] which [SEP] strong black tea [SEP]", 5),
        (5, "[CLS] [SEP] strong black [SEP]", 5),
    ],
)
def test_too_long_a_history_loses_its_oldest_tokens_first(window: int, read: str, lost: int) -> None:
    encoded = inputs(window).encode(RESPONSE)
    assert text(encoded.row) == read
    assert encoded.lost == lost
    assert encoded.answer == 3
    assert sum(encoded.row[1]) == len(text(encoded.row).split()) - text(encoded.row).split().index("strong")


@given(
    st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join), max_size=5),
    st.integers(8, 30),
)
def test_what_is_read_of_a_history_is_its_end(history: list[str], window: int) -> None:
    encoded = inputs(window).encode(replace(RESPONSE, history=tuple(history)))
    whole = inputs(1_000).encode(replace(RESPONSE, history=tuple(history)))
    assert len(encoded.row[0]) == min(window, len(whole.row[0]))
    assert encoded.lost == len(whole.row[0]) - len(encoded.row[0])
    assert encoded.row[0][1:] == whole.row[0][1 + encoded.lost :]


def test_citation_marks_do_not_give_an_answer_with_passages_away() -> None:
    cited = replace(RESPONSE, answer="strong [1] black tea [2, 3]【4†L2】")
    assert inputs(24).encode(cited) == inputs(24).encode(RESPONSE)


def test_the_published_variant_ignores_the_history() -> None:
    plain = inputs(24, reads_history=False)
    assert plain.encode(RESPONSE) == plain.encode(replace(RESPONSE, history=()))
    assert text(plain.encode(RESPONSE).row) == "[CLS] which tea [SEP] strong black tea [SEP]"


def test_scores_do_not_depend_on_what_is_scored_beside_them(folder: Path) -> None:
    model = load_reward_model(folder)
    responses = [RESPONSE, replace(RESPONSE, answer="rain"), replace(RESPONSE, history=())]
    assert model.scores([]) == []
    alone = [model.scores([one])[0] for one in responses]
    assert model.scores(responses) == pytest.approx(alone, abs=1e-5)
    assert len(set(alone)) == 3
    assert model.reads_history
    long = replace(RESPONSE, history=("rain " * 30,))
    assert model.histories_cut([RESPONSE, long]) == 1
    assert model.length("strong black tea") == 3


def test_a_model_of_another_base_is_refused(tmp_path: Path, folder: Path) -> None:
    assert load_reward_model(folder, base="minilm").fingerprint == load_reward_model(folder).fingerprint
    with pytest.raises(UnfitRewardModel, match="was trained from minilm, not bert-base-uncased"):
        load_reward_model(folder, base="bert-base-uncased")
    base = tiny_selector.make(tmp_path / "base", None, words=WORDS)
    own = make(tmp_path / "own", base=str(base), base_hash=fingerprint(str(base)))
    load_reward_model(own, base=str(base))
    tiny_selector.make(base, None, words=WORDS, hidden_size=16)
    with pytest.raises(UnfitRewardModel, match="was trained from"):
        load_reward_model(own, base=str(base))


def test_other_weights_than_the_manifest_describes_are_refused(tmp_path: Path) -> None:
    made = make(tmp_path / "made")
    tensors = load_file(made / "model.safetensors")
    tensors["classifier.bias"] += 1
    save_file(tensors, made / "model.safetensors", {"format": "pt"})
    with pytest.raises(UnfitRewardModel, match=r"are not those that its pr2\.json describes"):
        load_reward_model(made)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "selector"}, "kind"),
        ({"negatives": "hard"}, "negatives"),
        ({"max_tokens": 1_000}, "reads at most 64 tokens, not 1000"),
    ],
)
def test_an_unfit_manifest_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(UnfitRewardModel, match=why):
        load_reward_model(make(tmp_path / "made", **changes))


def test_a_folder_without_a_reward_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnfitRewardModel, match=r"holds no reward model: pr2\.json is missing"):
        load_reward_model(tmp_path)
    made = make(tmp_path / "made")
    (made / "model.safetensors").unlink()
    with pytest.raises(UnfitRewardModel, match="cannot be loaded"):
        load_reward_model(made)
