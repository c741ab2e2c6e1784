"""A small version of `make test-retrievers`, and the claims that it checks."""

from pathlib import Path

import pytest

from training.retriever.demo import Outcome, Plan, Setting, learn, table
from training.retriever.questions import Method
from training.retriever.worlds import Vocabulary, people, vocabularies

PLAN = Plan(held_out=100, errors=0.1)


@pytest.mark.parametrize("method", ["ropg-kd", "ropg-rl"])
def test_held_out_people_get_what_is_useful_instead_of_what_is_similar(small: Path, method: Method) -> None:
    outcome = learn(small, (0, "things", method), PLAN)
    assert sum(outcome.before) / len(outcome.before) < 0.3
    assert not list(outcome.shortfalls())


def outcome(setting: Setting, before: float, after: float) -> Outcome:
    """Of 100 people, a share whose first document is useful."""
    first, second = (
        [1.0] * round(100 * share) + [0.0] * round(100 * (1 - share)) for share in (before, after)
    )
    return Outcome(7, setting, "ropg-kd", first, second)


@pytest.mark.parametrize(
    ("setting", "before", "after", "why"),
    [
        ("things", 0.2, 0.6, None),
        ("things", 0.2, 0.59, "closes 49% of the gap"),
        ("things, shuffled feedback", 0.2, 0.2, None),
        ("things, shuffled feedback", 0.2, 0.4, "does not hold 0"),
        ("things, shuffled feedback", 0.4, 0.2, "does not hold 0"),
        ("places", 0.8, 0.79, None),
        ("places", 0.8, 0.77, "loses 0.030"),
    ],
)
def test_a_claim_that_does_not_hold_is_said(
    setting: Setting, before: float, after: float, why: str | None
) -> None:
    found = list(outcome(setting, before, after).shortfalls())
    assert len(found) == (why is not None)
    assert why is None or f"seed 7, {setting}, ropg-kd" in found[0]
    assert why is None or why in found[0]


def test_the_table_has_a_row_for_each_training() -> None:
    rows = table([outcome("things", 0.2, 0.6), outcome("places", 0.8, 0.8)]).splitlines()
    assert len(rows) == 4
    assert rows[2].startswith("| 7 | things | ropg-kd | 0.200 | 0.600 | +0.400 [")
    assert rows[2].endswith("| 50% |")


def words(vocabulary: Vocabulary) -> set[str]:
    return {*vocabulary.things, *vocabulary.cities, *vocabulary.spots}


def test_no_word_of_the_held_out_people_occurs_in_training() -> None:
    trained_on, held_out = vocabularies(0)
    assert not words(trained_on) & words(held_out)
    assert words(vocabularies(1)[0]) != words(trained_on)


def test_the_worlds_differ_in_what_is_useful_alone() -> None:
    import numpy as np

    things, places = (
        people(world, vocabularies(0)[0], 20, np.random.default_rng(1)) for world in ("things", "places")
    )
    for one, other in zip(things, places, strict=True):
        assert one.query == other.query
        assert [document.text for document in one.documents] == [each.text for each in other.documents]
        useful = [document for document in one.documents if document.utility]
        similar = [document for document in other.documents if document.utility]
        assert (len(useful), len(similar), len(one.documents)) == (2, 3, 11)
        assert not {document.text for document in useful} & {document.text for document in similar}
