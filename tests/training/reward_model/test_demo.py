"""The made world, a small version of `make test-reward-model`, and the claims that it checks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.reward_model.contrasts import Contrast, contrasts
from training.reward_model.demo import SIZES, Outcome, Plan, Variant, accuracies, learn, shuffled, worths
from training.reward_model.measures import Accuracy
from training.reward_model.records import Response
from training.reward_model.small import write_small_encoder
from training.reward_model.worlds import (
    DEFAULT,
    KINDS,
    QUALITIES,
    WITH_PROFILE,
    Person,
    Vocabulary,
    pairs,
    people,
    sampled,
    vocabularies,
    worth,
    write,
)

PERSON = Person("a", ("hello", "truly", "cheers"), ("hello , nothing new from me , cheers",))
SMALL = Plan(people=120, held_out=60, asked=5, epochs=4, batch_size=12, learning_rate=1.5e-3)


def words(vocabulary: Vocabulary) -> set[str]:
    return {word for words in (*vocabulary.kinds.values(), *vocabulary.manners) for word in words}


def test_no_thing_or_manner_of_the_held_out_people_occurs_in_training() -> None:
    trained_on, held_out = vocabularies(0)
    assert not words(trained_on) & words(held_out)
    assert words(vocabularies(1)[0]) != words(trained_on)
    assert vocabularies(0) == (trained_on, held_out)


def test_no_word_stands_for_two_things_so_that_worth_can_be_read_off() -> None:
    everything = [word for things in KINDS.values() for word in things] + [*QUALITIES, *DEFAULT]
    everything += [word for manner in vocabularies(0) for words in manner.manners for word in words]
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("hello , a mango is truly fine , cheers", 1.0),
        ("here , a mango is just fine , done", 0.5),
        ("hello , a violin is truly fine , cheers", 0.5),
        ("here , a mango is truly fine , done", 0.5 + 1 / 6),
        ("here , a mango and a violin , done", 0.0),
        ("hello hello hello", 1 / 6),
        ("hello , nothing new from me , cheers", 1 / 3),
        ("", 0.0),
    ],
)
def test_worth_is_content_and_the_share_of_the_manner(answer: str, expected: float) -> None:
    assert worth(PERSON, "fruit", answer) == pytest.approx(expected)


def test_every_part_of_a_manner_stands_in_the_history() -> None:
    for person in people(vocabularies(3)[1], 20, "a", np.random.default_rng(0)):
        assert set(person.manner) <= {word for note in person.history for word in note.split()}


def test_answers_follow_what_was_shown_and_only_the_history_tells_whose_manner_it_is() -> None:
    trained_on, _ = vocabularies(0)
    random = np.random.default_rng(0)
    perfect = replace(WITH_PROFILE, right=1.0, follows=1.0, pads=0.0)
    assert worth(PERSON, "fruit", write("fruit", PERSON.manner, perfect, trained_on, random)) == 1.0
    asking = people(trained_on, 30, "a", random)
    manners = {person.name: set(person.manner) for person in asking}
    made = pairs(asking, 2, trained_on, random)
    assert len(made) == 60
    assert len({pair.id for pair in made}) == 60
    followed = dict.fromkeys(("personalized", "plain", "other"), 0)
    for pair in made:
        for side in followed:
            followed[side] += len(manners[pair.user] & set(getattr(pair, side).split()))
    # Of 180 parts: .85 and more, none but by chance, none but by chance.
    assert followed["personalized"] > 140
    assert followed["plain"] < 30
    assert followed["other"] < 40


def test_answers_to_one_question_end_with_copies_of_the_history() -> None:
    responses, worths = sampled(PERSON, 5, vocabularies(0)[0], np.random.default_rng(0))
    assert len(responses) == len(worths) == 6
    assert len({response.question for response in responses}) == 1
    assert responses[-1].answer == PERSON.history[0]
    assert worths[-1] == pytest.approx(1 / 3)


def test_shuffled_histories_are_never_the_persons_own() -> None:
    random = np.random.default_rng(0)
    made = pairs(people(vocabularies(0)[0], 5, "a", random), 2, vocabularies(0)[0], random)
    histories = {pair.user: pair.history for pair in made}
    found = contrasts(made, "plain", "other")
    for before, after in zip(found, shuffled(found), strict=True):
        assert after.better.history == after.worse.history != histories[after.user]
        assert after == Contrast(
            before.user,
            replace(before.better, history=after.better.history),
            Response(before.worse.question, before.worse.answer, after.better.history),
        )


def test_held_out_people_are_told_apart_by_their_histories_alone(tmp_path: Path) -> None:
    outcome = learn(write_small_encoder(tmp_path / "small", width=64), (11, "user-aware"), SMALL)
    assert outcome.matched.interval is not None
    assert outcome.matched.interval[0] > 0.5
    assert outcome.own.interval is not None
    assert outcome.own.interval[0] > 0.5
    assert outcome.shuffled.interval is not None
    low, high = outcome.shuffled.interval
    assert low < 0.5 < high
    assert {n: len(values) for n, values in outcome.best.items()} == dict.fromkeys(SIZES, 5)


def made_up(
    variant: Variant = "user-aware",
    matched: float = 0.9,
    own: float = 0.8,
    others: float = 0.5,
    best: tuple[float, ...] = (0.4, 0.5, 0.6, 0.6, 0.7, 0.7, 0.8),
) -> Outcome:
    def found(value: float) -> Accuracy:
        return Accuracy(value, (value - 0.05, value + 0.05), 100)

    by_size = {n: [value, value] for n, value in zip(SIZES, best, strict=True)}
    return Outcome(7, variant, found(matched), found(own), found(others), by_size, by_size)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (made_up(), None),
        (made_up(matched=0.54), "length-matched accuracy 0.540"),
        (made_up("published", matched=0.54), "length-matched accuracy 0.540"),
        (made_up("published", own=0.5, others=0.6, best=(0.5,) * 7), None),
        (made_up(own=0.69), "own against another's profile 0.690"),
        (made_up(others=0.56), "with the histories of others 0.560"),
        (made_up(others=0.44), "with the histories of others 0.440"),
        (
            made_up(best=(0.4, 0.5, 0.6, 0.6, 0.7, 0.6, 0.8)),
            "the best of 32 is worth less than the best of 16",
        ),
        (made_up(best=(0.5,) * 7), "the best of 64 is worth no more than any answer"),
    ],
)
def test_a_claim_that_does_not_hold_is_said(outcome: Outcome, why: str | None) -> None:
    found = list(outcome.shortfalls())
    assert len(found) == (why is not None)
    assert why is None or f"seed 7, {outcome.variant}: {why}" in found[0]


def test_the_tables_have_rows_for_each_training() -> None:
    rows = accuracies([made_up(), made_up("published")]).splitlines()
    assert len(rows) == 4
    assert rows[2].startswith("| 7 | user-aware | 0.900 [0.850, 0.950], 100 pairs | 0.800")
    rows = worths([made_up()]).splitlines()
    assert len(rows) == 4
    assert rows[2].startswith("| 7 | user-aware | written | 0.400 [0.400, 0.400] |")
    assert rows[3].startswith("| 7 | user-aware | and copies | 0.400")
