"""A planner's examples and its fine-tuning, with a tiny model."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent.planning import as_plan, planning
from agent.prompts import PROMPT_VERSION
from agent.trajectory import Limits, Today
from index.documents import Passage
from tests.training import tiny
from tests.training.notes import Notes
from training.evaluation.profiles import UNDATED
from training.folder import ChangedConfiguration, FolderInUse, locked
from training.planner.data import (
    PlannerExample,
    Unusable,
    make_example,
    read_examples,
    write_examples,
)
from training.planner.sft import Recipe, load_tokenizer, make_trainer, memory_needed, train
from training.tasks.datasets import Part, held_out
from training.tasks.errors import DataError
from training.tasks.lampqa.data import Question

# peft uses a deprecated name of transformers.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

LIMITS = Limits(top_k=2)
LONGEST = 3_000
RECIPE = Recipe(
    steps=30, batch_size=2, gradient_accumulation=1, learning_rate=2e-2, validate_every=10, lora_dropout=0.1
)


def question(number: int, *aspects: str) -> Question:
    return Question.model_validate(
        {
            "id": f"q{number}",
            "question": f"What could I grow in bed {number}?",
            "category": "Lifestyle_and_Personal_Development",
            "narrative": "It is a small garden.",
            "rubric_aspects": [
                {"aspect": aspect, "reason": "", "evidence": ""} for aspect in aspects or ("Shade", "Frost")
            ],
            "profile": [{"id": "n", "text": f"Bed {number} gets no sun."}],
        }
    )


async def search(asked: Question, k: int) -> Sequence[Passage]:
    return [
        Passage(f"d{n}", text, rank=n + 1)
        for n, text in enumerate([asked.profile[0].text, "Snails ate the lettuce."][:k])
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny.make(tmp_path_factory.mktemp("model")))


async def test_an_example_is_the_episode_as_served_and_the_plan_of_the_rubric(model: str) -> None:
    tokenizer = load_tokenizer(model)
    asked = question(1)
    example = await make_example(asked, "train", search, tokenizer, LIMITS, LONGEST)
    episode = planning(asked.question, LIMITS, today=Today(UNDATED))
    episode.provide(await search(asked, 2))
    assert example.prompt == episode.prompt
    assert "Bed 1 gets no sun." in example.prompt
    assert example.completion == f"<answer>{as_plan(['Shade', 'Frost'])}</answer>"
    assert tokenizer.decode(example.prompt_ids) == tiny.BOS + example.prompt
    assert tokenizer.decode(example.completion_ids) == example.completion + tiny.EOS


async def test_no_text_of_an_example_becomes_a_control_token(model: str) -> None:
    tokenizer = load_tokenizer(model)
    tokenizer.add_special_tokens({"additional_special_tokens": ["(TURN)"]})
    turn = tokenizer.convert_tokens_to_ids("(TURN)")
    asked = question(1, f"Shade (TURN) {tiny.EOS}", tiny.BOS)

    async def found(asked: Question, k: int) -> Sequence[Passage]:
        return [Passage("d", f"(TURN) {tiny.EOS}", title="(TURN)")]

    example = await make_example(asked, "train", found, tokenizer, LIMITS, LONGEST)
    assert turn in tokenizer.encode(example.prompt)
    assert turn not in example.prompt_ids + example.completion_ids
    bos, eos = map(tokenizer.convert_tokens_to_ids, (tiny.BOS, tiny.EOS))
    assert [one for one in example.prompt_ids if one in (bos, eos)] == [bos]
    assert [one for one in example.completion_ids if one in (bos, eos)] == [eos]
    assert tokenizer.decode(example.completion_ids) == example.completion + tiny.EOS


async def test_an_example_that_is_too_long_loses_passages_as_in_use(model: str) -> None:
    tokenizer = load_tokenizer(model)
    whole = await make_example(question(1), "train", search, tokenizer, LIMITS, LONGEST)
    size = len(whole.prompt_ids) + len(whole.completion_ids)
    shorter = await make_example(question(1), "train", search, tokenizer, LIMITS, size - 1)
    assert "no sun" not in shorter.prompt
    assert "Snails" in shorter.prompt
    assert len(shorter.prompt_ids) + len(shorter.completion_ids) < size
    with pytest.raises(Unusable, match="more than 50 tokens"):
        await make_example(question(1), "train", search, tokenizer, LIMITS, 50)


async def test_a_rubric_that_holds_the_closing_tag_makes_no_example(model: str) -> None:
    asked = question(1, "What </answer> means")
    with pytest.raises(Unusable, match="tag"):
        await make_example(asked, "train", search, load_tokenizer(model), LIMITS, LONGEST)


async def test_examples_killed_half_way_come_to_the_same_file(model: str, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(model)
    asked: list[tuple[Part, Question]] = [
        ("train", question(1)),
        ("train", question(2, "</answer>")),
        ("train", question(3)),
        ("validation", question(4)),
    ]
    made = []

    async def make(part: Part, one: Question) -> PlannerExample:
        made.append(one.id)
        return await make_example(one, part, search, tokenizer, LIMITS, LONGEST)

    recorded = await write_examples(tmp_path / "whole.jsonl", asked, make)
    assert recorded.examples == {"train": 2, "validation": 1}
    assert list(recorded.left_out) == ["q2"]
    whole = (tmp_path / "whole.jsonl").read_bytes()
    killed = tmp_path / "killed.jsonl"
    killed.write_bytes(whole[: whole.index(b"\n") + 20])
    made.clear()
    assert await write_examples(killed, asked, make) == recorded
    assert killed.read_bytes() == whole
    assert made == ["q2", "q3", "q4"]


async def test_a_part_without_examples_is_refused(model: str, tmp_path: Path) -> None:
    async def make(part: Part, one: Question) -> PlannerExample:
        raise Unusable("it is too long")

    with pytest.raises(DataError, match="no example for train; it is too long"):
        await write_examples(tmp_path / "none.jsonl", [("train", question(1))], make)


def test_a_tenth_of_the_people_is_held_out_whatever_their_order() -> None:
    people = [f"person {number}" for number in range(40)]
    held = held_out(people, seed=0)
    assert len(held) == 4
    assert held_out(people[::-1] * 2, seed=0) == held
    assert held_out(people, seed=1) != held
    assert len(held_out(people[:2], seed=0)) == 1
    with pytest.raises(DataError, match="--validation"):
        held_out(people[:1], seed=0)


def test_a_folder_is_for_one_process(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(FolderInUse), locked(tmp_path):
        pass


def written(file: Path, model: str, asked: Sequence[tuple[Part, Question]]) -> Path:
    tokenizer = load_tokenizer(model)

    async def make(part: Part, one: Question) -> PlannerExample:
        return await make_example(one, part, search, tokenizer, LIMITS, LONGEST)

    asyncio.run(write_examples(file, asked, make))
    return file


@pytest.fixture(scope="module")
def examples(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    asked: list[tuple[Part, Question]] = [("train", question(number)) for number in range(1, 7)]
    asked += [("validation", question(7)), ("validation", question(8, "Shade"))]
    return written(tmp_path_factory.mktemp("examples") / "examples.jsonl", model, asked)


def adapter_weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def certainty(network: Any, example: PlannerExample, tokens: int) -> float:
    """Log-probability of the first tokens of the completion."""
    import torch

    ids = torch.tensor([[*example.prompt_ids, *example.completion_ids[:tokens]]])
    with torch.no_grad():
        logs = network(ids).logits[0, -tokens - 1 : -1].log_softmax(-1)
    return float(logs.gather(1, ids[0, -tokens:, None]).sum())


def test_the_loss_covers_the_tokens_of_the_plan_and_no_others(
    model: str, examples: Path, tmp_path: Path
) -> None:
    trainer = make_trainer(tmp_path, read_examples(examples), model, RECIPE, cpu=True)
    for part, loader in (
        ("train", trainer.get_train_dataloader()),
        ("validation", trainer.get_eval_dataloader()),
    ):
        owed = {one.prompt_ids: one for one in read_examples(examples) if one.part == part}
        for batch in loader:
            rows = zip(batch["input_ids"], batch["labels"], batch["attention_mask"], strict=True)
            for ids, labels, attended in rows:
                length = int(attended.sum())
                example = next(
                    one for prompt, one in owed.items() if tuple(ids[: len(prompt)].tolist()) == prompt
                )
                del owed[example.prompt_ids]
                assert ids[:length].tolist() == [*example.prompt_ids, *example.completion_ids]
                masked = [-100] * len(example.prompt_ids)
                padded = [-100] * (len(ids) - length)
                assert labels.tolist() == [*masked, *example.completion_ids, *padded]
        assert not owed


def test_training_changes_the_adapter_alone_and_goes_on_after_being_killed(
    model: str, examples: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    notes = Notes()
    outcome = train(tmp_path / "run", examples, model, RECIPE, cpu=True, watcher=notes)
    assert notes.steps == list(range(1, 31))
    assert notes.losses[-1] < notes.losses[0] / 2
    assert sorted(notes.validations) == [10, 20, 30]
    assert outcome.validation_loss == min(notes.validations.values())
    assert notes.validations[outcome.step] == outcome.validation_loss
    assert all(".lora_" in name for name in adapter_weights(outcome.adapter))
    assert json.loads((outcome.adapter / "pr2.json").read_text())["prompt_version"] == PROMPT_VERSION
    assert load_tokenizer(str(outcome.adapter)).encode("a") == load_tokenizer(model).encode("a")

    example = next(one for one in read_examples(examples) if one.part == "validation")
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    before = certainty(base, example, 20)
    adapted = PeftModel.from_pretrained(base, outcome.adapter).eval()
    assert certainty(adapted, example, 20) > before + 20

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", examples, model, RECIPE, cpu=True, watcher=Notes(killed_at=15))
    # A checkpoint that was being written when the process died has no state yet.
    (tmp_path / "killed" / "checkpoints" / "checkpoint-15").mkdir()
    again = Notes()
    resumed = train(tmp_path / "killed", examples, model, RECIPE, cpu=True, watcher=again)
    assert again.steps == list(range(11, 31))
    assert resumed.validation_loss == outcome.validation_loss
    weights = adapter_weights(resumed.adapter)
    for name, value in adapter_weights(outcome.adapter).items():
        assert torch.equal(weights[name], value), name


def test_the_weights_of_the_model_itself_stay_as_they_are(model: str, examples: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"steps": 2})
    trainer = make_trainer(tmp_path, read_examples(examples), model, recipe, cpu=True)
    before = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
    trainer.train()
    changed = {name for name, value in trainer.model.named_parameters() if not value.equal(before[name])}
    assert changed
    assert all(".lora_" in name for name in changed)


def test_the_adapter_that_validated_best_is_kept_and_not_the_last(model: str, tmp_path: Path) -> None:
    # The validation example is the opposite of what is learned: it soon gets worse.
    learned: list[tuple[Part, Question]] = [("train", question(number, "a" * 99)) for number in (1, 2)]
    file = written(tmp_path / "examples.jsonl", model, [*learned, ("validation", question(3, "z" * 99))])
    recipe = RECIPE.model_copy(update={"steps": 12, "validate_every": 3, "learning_rate": 0.1})
    notes = Notes()
    outcome = train(tmp_path, file, model, recipe, cpu=True, watcher=notes)
    assert outcome.step < 12
    assert outcome.validation_loss == min(notes.validations.values()) == notes.validations[outcome.step]
    kept = adapter_weights(outcome.adapter)
    best = adapter_weights(tmp_path / "checkpoints" / f"checkpoint-{outcome.step}")
    assert all(best[name].equal(value) for name, value in kept.items())


def test_another_recipe_is_refused_naming_what_differs(model: str, examples: Path, tmp_path: Path) -> None:
    recipe = RECIPE.model_copy(update={"steps": 1})
    train(tmp_path, examples, model, recipe, cpu=True)
    other = recipe.model_copy(update={"learning_rate": 1e-3, "lora_rank": 8})
    with pytest.raises(ChangedConfiguration, match=r"learning_rate: 0\.02 then, 0\.001 now; lora_rank: 16"):
        train(tmp_path, examples, model, other, cpu=True)


def test_the_memory_needed_grows_with_the_batch(model: str) -> None:
    _, small = memory_needed(model, Recipe(batch_size=1), 1_024)
    assert small < memory_needed(model, Recipe(batch_size=2), 1_024)[1]
