"""Metrics of LaMP equal the reference libraries, and the rules for unusable outputs hold."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sklearn import metrics as sklearn

from tests.training.tasks.lamp.records import record
from training.evaluation.records import Assessment, Record
from training.evaluation.task import assess
from training.tasks.lamp.data import Question, parse_question
from training.tasks.lamp.metrics import farthest, macro_f1, metrics_of, rating_of, reward, reward_of, usable
from training.tasks.lamp.schemas import REFERENCES, SCHEMAS, TAGS

CASES = 1_000
WORDS = ["The", "bridge", "opens", "in", "May", "rain,", "again!", "it's", "déjà", "2012", "re-opening"]


def generated(number: int) -> list[tuple[str, str]]:
    """Pairs of reference and response, some of them unusable."""
    draw = random.Random(number)
    labels = SCHEMAS[number].labels

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 8)))

    def pair() -> tuple[str, str]:
        if labels:
            return draw.choice(labels), draw.choice([*labels, f" {draw.choice(labels)}\n", "horror", ""])
        if number == 3:
            responses = [str(draw.randint(1, 5)), f"{draw.uniform(1, 5):.2f}", "nan", "10", "0", "good", ""]
            return str(draw.randint(1, 5)), draw.choice(responses)
        return text(), draw.choice([text(), text(), ""])

    return [pair() for _ in range(CASES)]


async def scores_of(number: int, pairs: list[tuple[str, str]]) -> dict[str, float | None]:
    """The task's scores as a run computes them: assessed one by one, and aggregated."""
    metrics = metrics_of(number)
    blank = replace(parse_question(number, record(number), "file", 1), profile=())
    records = []
    for gold, response in pairs:
        question = replace(blank, output=gold)
        records.append(recorded(question, response, await assess(metrics, question, response)))
    return {metric.name: metric.aggregate(records).score for metric in metrics}


def recorded(question: Question, response: str, assessment: Assessment) -> Record:
    return Record(
        question.id, question.category, "", response, "answered", assessment, 0, 0, 0, 0, 0, 0.0
    )  # fmt: skip


@pytest.mark.parametrize("number", [1, 2])
async def test_accuracy_and_macro_f1_equal_scikit_learn(number: int) -> None:
    pairs = generated(number)
    labels = SCHEMAS[number].labels
    golds = [labels.index(gold) for gold, _ in pairs]
    found = [labels.index(response.strip()) if response.strip() in labels else -1 for _, response in pairs]
    expected = sklearn.f1_score(
        golds, found, labels=list(range(len(labels))), average="macro", zero_division=0
    )
    assert await scores_of(number, pairs) == pytest.approx(
        {"accuracy": sklearn.accuracy_score(golds, found), "f1": expected}, abs=1e-12
    )


async def test_errors_of_ratings_equal_scikit_learn() -> None:
    pairs = generated(3)
    golds = [float(gold) for gold, _ in pairs]
    found = [
        farthest(float(gold)) if (rating := rating_of(response)) is None else rating
        for gold, response in pairs
    ]
    expected = {
        "mae": sklearn.mean_absolute_error(golds, found),
        "rmse": sklearn.root_mean_squared_error(golds, found),
    }
    assert await scores_of(3, pairs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("number", [4, 5, 6, 7])
async def test_rouge_is_the_plain_mean_of_rouge_score(number: int) -> None:
    pairs = generated(number)
    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=False)
    scored = [scorer.score(gold, response) for gold, response in pairs]
    expected = {
        name: math.fsum(one[kind].fmeasure for one in scored) / CASES
        for name, kind in (("rouge-1", "rouge1"), ("rouge-L", "rougeL"))
    }
    assert await scores_of(number, pairs) == pytest.approx(expected, abs=1e-12)


def test_macro_f1_is_over_all_labels_also_those_that_never_occur() -> None:
    assert len(TAGS) == 15
    assert macro_f1(["comedy"], ["comedy"], TAGS) == pytest.approx(1 / 15)
    assert macro_f1(["[1]", "[2]"], ["[1]", None], REFERENCES) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("response", "rating"),
    [("4", 4.0), (" 4.5\n", 4.5), ("1", 1.0), ("5", 5.0)]
    + [(text, None) for text in ("nan", "10", "inf", "-1", "0.99", "5.01", "four", "", "4 stars")],
)
def test_ratings(response: str, rating: float | None) -> None:
    assert rating_of(response) == rating
    assert usable(3, response) == (rating is not None)


@pytest.mark.parametrize(("gold", "rating"), [(1, 5), (2, 5), (3, 5), (4, 1), (5, 1)])
def test_an_unusable_rating_counts_as_the_one_farther_away(gold: float, rating: float) -> None:
    assert farthest(gold) == rating
    expected = 1 - abs(rating - gold) / max(abs(1 - gold), abs(5 - gold))
    assert reward(3, str(gold), "none") == expected == 0


@pytest.mark.parametrize(
    ("gold", "response", "expected"),
    [("5", "5", 1.0), ("5", "3", 0.5), ("3", "4", 0.5), ("2", "1", 2 / 3), ("1", "5", 0.0)],
)
def test_reward_of_a_rating(gold: str, response: str, expected: float) -> None:
    assert reward(3, gold, response) == pytest.approx(expected)


@given(number=st.sampled_from(sorted(SCHEMAS)), response=st.text(max_size=20), data=st.data())
def test_rewards_lie_between_0_and_1_and_the_reference_has_the_best(
    number: int, response: str, data: st.DataObject
) -> None:
    golds = SCHEMAS[number].labels or (("1", "2", "3", "4", "5") if number == 3 else ("a word", "two"))
    gold = data.draw(st.sampled_from(golds))
    assert 0 <= reward(number, gold, response) <= 1
    assert reward(number, gold, gold) == 1


async def test_an_assessment_says_what_was_unusable_and_what_leaked() -> None:
    question = replace(parse_question(2, record(2), "file", 1), output="comedy")
    assessment = await assess(metrics_of(2), question, "horror")
    assert assessment.scores == {"accuracy": 0.0, "f1": 0.0}
    assert assessment.details == {
        "gold": "comedy",
        "usable": False,
        "holds_output": False,
        "holds_input": False,
        "later_entries": None,
    }
    stored = recorded(question, "horror", assessment)
    assert Record.from_dict(stored.to_dict()) == stored


@pytest.mark.parametrize(
    ("number", "gold", "response", "expected"),
    [(2, "comedy", "comedy", 1.0), (3, "5", "3", 0.5), (4, "a b", "a", 2 / 3)],
)
async def test_the_reward_of_a_record(number: int, gold: str, response: str, expected: float) -> None:
    question = replace(parse_question(number, record(number), "file", 1), output=gold)
    assessment = await assess(metrics_of(number), question, response)
    assert reward_of(recorded(question, response, assessment)) == pytest.approx(expected)
