"""Agreement of a judge with people: kappa against scikit-learn's, and invalid files of ratings."""

import json
import math
import random
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.fabricated_runs import write_run
from training.evaluation.records import AspectScore, Record, by_rubric
from training.judging.agreement import FEW, Compared, Estimate, agreement, as_text
from training.judging.forms import InvalidFile, write_form
from training.tasks.lampqa.data import Question

# Not a dependency of this project, but of its dependencies.
metrics = pytest.importorskip("sklearn.metrics")


def record(number: int, scores: Sequence[int | None]) -> Record:
    return Record(
        id=f"q{number:03}",
        category="Lifestyle",
        question=f"What about thing {number}?",
        response=f"Answer {number}.\nWith é, 茶 and \u2028 in it.",
        finish_reason="answered",
        assessment=by_rubric([AspectScore(f"aspect {n}", score) for n, score in enumerate(scores)]),
        searches=1,
        documents_read=3,
        profile_size=30,
        prompt_tokens=0,
        policy_tokens=0,
        latency_ms=1.0,
    )


def question(record: Record) -> Question:
    aspects = [
        {"aspect": aspect.aspect, "reason": f"reason {n}", "evidence": f"evidence {n}"}
        for n, aspect in enumerate(record.aspects)
    ]
    return Question.model_validate(
        {
            "id": record.id,
            "question": record.question,
            "category": record.category,
            "narrative": f"The story behind {record.id}.",
            "rubric_aspects": aspects,
            "profile": [{"id": "1", "text": "A note."}],
        }
    )


def run(folder: Path, verdicts: Sequence[Sequence[int | None]]) -> tuple[Path, list[Record]]:
    records = [record(number, scores) for number, scores in enumerate(verdicts)]
    return write_run(folder / "run", records, trajectories=False), records


def file_of(folder: Path, lines: Iterable[Any]) -> Path:
    file = folder / "ratings.jsonl"
    file.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return file


def rated(number: int, aspect: int, score: object, **more: object) -> dict[str, object]:
    return {"id": f"q{number:03}", "aspect": f"aspect {aspect}", "score": score, **more}


def kappas(first: Sequence[int], second: Sequence[int]) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return (
            metrics.cohen_kappa_score(first, second, labels=[0, 1, 2]),
            metrics.cohen_kappa_score(first, second, labels=[0, 1, 2], weights="quadratic"),
        )


def noisy(chance: random.Random, score: int, accuracy: float) -> int:
    return score if chance.random() < accuracy else chance.randrange(3)


@pytest.mark.parametrize("accuracy", [0.0, 0.3, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_agreement_with_the_judge_is_scikit_learns(tmp_path: Path, seed: int, accuracy: float) -> None:
    chance = random.Random(seed)
    verdicts = [[chance.randrange(3) for _ in range(chance.randrange(1, 6))] for _ in range(25)]
    folder, _ = run(tmp_path, verdicts)
    people = [[noisy(chance, score, accuracy) for score in scores] for scores in verdicts]
    file = file_of(tmp_path, [rated(n, a, s) for n, row in enumerate(people) for a, s in enumerate(row)])
    found = agreement(folder, file)

    theirs, ours = list(chain(*people)), list(chain(*verdicts))
    kappa, weighted = kappas(theirs, ours)
    compared = found.with_judge
    assert compared.kappa.value == pytest.approx(kappa, abs=1e-12)
    assert compared.weighted_kappa.value == pytest.approx(weighted, abs=1e-12)
    assert compared.exact.value == pytest.approx(metrics.accuracy_score(theirs, ours), abs=1e-12)
    assert found.table == tuple(map(tuple, metrics.confusion_matrix(theirs, ours, labels=[0, 1, 2])))
    assert compared.pairs == compared.aspects == found.ratings == found.rated_aspects == len(ours)
    assert (found.raters, found.unjudged, found.unfilled, found.between_raters) == (1, 0, 0, None)
    for estimate in (compared.exact, compared.kappa, compared.weighted_kappa):
        assert estimate.value is not None
        assert estimate.interval is not None
        assert estimate.interval[0] - 1e-12 <= estimate.value <= estimate.interval[1] + 1e-12


def test_intervals_are_those_of_a_plain_bootstrap_over_questions(tmp_path: Path) -> None:
    chance = random.Random(5)
    verdicts = [[chance.randrange(3) for _ in range(4)] for _ in range(30)]
    people = [[noisy(chance, score, 0.6) for score in scores] for scores in verdicts]
    folder, _ = run(tmp_path, verdicts)
    file = file_of(tmp_path, [rated(n, a, s) for n, row in enumerate(people) for a, s in enumerate(row)])
    found = agreement(folder, file)
    again = []
    for _ in range(1500):
        drawn = chance.choices(range(30), k=30)
        again.append(kappas([s for n in drawn for s in people[n]], [s for n in drawn for s in verdicts[n]]))
    for index, estimate in enumerate((found.with_judge.kappa, found.with_judge.weighted_kappa)):
        values = sorted(kappa[index] for kappa in again)
        assert estimate.interval == pytest.approx((values[37], values[1462]), abs=0.03)


def test_the_same_seed_gives_the_same_intervals(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[0, 1, 2], [2, 1, 0], [1, 1, 2]])
    file = file_of(tmp_path, [rated(n, a, (n + a) % 3) for n in range(3) for a in range(3)])
    assert agreement(folder, file) == agreement(folder, file)
    assert (
        agreement(folder, file, seed=1).with_judge.kappa.value
        == agreement(folder, file).with_judge.kappa.value
    )


def test_between_raters_is_the_mean_of_scikit_learns_kappas_over_pairs_of_raters(tmp_path: Path) -> None:
    chance = random.Random(8)
    verdicts = [[chance.randrange(3) for _ in range(4)] for _ in range(20)]
    folder, _ = run(tmp_path, verdicts)
    # Each rater rated different aspects; chance decides which ones two raters share.
    ratings = {
        (rater, n, a): noisy(chance, score, accuracy)
        for rater, accuracy in (("ana", 0.9), ("ben", 0.6), ("cleo", 0.4))
        for n, scores in enumerate(verdicts)
        for a, score in enumerate(scores)
        if chance.random() < 0.7
    }
    lines = [rated(n, a, score, rater=rater) for (rater, n, a), score in ratings.items()]
    chance.shuffle(lines)
    found = agreement(folder, file_of(tmp_path, lines))

    shared, equal, expected = set(), [], []
    for one, other in combinations(("ana", "ben", "cleo"), 2):
        both = [(n, a) for rater, n, a in ratings if rater == one and (other, n, a) in ratings]
        first, second = [ratings[one, *at] for at in both], [ratings[other, *at] for at in both]
        expected.append(kappas(first, second))
        equal += [x == y for x, y in zip(first, second, strict=True)]
        shared.update(both)
    between = found.between_raters
    assert between is not None
    assert between.kappa.value == pytest.approx(sum(kappa for kappa, _ in expected) / 3, abs=1e-12)
    assert between.weighted_kappa.value == pytest.approx(sum(k for _, k in expected) / 3, abs=1e-12)
    assert between.exact.value == pytest.approx(sum(equal) / len(equal), abs=1e-12)
    assert (between.aspects, between.pairs) == (len(shared), len(equal))
    assert found.raters == 3
    assert found.with_judge.pairs == found.ratings == len(ratings)
    assert found.with_judge.aspects == found.rated_aspects == len({(n, a) for _, n, a in ratings})


def test_raters_who_disagree_both_count_and_neither_is_outvoted(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[2], [1]])
    lines = [rated(0, 0, 0, rater="ana"), rated(0, 0, 2, rater="ben"), rated(1, 0, 1, rater="ana")]
    found = agreement(folder, file_of(tmp_path, lines))
    assert found.table == ((0, 0, 1), (0, 1, 0), (0, 0, 1))
    assert found.with_judge.exact.value == pytest.approx(2 / 3)
    assert (found.with_judge.aspects, found.with_judge.pairs) == (2, 3)
    assert found.between_raters is not None
    assert (found.between_raters.pairs, found.between_raters.exact.value) == (1, 0.0)


def test_two_raters_without_a_kappa_are_left_out_of_the_mean(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[1, 1], [1, 1]])
    first = [rated(0, 0, 0, rater="ana"), rated(0, 1, 2, rater="ana")]
    second = [rated(0, 0, 0, rater="ben"), rated(0, 1, 2, rater="ben")]
    third = [rated(1, 0, 2, rater="cleo"), rated(1, 0, 2, rater="dan")]
    between = agreement(folder, file_of(tmp_path, first + second + third)).between_raters
    assert between is not None
    assert (between.kappa.value, between.pairs) == (1.0, 3)


def test_kappa_of_equal_scores_throughout_is_undefined_and_said_to_be(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[1, 1], [1]])
    found = agreement(folder, file_of(tmp_path, [rated(0, 0, 1), rated(0, 1, 1), rated(1, 0, 1)]))
    assert math.isnan(kappas([1, 1, 1], [1, 1, 1])[0])
    assert found.with_judge.kappa == found.with_judge.weighted_kappa == Estimate(None, None)
    assert found.with_judge.exact == Estimate(1.0, (1.0, 1.0))
    assert "Kappa is undefined" in as_text(found)


def test_a_judge_that_always_says_the_same_has_a_kappa_of_zero(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[1, 1], [1]])
    found = agreement(folder, file_of(tmp_path, [rated(0, 0, 0), rated(0, 1, 1), rated(1, 0, 2)]))
    assert found.with_judge.kappa.value == found.with_judge.weighted_kappa.value == 0
    assert found.with_judge.kappa.value == kappas([0, 1, 2], [1, 1, 1])[0]


def test_one_question_has_no_interval(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[0, 1, 2], [2]])
    kappa = agreement(folder, file_of(tmp_path, [rated(0, a, a) for a in range(3)])).with_judge.kappa
    assert kappa == Estimate(1.0, None)


def test_many_resamples_without_a_kappa_leave_no_interval(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[1], [1], [0]])
    kappa = agreement(
        folder, file_of(tmp_path, [rated(0, 0, 1), rated(1, 0, 1), rated(2, 0, 0)])
    ).with_judge.kappa
    # In a third of the samples only one score is left.
    assert kappa == Estimate(1.0, None)


def test_ratings_without_a_verdict_are_counted_and_compared_with_nothing(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[0, None], [2, None]])
    lines = [rated(0, 0, 0), rated(0, 1, 2), rated(1, 0, 2), rated(1, 1, 1)]
    found = agreement(folder, file_of(tmp_path, lines))
    assert (found.unjudged, found.ratings, found.with_judge.pairs) == (2, 4, 2)
    assert found.with_judge.exact.value == 1.0
    assert "left out below: 2 ratings" in as_text(found)


def test_ratings_of_unjudged_aspects_only_compare_nothing(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[None]])
    found = agreement(folder, file_of(tmp_path, [rated(0, 0, 1)]))
    assert found.with_judge == Compared(0, 0, *[Estimate(None, None)] * 3)
    assert "nothing is compared" in as_text(found)


def test_lines_that_are_not_filled_in_are_counted_and_skipped(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[0, 1], [2]])
    lines = [rated(0, 0, 0), "", rated(0, 1, None), rated(1, 0, None, rater=None)]
    found = agreement(folder, file_of(tmp_path, lines))
    assert (found.ratings, found.unfilled) == (1, 2)
    assert "2 lines not filled in" in as_text(found)
    assert agreement(folder, file_of(tmp_path, lines[1:])).ratings == 0


def test_files_of_windows_editors_are_read(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[0, 1]])
    file = tmp_path / "ratings.jsonl"
    text = "\r\n".join(json.dumps(rated(0, a, a)) for a in range(2))
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert agreement(folder, file).with_judge.exact.value == 1.0


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (rated(9, 0, 1), "no answer to a question 'q009'"),
        (rated(0, 7, 1), "aspect 'aspect 7' of question 'q000' is not in the run"),
        (rated(1, 0, 1), "aspect 'aspect 0' of question 'q001' is ambiguous"),
        (rated(0, 1, 3), "3 is not 0, 1 or 2 (aspect 'aspect 1' of question 'q000')"),
        (rated(0, 1, "2"), "'2' is not 0, 1 or 2"),
        (rated(0, 1, True), "True is not 0, 1 or 2"),
        (rated(0, 1, 1.5), "1.5 is not 0, 1 or 2"),
        (rated(0, 1, 1, rater=7), "rater: 7 is not text"),
        ({"id": 4, "aspect": "aspect 0", "score": 1}, "id: 4 is not text"),
        ({"id": "q000", "score": 1}, "lacks aspect"),
        ({"id": "q000", "aspect": "aspect 0"}, "lacks score"),
        (rated(0, 0, 1), "aspect 'aspect 0' of question 'q000' is already rated on line 1 (name the raters"),
        (rated(0, 1, 1, response="Another."), "question 'q000' has another answer in this run"),
        ([1], "a rating is a JSON object, not list"),
        ("{", "not JSON"),
        ("\udcff", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_file(tmp_path: Path, line: Any, why: str) -> None:
    records = [record(0, [0, 1]), record(1, [2, 2])]
    same = AspectScore("aspect 0", 1)
    records[1] = replace(records[1], assessment=by_rubric([same, same]))
    folder = write_run(tmp_path / "run", records, trajectories=False)
    file = tmp_path / "ratings.jsonl"
    text = line if isinstance(line, str) else json.dumps(line)
    file.write_bytes(f"{json.dumps(rated(0, 0, 0))}\n\n{text}\n".encode("utf-8", "surrogateescape"))
    with pytest.raises(InvalidFile) as caught:
        agreement(folder, file)
    assert str(caught.value).startswith(f"{file}, line 3: ")
    assert why in str(caught.value)


def test_one_rater_rates_an_aspect_once(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[0]])
    lines = [rated(0, 0, 0, rater="ana"), rated(0, 0, 1, rater="ben"), rated(0, 0, 1, rater=" ana ")]
    with pytest.raises(InvalidFile, match=r"line 3: .* is already rated on line 1 by 'ana'"):
        agreement(folder, file_of(tmp_path, lines))


def test_an_empty_or_missing_file_and_a_folder_without_a_run_are_errors(tmp_path: Path) -> None:
    folder, _ = run(tmp_path, [[0]])
    with pytest.raises(InvalidFile, match="has no ratings"):
        agreement(folder, file_of(tmp_path, [""]))
    with pytest.raises(InvalidFile, match="cannot be read"):
        agreement(folder, tmp_path / "none.jsonl")
    with pytest.raises(ValueError, match="holds no run"):
        agreement(tmp_path, file_of(tmp_path, [rated(0, 0, 1)]))


def test_the_text_shows_the_numbers_and_warns_of_few_ratings(tmp_path: Path) -> None:
    chance = random.Random(2)
    verdicts = [[chance.randrange(3) for _ in range(4)] for _ in range(FEW)]
    folder, _ = run(tmp_path, verdicts)
    everything = [
        rated(n, a, noisy(chance, score, 0.7), rater=rater)
        for rater in ("ana", "ben")
        for n, scores in enumerate(verdicts)
        for a, score in enumerate(scores)
    ]
    found = agreement(folder, file_of(tmp_path, everything))
    text = as_text(found)
    assert "Judge: lexical" in text
    assert "between people" in text
    assert f"{found.with_judge.kappa.value:.2f} [" in text
    assert "hint" not in text
    few = as_text(agreement(folder, file_of(tmp_path, everything[: FEW - 1])))
    assert f"Only {FEW - 1} aspects could be compared" in few
    assert "not known how far people agree" in few


def test_the_text_of_chance_agreement_says_that_it_shows_none(tmp_path: Path) -> None:
    chance = random.Random(3)
    folder, _ = run(tmp_path, [[chance.randrange(3) for _ in range(4)] for _ in range(30)])
    lines = [rated(n, a, chance.randrange(3)) for n in range(30) for a in range(4)]
    assert "do not show that the judge agrees beyond chance" in as_text(
        agreement(folder, file_of(tmp_path, lines))
    )


def form(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_a_form_holds_what_a_rater_needs_and_no_verdict(tmp_path: Path) -> None:
    folder, records = run(tmp_path, [[0, 1, 2, None], [2, 1], [0]])
    out = tmp_path / "form.jsonl"
    assert write_form(folder, out, 5, 3, map(question, records)) == 5
    lines = form(out)
    rubric = {
        (record.id, aspect.aspect): aspect
        for record in map(question, records)
        for aspect in record.rubric_aspects
    }
    for line in lines:
        aspect = rubric[line["id"], line["aspect"]]
        answered = next(record for record in records if record.id == line["id"])
        assert line == {
            "id": answered.id,
            "question": answered.question,
            "narrative": f"The story behind {answered.id}.",
            "response": answered.response,
            "aspect": aspect.aspect,
            "reason": aspect.reason,
            "evidence": aspect.evidence,
            "score": None,
            "rater": None,
        }
    assert len({(line["id"], line["aspect"]) for line in lines}) == 5
    assert [line["id"] for line in lines] == sorted(line["id"] for line in lines)


def test_a_form_that_was_filled_in_is_read_back(tmp_path: Path) -> None:
    records = [record(number, scores) for number, scores in enumerate([[0, 1, 2], [2, 1], [0]])]
    broken = replace(records[0], response="half of a pair: \ud800")
    folder = write_run(tmp_path / "run", [broken, *records[1:]], trajectories=False)
    out = tmp_path / "form.jsonl"
    assert write_form(folder, out, 100, 0, map(question, records)) == 6
    assert agreement(folder, out).unfilled == 6
    scores = {(r.id, a.aspect): a.score for r in records for a in r.aspects}
    filled = [line | {"score": scores[line["id"], line["aspect"]], "rater": "ana"} for line in form(out)]
    found = agreement(folder, file_of(tmp_path, filled))
    assert (found.ratings, found.with_judge.exact.value) == (6, 1.0)


def test_a_form_is_drawn_by_its_seed_and_not_by_the_order_of_the_run(tmp_path: Path) -> None:
    records = [record(number, [0, 1, 2]) for number in range(20)]
    drawn = []
    for name, order, seed in (("a", records, 1), ("b", records[::-1], 1), ("c", records, 2)):
        folder = write_run(tmp_path / name, order, trajectories=False)
        write_form(folder, tmp_path / f"{name}.jsonl", 10, seed, map(question, order))
        drawn.append((tmp_path / f"{name}.jsonl").read_bytes())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_form_never_replaces_a_file(tmp_path: Path) -> None:
    folder, records = run(tmp_path, [[0]])
    out = file_of(tmp_path, [rated(0, 0, 2)])
    before = out.read_bytes()
    with pytest.raises(InvalidFile, match="already exists"):
        write_form(folder, out, 1, 0, map(question, records))
    assert out.read_bytes() == before


def test_a_form_needs_the_questions_of_the_run_and_a_count(tmp_path: Path) -> None:
    folder, records = run(tmp_path, [[0], [1, 2]])
    out = tmp_path / "form.jsonl"
    with pytest.raises(ValueError, match="question 'q001', which the data set lacks"):
        write_form(folder, out, 3, 0, [question(records[0])])
    other = [question(records[0]), question(record(1, [1]))]
    with pytest.raises(ValueError, match="'q001' has other aspects"):
        write_form(folder, out, 3, 0, other)
    with pytest.raises(ValueError, match="at least one aspect"):
        write_form(folder, out, 0, 0, other)
    with pytest.raises(InvalidFile, match="cannot be written"):
        write_form(folder, tmp_path / "no" / "form.jsonl", 1, 0, map(question, records))
    assert not out.exists()


def test_aspects_that_a_rubric_names_twice_are_not_in_the_form(tmp_path: Path) -> None:
    twice = replace(record(0, []), assessment=by_rubric([AspectScore(name, 1) for name in ("a", "b", "a")]))
    folder = write_run(tmp_path / "run", [twice], trajectories=False)
    out = tmp_path / "form.jsonl"
    assert write_form(folder, out, 9, 0, [question(twice)]) == 1
    assert [line["aspect"] for line in form(out)] == ["b"]
