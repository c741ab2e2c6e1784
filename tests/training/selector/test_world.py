"""A selector learns to choose: in a made world, on people, topics and words that it was not trained on."""

from pathlib import Path

import pytest

from agent.selecting import Mode, load_selector
from tests.training.selector.world import MEMBERS, World, small_encoder, world
from training.selector import report
from training.selector.measures import Outcome, best_single, outcomes, pool_scores, winning_rates
from training.selector.prepare import prepare
from training.selector.train import Recipe, train

RECIPE = Recipe(
    epochs=1,
    batch_size=8,
    gradient_accumulation=1,
    learning_rate=1e-3,
    warmup=0.1,
    temperature=0.1,
    max_tokens=40,
)


def measured(made: World, folder: Path, modes: tuple[Mode, ...], recipe: Recipe) -> dict[str, Outcome]:
    """Train selectors, print how all strategies do on the test questions, and return their outcomes."""
    scores = pool_scores(MEMBERS, made.test.examples)
    reference = best_single(pool_scores(MEMBERS, made.validation.examples))
    strategies = report.strategies(scores, reference) | report.predictions(scores, made.rankings)
    encoder = str(small_encoder(folder / "encoder"))
    for mode in modes:
        prepare(folder / mode, mode, made.train, made.train.examples, made.validation.examples)
        selector = load_selector(train(folder / mode, encoder, recipe).folder, known=MEMBERS)
        strategies[mode] = report.selected(scores, selector, made.test.examples)
    found = outcomes(scores, strategies, reference)
    print("\n" + report.as_text(scores, found, winning_rates(scores), reference))
    return found


def gains(found: Outcome) -> bool:
    return found.gain_interval is not None and found.gain_interval[0] > 0


def test_the_parts_of_the_world_share_no_people_topics_or_details() -> None:
    made = world(0, train=40, validation=20, test=40)
    people = [
        {one.input.partition(":")[0] for one in part.examples}
        for part in (made.train, made.validation, made.test)
    ]
    assert sum(map(len, people)) == len(set.union(*people))
    learned, held_out = (
        " ".join(one.output for example in part.examples for one in example.members.values())
        for part in (made.train, made.test)
    )
    for topic in ("violin", "kitten", "broken", "mentions"):
        assert topic in learned
        assert topic not in held_out
    assert world(0, train=40, validation=20, test=40) == made


def test_post_gains_over_the_best_single_retriever(tmp_path: Path) -> None:
    made = world(11, train=120, validation=30, test=120)
    assert gains(measured(made, tmp_path, ("post",), RECIPE)["post"])


@pytest.mark.retrievers
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_post_gains_with_every_seed_and_everything_else_is_reported(tmp_path: Path, seed: int) -> None:
    recipe = RECIPE.model_copy(update={"epochs": 2, "learning_rate": 5e-4, "seed": seed})
    found = measured(world(seed, train=160, validation=40, test=200), tmp_path, ("pre", "post"), recipe)
    assert gains(found["post"])
    assert {"random", "oracle, lower bound", "oracle, upper bound", "pre", "WIG", "σ max, z"} <= found.keys()
