import random
from contextlib import aclosing

import pytest
import torch

from agent.driver import drive
from agent.episode import Episode
from agent.trajectory import Information
from training.demo import world
from training.demo.demonstrations import Demonstrator
from training.demo.engine import BatchedPolicy, generate
from training.demo.model import Shape, TinyLlama
from training.demo.rollout import Rollout, roll_out
from training.demo.trainer import Sample, Trainer, loss, sample_of
from training.demo.vocabulary import INSTRUCTIONS, LIMITS, Vocabulary

VOCABULARY = Vocabulary()
USER = world.User(random.Random(0), "train")
TASKS = [world.sample_task(random.Random(seed), USER, seed % 4) for seed in range(12)]


@pytest.fixture
def model() -> TinyLlama:
    torch.manual_seed(0)
    return TinyLlama(len(VOCABULARY), Shape(width=32, layers=2, heads=2, hidden=64, products=torch.float32))


@pytest.fixture
async def searcher(model: TinyLlama) -> TinyLlama:
    """A model trained until it searches, so that its episodes include information blocks."""
    tasks = TASKS[1:4]
    trainer = Trainer(model, learning_rate=1e-2, steps=60, warm_up=5)
    shown = await roll_out(tasks, [Demonstrator(task, random.Random(0), VOCABULARY) for task in tasks])
    for _ in range(60):
        trainer.step([sample_of(outcome.trajectory) for outcome in shown])
    return model


def test_a_batch_writes_the_same_tokens_as_each_prompt_alone(model: TinyLlama) -> None:
    rng = random.Random(0)
    prompts = [[rng.randrange(len(VOCABULARY)) for _ in range(rng.randrange(1, 40))] for _ in range(9)]
    budgets = [rng.randrange(1, 12) for _ in prompts]
    stops = tuple(range(40))
    together = generate(model, prompts, max_tokens=budgets, stops=stops, generator=None)
    alone = [
        generate(model, [prompt], max_tokens=[budget], stops=stops, generator=None)[0]
        for prompt, budget in zip(prompts, budgets, strict=True)
    ]
    assert together == alone
    assert len({len(ids) for ids in together}) > 1
    for ids, budget in zip(together, budgets, strict=True):
        assert len(ids) == budget or ids[-1] in stops
        assert not set(ids[:-1]) & set(stops)


def test_the_cache_gives_what_the_whole_row_gives(model: TinyLlama) -> None:
    prompt = [5, 9, 2, 7]
    written = generate(model, [prompt], max_tokens=[6], stops=(), generator=None)[0]
    states = model(torch.tensor([prompt + written]))
    assert model.logits(states)[0, 3:-1].argmax(-1).tolist() == written


async def test_turns_asked_for_at_the_same_time_are_sampled_again_with_the_same_seed(
    model: TinyLlama,
) -> None:
    async def sampled(seed: int) -> list[Rollout]:
        policy = BatchedPolicy(model, VOCABULARY, torch.Generator().manual_seed(seed))
        return await roll_out(TASKS, [policy] * len(TASKS))

    first, again, other = [await sampled(seed) for seed in (1, 1, 2)]
    assert [o.trajectory.transcript for o in first] == [o.trajectory.transcript for o in again]
    assert [o.trajectory.transcript for o in first] != [o.trajectory.transcript for o in other]


async def test_a_transcript_is_the_tokens_that_were_read_and_sampled(searcher: TinyLlama) -> None:
    policy = BatchedPolicy(searcher, VOCABULARY)
    for outcome in await roll_out(TASKS[1:4], [policy] * 3):
        trajectory = outcome.trajectory
        assert trajectory.searches
        for segment in trajectory.segments:
            assert segment.token_ids is not None
            assert VOCABULARY.decode(segment.token_ids) == segment.text


async def test_only_sampled_tokens_have_a_gradient(searcher: TinyLlama) -> None:
    policy = BatchedPolicy(searcher, VOCABULARY, torch.Generator().manual_seed(0))
    outcomes = await roll_out(TASKS[1:4], [policy] * 3)
    assert any(outcome.trajectory.searches for outcome in outcomes)
    for outcome in outcomes:
        trajectory = outcome.trajectory
        sample = sample_of(trajectory, weight=0.7)
        authors = [segment.author for segment in trajectory.segments for _ in segment.token_ids or ()]
        assert list(sample.ids) == [
            token for segment in trajectory.segments for token in segment.token_ids or ()
        ]
        gradients = _gradients(searcher, sample)
        for position, author in enumerate(authors[1:]):
            touched = bool(gradients[position].abs().sum() > 0)
            assert touched == (author == "policy"), position


async def test_a_block_that_the_policy_had_no_tokens_left_to_read_is_not_trained() -> None:
    demonstrator = Demonstrator(TASKS[2], random.Random(0), VOCABULARY)
    episode = Episode(TASKS[2].question.question, INSTRUCTIONS, LIMITS)
    async with aclosing(drive(episode, demonstrator, USER.search)) as events:
        async for event in events:
            if isinstance(event, Information):
                break
    segments = episode.trajectory.segments
    assert [segment.author for segment in segments] == ["environment", "policy", "environment"]
    assert sample_of(episode.trajectory).ids == (segments[0].token_ids or ()) + (segments[1].token_ids or ())


def _gradients(model: TinyLlama, sample: Sample) -> torch.Tensor:
    """Gradient of the loss with respect to the states that predict each token but the first."""
    kept: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, inputs: object, states: torch.Tensor) -> None:
        states.retain_grad()
        kept.append(states)

    hook = model.norm.register_forward_hook(keep)
    torch.autograd.backward(loss(model, [sample]))
    hook.remove()
    gradient = kept[0].grad
    assert gradient is not None
    return gradient[0]
