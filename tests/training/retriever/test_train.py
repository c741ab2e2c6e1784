"""Training as a whole: what it writes, how it goes on after a kill, and what it refuses."""

import json
import os
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from agent.checkpoints import STAMP
from index.encoding.encoders import load_encoder, load_trainable
from training.feedback.records import (
    FEEDBACK,
    MANIFEST,
    Feedback,
    read_feedback,
    read_manifest,
    write_feedback,
)
from training.folder import ChangedConfiguration
from training.folds import Fold
from training.retriever.encoding import embed
from training.retriever.origin import ForeignFeedback
from training.retriever.questions import TooLittleFeedback, hold_out
from training.retriever.recipe import Recipe
from training.retriever.small import load_with_fixed_words
from training.retriever.train import CURVES, STATE, Source, Trained, train
from training.retriever.trainer import beyond_chance

RECIPE = Recipe(
    method="ropg-rl",
    temperature=0.1,
    draws=2,
    learning_rate=1e-2,
    epochs=3,
    batch_size=7,
    at_once=3,
    held_out=0.3,
    confidence=0,
    seed=3,
)


@dataclass
class Recorder:
    """Writes down what happens, and dies at a step."""

    dies_at: int = -1
    started: int = -1
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    utilities: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)

    def begun(self, step: int, steps: int) -> None:
        self.started = step

    def trained(self, step: int, loss: float, learning_rate: float) -> None:
        if step == self.dies_at:
            raise KeyboardInterrupt
        self.steps.append(step)
        self.losses.append(loss)

    def validated(self, step: int, utility: float, unchanged: float) -> None:
        self.utilities.append(utility)
        self.unchanged.append(unchanged)


def run(folder: Path, source: Source, recipe: Recipe = RECIPE, watcher: Recorder | None = None) -> Trained:
    watchers = [] if watcher is None else [watcher]
    return train(folder, source, recipe, cpu=True, watchers=watchers, load=load_with_fixed_words)


@pytest.fixture(scope="module")
def source(small: Path, feedback: Path) -> Source:
    return Source(feedback, str(small))


@pytest.fixture(scope="module")
def whole(source: Source, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Recorder]:
    """Training without an interruption."""
    watcher = Recorder()
    return run(tmp_path_factory.mktemp("whole"), source, watcher=watcher), watcher


def weights(trained: Trained) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = load_file(trained.folder / "model.safetensors")
    return loaded


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_vectors_are_those_of_the_encoder(small: Path) -> None:
    encoder = load_trainable(str(small))
    texts = ["a short one", "", "one that is a good deal longer than the others are", "a short one"]
    found = embed(encoder.model.eval(), "document", texts, "", encoder.manifest.window).detach().numpy()
    np.testing.assert_allclose(found, encoder.encode_documents(texts), atol=1e-6)


def test_the_result_is_an_encoder_with_its_origin(
    whole: tuple[Trained, Recorder], source: Source, small: Path
) -> None:
    trained, watcher = whole
    assert trained.folder.name == "ropg-rl"
    encoder, before = load_encoder(str(trained.folder)), load_encoder(str(small))
    assert encoder.manifest == replace(
        before.manifest, name="ropg-rl", weights_sha256=encoder.manifest.weights_sha256
    )
    stamp = json.loads((trained.folder / STAMP).read_text("utf-8"))
    assert stamp["kind"] == "retriever"
    assert stamp["task"] == "made"
    assert stamp["encoder"] == before.manifest.to_dict()
    assert stamp["recipe"] == RECIPE.model_dump()
    assert stamp["validation_utility"] == trained.utility == max(watcher.utilities)
    # 12 people, of whom 4 are held out; three epochs of two steps.
    assert (trained.trained_on, trained.validated_with, trained.steps) == (8, 4, 6)
    assert watcher.steps == [1, 2, 3, 4, 5, 6]
    assert len(watcher.utilities) == 4


def test_the_best_weights_are_kept_not_the_last(whole: tuple[Trained, Recorder], source: Source) -> None:
    trained, watcher = whole
    assert trained.step == 2 * int(np.argmax(watcher.utilities))
    encoder = load_encoder(str(trained.folder))
    _, held_out = hold_out(read_feedback(source.feedback), RECIPE.held_out, RECIPE.seed)
    assert first_utility(held_out, encoder) == pytest.approx(trained.utility)


def first_utility(questions: list[Feedback], encoder: Any) -> float:
    found = []
    for question in questions:
        texts = encoder.encode_documents([document.text for document in question.documents])
        best = int(np.argmax(texts @ encoder.encode_queries([question.query])[0]))
        found.append(question.documents[best].utility)
    return float(np.mean([value for value in found if value is not None]))


def test_the_untrained_encoder_ranks_the_feedback_as_it_is(whole: tuple[Trained, Recorder]) -> None:
    assert whole[1].unchanged[0] == 1.0


def test_steps_that_make_nothing_better_leave_the_encoder_as_it_was(
    source: Source, small: Path, tmp_path: Path
) -> None:
    trained = run(tmp_path, source, RECIPE.model_copy(update={"learning_rate": 1e-12, "epochs": 1}))
    assert trained.step == 0
    assert same(weights(trained), load_file(small / "model.safetensors"))


def test_the_people_of_a_fold_are_left_out(source: Source, tmp_path: Path) -> None:
    fold = Fold(1, 3)
    records = [replace(record, user=f"person {record.id}") for record in read_feedback(source.feedback)]
    write_feedback(tmp_path / "named", read_manifest(source.feedback), records)
    inside = [record for record in records if fold.holds(f"person {record.id}")]
    assert 0 < len(inside) < len(records) - 2
    quick = RECIPE.model_copy(update={"epochs": 1})
    trained = run(tmp_path / "out", replace(source, feedback=tmp_path / "named", fold=fold), quick)
    assert trained.folder.name == "ropg-rl-1-of-3"
    assert trained.left_out == {"in fold 1/3": len(inside)}
    assert trained.trained_on + trained.validated_with == len(records) - len(inside)
    assert json.loads((trained.folder / STAMP).read_text("utf-8"))["fold"] == "1/3"
    assert load_encoder(str(trained.folder)).manifest.name == "ropg-rl-1-of-3"


def test_a_gain_that_may_be_chance_leaves_the_encoder_as_it_was(
    whole: tuple[Trained, Recorder], source: Source, small: Path, tmp_path: Path
) -> None:
    watcher = Recorder()
    trained = run(tmp_path, source, RECIPE.model_copy(update={"confidence": 0.99}), watcher)
    assert watcher.utilities == whole[1].utilities
    assert max(watcher.utilities) > watcher.utilities[0] == trained.utility
    assert trained.step == 0
    assert same(weights(trained), load_file(small / "model.safetensors"))


@pytest.mark.parametrize(
    ("gains", "confidence", "looks", "expected"),
    [
        # 6 of 10 gain 1: t = .6 / (.516 / √10) = 3.67 with 9 degrees of freedom, p = .0026.
        ([1.0] * 6 + [0.0] * 4, 0.95, 1, True),
        ([1.0] * 6 + [0.0] * 4, 0.95, 19, True),
        ([1.0] * 6 + [0.0] * 4, 0.95, 20, False),
        ([-1.0] * 6 + [0.0] * 4, 0.95, 1, False),
        ([1.0] * 5 + [-1.0] * 5, 0.5, 1, False),
        ([0.25, 0.25], 0.99, 10, True),
        ([0.0, 0.0], 0.5, 1, False),
        ([1.0], 0.5, 1, False),
        ([], 0.5, 1, False),
    ],
)
def test_a_gain_is_beyond_chance(gains: list[float], confidence: float, looks: int, expected: bool) -> None:
    assert beyond_chance(gains, confidence, looks) is expected


@pytest.mark.parametrize("dies_at", [1, 4, 6])
def test_killed_training_ends_with_the_same_weights(
    whole: tuple[Trained, Recorder], source: Source, tmp_path: Path, dies_at: int
) -> None:
    trained, watcher = whole
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, watcher=Recorder(dies_at=dies_at))
    again = Recorder()
    resumed = run(tmp_path, source, watcher=again)
    saved = (dies_at - 1) // 2 * 2
    assert again.started == saved
    assert again.steps == list(range(saved + 1, 7))
    assert again.losses == watcher.losses[saved:]
    assert same(weights(resumed), weights(trained))
    assert replace(resumed, folder=trained.folder) == trained
    assert run(tmp_path, source) == resumed


def test_a_state_that_was_not_written_to_the_end_is_not_used(
    whole: tuple[Trained, Recorder], source: Source, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, watcher=Recorder(dies_at=3))
    (tmp_path / f".{STATE}.tmp").write_bytes(b"half")
    assert same(weights(run(tmp_path, source)), weights(whole[0]))


def test_tensorboard_shows_each_step_once_after_a_kill(source: Source, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, source, watcher=Recorder(dies_at=4))
    run(tmp_path, source)
    events = EventAccumulator(str(tmp_path / CURVES))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events.Scalars("validation/utility")] == [0, 2, 4, 6]


def test_the_order_of_questions_differs_between_epochs_and_holds_each_once() -> None:
    from training.retriever.trainer import order

    epochs = [order(20, 0, epoch).tolist() for epoch in range(3)]
    assert all(sorted(epoch) == list(range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert epochs[0] == order(20, 0, 0).tolist() != order(20, 1, 0).tolist()


def test_the_rate_rises_and_then_falls_to_0() -> None:
    recipe = Recipe(method="ropg-kd", warmup=0.05, learning_rate=1.0)
    rates = [recipe.rate(step, 100) for step in range(1, 101)]
    assert rates[:6] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 95 / 96])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] == pytest.approx(1 / 96)
    assert Recipe(method="ropg-kd", warmup=0).rate(1, 4) == pytest.approx(1e-5 * 4 / 5)


def test_the_published_recipe_is_the_default() -> None:
    recipe = Recipe(method="ropg-rl")
    assert (recipe.documents, recipe.temperature, recipe.draws) == (None, 1.0, 1)
    assert (recipe.learning_rate, recipe.warmup, recipe.clip) == (1e-5, 0.05, 1.0)
    assert (recipe.epochs, recipe.batch_size, recipe.at_once) == (10, 64, 8)


def test_another_recipe_is_refused_in_the_same_folder(source: Source, tmp_path: Path) -> None:
    run(tmp_path, source, RECIPE.model_copy(update={"epochs": 1}))
    with pytest.raises(ChangedConfiguration, match="recipe"):
        run(tmp_path, source)


def copied(feedback: Path, folder: Path, **changes: Any) -> Path:
    manifest = json.loads((feedback / MANIFEST).read_text("utf-8"))
    write_feedback(folder, manifest | changes, read_feedback(feedback))
    return folder


def test_feedback_of_another_encoder_is_refused(source: Source, tmp_path: Path) -> None:
    manifest = json.loads((source.feedback / MANIFEST).read_text("utf-8"))
    other = manifest["encoder"] | {"weights_sha256": "0" * 64}
    foreign = replace(source, feedback=copied(source.feedback, tmp_path / "feedback", encoder=other))
    with pytest.raises(ForeignFeedback, match=r"another encoder, small.*weights_sha256.*--any-feedback"):
        run(tmp_path / "out", foreign)
    unranked = replace(source, feedback=copied(source.feedback, tmp_path / "none", encoder=None))
    with pytest.raises(ForeignFeedback, match="without an encoder"):
        run(tmp_path / "out", unranked)
    quick = RECIPE.model_copy(update={"epochs": 1})
    assert run(tmp_path / "out", replace(foreign, any_feedback=True), quick).trained_on == 8


def test_feedback_of_another_task_is_refused(
    whole: tuple[Trained, Recorder], source: Source, tmp_path: Path
) -> None:
    other = copied(source.feedback, tmp_path / "feedback", task="lamp-5")
    with pytest.raises(ForeignFeedback, match=r"is for the task lamp-5, and that in .* for made"):
        run(tmp_path / "out", replace(source, validation=other))
    encoder = load_encoder(str(whole[0].folder)).manifest.to_dict()
    ranked = copied(source.feedback, tmp_path / "ranked", task="lamp-5", encoder=encoder)
    with pytest.raises(ForeignFeedback, match=r"the encoder in .* was trained for made"):
        run(tmp_path / "out", Source(ranked, str(whole[0].folder)))


def test_an_encoder_can_be_trained_further(
    whole: tuple[Trained, Recorder], source: Source, tmp_path: Path
) -> None:
    encoder = load_encoder(str(whole[0].folder)).manifest.to_dict()
    ranked = copied(source.feedback, tmp_path / "feedback", encoder=encoder)
    further = Source(ranked, str(whole[0].folder), validation=ranked)
    trained = run(tmp_path / "out", further, RECIPE.model_copy(update={"epochs": 1, "method": "ropg-kd"}))
    assert (trained.trained_on, trained.validated_with) == (12, 12)


def test_feedback_that_teaches_nothing_is_refused(source: Source, tmp_path: Path) -> None:
    manifest = json.loads((source.feedback / MANIFEST).read_text("utf-8"))
    unjudged = [
        replace(record, documents=tuple(replace(each, utility=None) for each in record.documents))
        for record in read_feedback(source.feedback)
    ]
    write_feedback(tmp_path / "unjudged", manifest, unjudged)
    with pytest.raises(TooLittleFeedback, match="0 people"):
        run(tmp_path / "out", Source(tmp_path / "unjudged", source.encoder))
    with pytest.raises(TooLittleFeedback, match=r"unjudged has no feedback that ropg-rl can use"):
        run(tmp_path / "out", replace(source, validation=tmp_path / "unjudged"))
    assert not (tmp_path / "out" / STATE).exists()


TOGETHER = RECIPE.model_copy(update={"seed": 0})
"""With few gradients near 0: Adam makes whole steps of the rounding of those."""
PROCESS = """
import sys
from pathlib import Path
from tests.training.retriever.test_train import TOGETHER, Source, run
run(Path(sys.argv[1]), Source(Path(sys.argv[2]), sys.argv[3]), TOGETHER)
"""


def test_two_processes_train_the_same_weights(source: Source, tmp_path: Path) -> None:
    """Eight questions in steps of seven: in every second step, one of the processes has nothing to do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(tmp_path), str(source.feedback), source.encoder],
            env={**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank, "ACCELERATE_USE_CPU": "1"},
            cwd=Path(__file__).parents[3],
        )
        for rank in "01"
    ]
    assert [process.wait() for process in processes] == [0, 0]
    trained = run(tmp_path / "alone", source, TOGETHER)
    alone, together = weights(trained), weights(replace(trained, folder=tmp_path / "ropg-rl"))
    for name, values in alone.items():
        torch.testing.assert_close(together[name], values, atol=1e-4, rtol=1e-3)
    assert not (tmp_path / FEEDBACK).exists()
