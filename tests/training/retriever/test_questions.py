"""Which questions are used, how people are split, and how ragged questions become tensors."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.feedback.records import Feedback, Judged
from training.retriever.questions import TooLittleFeedback, collate, gumbel, hold_out, usable

utilities = st.lists(st.none() | st.floats(0, 1), max_size=6)


def question(name: str, utility: list[float | None], user: str | None = None) -> Feedback:
    documents = tuple(Judged(f"{n}", f"{name} {n}", value) for n, value in enumerate(utility))
    return Feedback(name, f"query {name}", documents, user)


def test_questions_that_teach_nothing_are_left_out_and_counted() -> None:
    records = [
        question("whole", [0.0, 1.0, 0.5]),
        question("no baseline", [None, 1.0, 0.5]),
        question("one", [1.0, None]),
        question("empty", []),
        question("beyond the cut", [1.0, None, None, 0.0]),
    ]
    few, baseline = (
        "fewer than two documents have feedback",
        "the first document, the baseline, has no feedback",
    )
    distilled, reinforced = usable(records, "ropg-kd", 3), usable(records, "ropg-rl", 3)
    assert [each.id for each in distilled.used] == ["whole", "no baseline"]
    assert distilled.left_out == {few: 3}
    assert [each.id for each in reinforced.used] == ["whole"]
    assert reinforced.left_out == {few: 3, baseline: 1}
    assert len(usable([question("long", [0.0] * 20)], "ropg-kd", 16).used[0].documents) == 16
    assert len(usable([question("long", [0.0] * 20)], "ropg-kd").used[0].documents) == 20


@given(st.lists(st.none() | st.sampled_from("abcdef"), min_size=2, max_size=20), st.floats(0.01, 0.99))
def test_a_person_is_on_one_side_of_the_split(users: list[str | None], share: float) -> None:
    questions = [question(f"q{n}", [0.0, 1.0], user) for n, user in enumerate(users)]
    people = {user or n for n, user in enumerate(users)}
    if len(people) < 2:
        with pytest.raises(TooLittleFeedback, match="1 people"):
            hold_out(questions, share, 0)
        return
    train, held_out = hold_out(questions, share, 0)
    assert sorted([*train, *held_out], key=lambda each: each.id) == sorted(questions, key=lambda q: q.id)
    assert train
    assert held_out
    assert not {each.user for each in train if each.user} & {each.user for each in held_out if each.user}
    assert (train, held_out) == hold_out(questions, share, 0)


def test_the_share_counts_people() -> None:
    questions = [question(f"q{n}", [0.0, 1.0], f"user {n // 3}") for n in range(60)]
    _, held_out = hold_out(questions, 0.25, 1)
    assert len(held_out) == 15


@given(st.lists(utilities.filter(bool), min_size=1, max_size=5))
def test_a_batch_holds_each_document_once_and_masks_the_rest(rows: list[list[float | None]]) -> None:
    batch = collate([question(f"q{n}", utility) for n, utility in enumerate(rows)])
    for row, utility in enumerate(rows):
        for column in range(batch.judged.shape[1]):
            given_value = utility[column] if column < len(utility) else None
            assert bool(batch.judged[row, column]) == (given_value is not None)
            assert float(batch.utility[row, column]) == pytest.approx(given_value or 0.0)
            if column < len(utility):
                assert batch.documents[int(batch.places[row, column])] == f"q{row} {column}"
    assert batch.queries == [f"query q{n}" for n in range(len(rows))]


def test_noise_depends_on_the_question_alone() -> None:
    both = gumbel([7, 3], 5, (0, 1))
    torch.testing.assert_close(both[1:], gumbel([3], 5, (0, 1)), rtol=0, atol=0)
    torch.testing.assert_close(both[:, :2], gumbel([7, 3], 2, (0, 1)), rtol=0, atol=0)
    assert not torch.equal(both[1], gumbel([3], 5, (0, 2))[0])
