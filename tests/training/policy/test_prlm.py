import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.episode import Episode
from agent.trajectory import Limits, Trajectory
from tests.training.policy.episodes import played
from training.policy.prlm import (
    Weights,
    is_placeholder,
    is_well_formed,
    parts,
    rouge_quality,
    sigmoid,
)

SCORES = st.floats(allow_nan=False, allow_infinity=False)
UNIT = st.floats(0, 1)


@given(SCORES)
def test_sigmoid_never_overflows_and_is_symmetric(s: float) -> None:
    assert 0 <= sigmoid(s) <= 1
    assert sigmoid(s) + sigmoid(-s) == pytest.approx(1)


@given(UNIT, st.booleans(), SCORES, UNIT, UNIT)
def test_the_reward_model_adds_at_most_its_weight(
    quality: float, well_formed: bool, s: float, form: float, preference: float
) -> None:
    weights = Weights(form, preference)
    total = parts("yes", quality, well_formed=well_formed, s=s).total(weights)
    without = quality + form * well_formed
    assert total is not None
    assert -1e-12 <= total - without <= preference + 1e-12


def test_the_defaults_are_the_papers() -> None:
    assert parts("yes", 0.5, well_formed=True, s=0.0).total(Weights()) == pytest.approx(0.5 + 0.1 + 0.05)
    assert parts("yes", 0.5, well_formed=False, s=math.log(3)).total(Weights()) == pytest.approx(0.575)


@pytest.mark.parametrize("s", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_refused(s: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        parts("yes", 0.5, well_formed=True, s=s)


def test_a_part_that_is_missing_leaves_no_total() -> None:
    assert parts("yes", 0.5, well_formed=True, s=None).total(Weights()) is None
    assert parts("yes", None, well_formed=True, s=1.0).total(Weights()) is None


@pytest.mark.parametrize(
    "answer",
    [
        "",
        " \n",
        "...",
        "…",
        "[1]",
        "[1, 2] [3].",
        "<your title>",
        "[title]",
        "{title}",
        "Your answer here.",
        "N/A",
    ],
)
@given(s=SCORES)
def test_nothing_and_a_placeholder_get_nothing_from_the_reward_model(answer: str, s: float) -> None:
    assert is_placeholder(answer)
    assert parts(answer, 0.0, well_formed=False, s=s).total(Weights()) == 0.0


@pytest.mark.parametrize(
    "answer", ["Green tea [1].", "None of them", "My title", "绿茶", "2", "Vec<T> in Rust", "The [best] day"]
)
def test_an_answer_is_no_placeholder(answer: str) -> None:
    assert not is_placeholder(answer)


@pytest.mark.parametrize("weights", [(-0.1, 0.1), (0.1, math.nan), (math.inf, 0.1)])
def test_weights_are_finite_and_not_negative(weights: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="weights"):
        Weights(*weights)


def test_quality_is_the_mean_or_the_papers_sum_of_three_rouges() -> None:
    answer, reference = "green tea at night", "green tea in the morning"
    # ROUGE-1: 2 of 4 and 2 of 5; ROUGE-2: 1 of 3 and 1 of 4; ROUGE-L: green tea.
    one, two, longest = 4 / 9, 2 / 7, 4 / 9
    assert rouge_quality(answer, reference) == pytest.approx((one + two + longest) / 3)
    assert rouge_quality(answer, reference, "rouge-sum") == pytest.approx(one + two + longest)
    assert rouge_quality(reference, reference, "rouge-sum") == pytest.approx(3)
    assert rouge_quality("", reference) == 0


def test_marks_of_citations_do_not_count_as_words() -> None:
    assert rouge_quality("Green tea [1].", "green tea") == 1.0


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (["<think>So.</think><answer>Tea.</answer>"], True),
        (["<think>So.</think>\n\n<answer>Tea.</answer>"], True),
        (["<answer>Tea.</answer>"], False),
        (["<think> </think><answer>Tea.</answer>"], False),
        (["Well: <think>So.</think><answer>Tea.</answer>"], False),
        (["<think>So.</think></search><answer>Tea.</answer>"], False),
        (["<think>So.</think><answer></answer>"], False),
        (["<think>So.<answer>Tea.</answer>"], False),
        (["<think>So.</think>Tea."], False),
        (["<think>I look.</think><search>tea</search>", "<think>So.</think><answer>Tea.</answer>"], True),
        (["<think>I look.</think><search>tea</search>", "<answer>Tea.</answer>"], False),
    ],
)
def test_the_form_is_that_of_the_episodes_own_parser(turns: list[str], expected: bool) -> None:
    assert is_well_formed(played(turns)) is expected


def test_an_answer_that_was_cut_off_is_not_well_formed() -> None:
    episode = Episode("?", limits=Limits())
    episode.feed("<think>So.</think><answer>Tea and")
    episode.cut_off("max_tokens")
    assert episode.trajectory.answer is not None
    assert not is_well_formed(episode.trajectory)


def test_a_trajectory_without_steps_is_not_well_formed() -> None:
    assert not is_well_formed(Trajectory("?", Limits()))
