"""Writes the form in which people rate aspects of a run's answers, and reads the ratings back.

The form does not show the judge's verdicts. Ratings are validated line by line.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.errors import TrainingError
from training.evaluation.loading import LoadedRun, load_runs
from training.evaluation.records import Record
from training.judging.judge import is_score
from training.tasks.lampqa.data import Question


class InvalidFile(TrainingError, ValueError):
    """A form cannot be written, or holds something other than ratings."""


@dataclass(frozen=True)
class Rating:
    """One person's rating of one aspect."""

    question: str
    aspect: str
    score: int
    rater: str

    @property
    def rated(self) -> tuple[str, str]:
        """The question and the aspect."""
        return self.question, self.aspect


def load_judged(folder: Path) -> LoadedRun:
    """Load a run whose responses were judged by rubric aspects. Raises ValueError if they were not."""
    run = load_runs([folder])[0]
    if not run.has_rubrics:
        raise ValueError(f"{folder}: the run has no rubric aspects to rate")
    return run


def write_form(folder: Path, out: Path, count: int, seed: int, questions: Iterable[Question]) -> int:
    """Write `count` randomly drawn aspects of the run's answers for people to rate; return their number.

    The form is JSONL, sorted by question id, without the verdicts. A line holds what the judge is given,
    with `score` and `rater` null. The number is lower than `count` if the run has fewer aspects. Aspects
    that a rubric names twice are left out, since their ratings would be ambiguous. `questions` must include
    the run's, because a run does not hold the narratives.

    Raises InvalidFile if `out` already exists (it may hold ratings) or cannot be written, and ValueError if
    `count` is below 1, the folder holds no run with rubrics, or the questions are not the run's.
    """
    if count < 1:
        raise ValueError(f"a form needs at least one aspect, not {count}")
    records = load_judged(folder).records
    aspects = [
        (record.id, number)
        for record in records
        for number, aspect in enumerate(record.aspects)
        if _named(record, aspect.aspect) == 1
    ]
    chosen = random.Random(seed).sample(aspects, min(count, len(aspects)))
    numbers: dict[str, list[int]] = defaultdict(list)
    for question, number in sorted(chosen):
        numbers[question].append(number)
    narrated = {question.id: question for question in questions if question.id in numbers}
    lines = [
        line
        for record in records
        if record.id in numbers
        for line in _form_lines(folder, record, narrated.get(record.id), numbers[record.id])
    ]
    try:
        with out.open("xb") as file:
            for line in lines:
                # Half a surrogate pair in a model's output becomes a JSON escape.
                text = json.dumps(line, ensure_ascii=False)
                file.write(text.encode("utf-8", "backslashreplace") + b"\n")
    except FileExistsError:
        raise InvalidFile(f"{out}: already exists, and may hold ratings; choose another file") from None
    except OSError as error:
        raise InvalidFile(f"{out}: cannot be written: {error.strerror or error}") from None
    return len(lines)


def read_ratings(file: Path, records: Mapping[str, Record]) -> tuple[list[Rating], int]:
    """Read the lines with a score, and count those without. Raises InvalidFile."""
    found: list[Rating] = []
    first: dict[tuple[str, str, str], int] = {}
    unfilled = 0
    try:
        # Editors on Windows add a byte order mark.
        content = file.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise InvalidFile(f"{file}: cannot be read: {error.strerror or error}") from None
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            rating = _rating(line, records)
            if rating is None:
                unfilled += 1
                continue
            if (earlier := first.setdefault((*rating.rated, rating.rater), number)) != number:
                who = f"by {rating.rater!r}" if rating.rater else "(name the raters if there are several)"
                raise ValueError(f"{_at(*rating.rated)} is already rated on line {earlier} {who}")
        except (ValueError, RecursionError) as error:
            raise InvalidFile(f"{file}, line {number}: {error}") from None
        found.append(rating)
    if not found and not unfilled:
        raise InvalidFile(f"{file}: has no ratings")
    return found, unfilled


def _form_lines(
    folder: Path, record: Record, question: Question | None, numbers: Sequence[int]
) -> Iterator[dict[str, Any]]:
    if question is None:
        raise ValueError(f"{folder} answers question {record.id!r}, which the data set lacks")
    rubric = question.rubric_aspects
    if [aspect.aspect for aspect in rubric] != [aspect.aspect for aspect in record.aspects]:
        raise ValueError(f"{folder}: question {record.id!r} has other aspects than its rubric")
    for number in numbers:
        yield {
            "id": record.id,
            "question": question.question,
            "narrative": question.narrative,
            "response": record.response,
            "aspect": rubric[number].aspect,
            "reason": rubric[number].reason,
            "evidence": rubric[number].evidence,
            "score": None,
            "rater": None,
        }


def _rating(line: bytes, records: Mapping[str, Record]) -> Rating | None:
    """Parse one line; None if its score is null. Raises ValueError with the fault."""
    try:
        data = json.loads(line.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ValueError(f"a rating is a JSON object, not {type(data).__name__}")
    if lacking := [key for key in ("id", "aspect", "score") if key not in data]:
        raise ValueError(f"lacks {', '.join(lacking)}")
    question, aspect, score, rater = data["id"], data["aspect"], data["score"], data.get("rater")
    for key, value in (("id", question), ("aspect", aspect), ("rater", rater or "")):
        if not isinstance(value, str):
            raise ValueError(f"{key}: {value!r} is not text")
    if (record := records.get(question)) is None:
        raise ValueError(f"id: the run has no answer to a question {question!r}")
    if (times := _named(record, aspect)) != 1:
        raise ValueError(f"aspect: {_at(question, aspect)} is {'ambiguous' if times else 'not in the run'}")
    if "response" in data and data["response"] != record.response:
        raise ValueError(f"response: question {question!r} has another answer in this run")
    if score is None:
        return None
    if not is_score(score):
        raise ValueError(f"score: {score!r} is not 0, 1 or 2 ({_at(question, aspect)})")
    return Rating(question, aspect, score, (rater or "").strip())


def _named(record: Record, aspect: str) -> int:
    return sum(one.aspect == aspect for one in record.aspects)


def _at(question: str, aspect: str) -> str:
    return f"aspect {aspect!r} of question {question!r}"
