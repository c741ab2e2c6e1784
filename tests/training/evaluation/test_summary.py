import random
from collections.abc import Sequence
from fractions import Fraction
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.records import SCORE, AspectScore, Record, by_rubric
from training.evaluation.summary import ScoreSummary, as_text, mean_score, summarize

Scored = Sequence[int | None]


def record(name: str, scores: Scored, category: str = "c", response: str = "…") -> Record:
    aspects = tuple(AspectScore(f"{name}-{number}", score) for number, score in enumerate(scores))
    return Record(name, category, "?", response, "answered", by_rubric(aspects), 1, 2, 3, 4, 5, 6.0)


def summed(records: Sequence[Record]) -> ScoreSummary:
    return summarize(partial(mean_score, SCORE), lambda: records)


_verdicts = st.dictionaries(
    st.sampled_from(["art", "lifestyle", "society", "work"]),
    st.lists(st.lists(st.sampled_from([0, 1, 2, None]), min_size=1, max_size=7), min_size=1, max_size=12),
)


def _average(numbers: Sequence[Fraction]) -> Fraction | None:
    return sum(numbers, Fraction()) / len(numbers) if numbers else None


def _reference(questions: Sequence[Scored], partly: bool) -> Fraction | None:
    """LaMP-QA, section 3: an aspect's score over 2, averaged over a question's aspects, then questions."""
    scores = []
    for aspects in questions:
        judged = [Fraction(score, 2) for score in aspects if score is not None]
        if judged and (partly or len(judged) == len(aspects)):
            scores.append(sum(judged, Fraction()) / len(judged))
    return _average(scores)


def _equal(got: float | None, wanted: Fraction | None) -> bool:
    if got is None or wanted is None:
        return got is None and wanted is None
    return abs(Fraction(got) - wanted) < Fraction(1, 10**12)


@given(_verdicts, st.randoms(use_true_random=False))
def test_scores_are_those_of_the_published_definition(
    verdicts: dict[str, list[Scored]], order: random.Random
) -> None:
    records = [
        record(f"{category}{number}", aspects, category)
        for category, questions in verdicts.items()
        for number, aspects in enumerate(questions)
    ]
    result = summed(records)
    order.shuffle(records)
    assert summed(records) == result
    assert list(result.categories) == sorted(verdicts)
    for partly in (False, True):
        means = {name: _reference(questions, partly) for name, questions in verdicts.items()}
        for name, part in result.categories.items():
            assert _equal(part.score_of_judged if partly else part.score, means[name])
        known = [mean for mean in means.values() if mean is not None]
        macro = _average(known) if len(known) == len(means) else None
        assert _equal(result.macro.score_of_judged if partly else result.macro.score, macro)
    for name, questions in verdicts.items():
        part = result.categories[name]
        assert part.questions == len(questions)
        assert part.unjudged_aspects == sum(score is None for aspects in questions for score in aspects)
        assert part.unjudged_questions == sum(None in aspects for aspects in questions)
    assert result.macro.questions == len(records)
    assert result.macro.unjudged_aspects == sum(p.unjudged_aspects for p in result.categories.values())


def test_unjudged_questions_are_given_with_and_without() -> None:
    result = summed([record("a", [2, None]), record("b", [0, 1]), record("c", [None])])
    (part,) = result.categories.values()
    assert (part.score, part.score_of_judged) == (0.25, (1 + 0.25) / 2)
    assert (part.questions, part.unjudged_aspects, part.unjudged_questions) == (3, 2, 2)


def test_the_macro_average_counts_each_category_once() -> None:
    records = [record(f"a{number}", [2], "a") for number in range(9)] + [record("b", [0], "b")]
    assert summed(records).macro.score == 0.5


def test_no_records_have_no_score() -> None:
    assert summed([]).macro.score is None
    assert summed([]).categories == {}


def test_a_summary_is_a_table_and_shows_what_is_unjudged() -> None:
    table = as_text(summed([record("a", [2, 1], "art"), record("b", [0], "society")]))
    assert table.splitlines() == [
        "category       questions   score",
        "art                    1  0.7500",
        "society                1  0.0000",
        "macro average          2  0.3750",
    ]
    table = as_text(summed([record("a", [2, None], "art"), record("b", [0], "society")]))
    assert table.splitlines() == [
        "category       questions   score  judged only  unjudged aspects",
        "art                    1       -       1.0000                 1",
        "society                1  0.0000       0.0000                 0",
        "macro average          2       -       0.5000                 1",
    ]
