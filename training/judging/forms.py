"""The form in which people rate aspects of a run's answers, and what they filled in.

It shows nobody the judge's verdicts. What comes back is checked line by line.
"""

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.evaluation.loading import LoadedRun, load_runs
from training.evaluation.records import Record
from training.judging.judge import is_score
from training.tasks.lampqa.data import Question
from training.tasks.lampqa.scores import InvalidFile


@dataclass(frozen=True)
class Rating:
    """What one person said of one aspect."""

    question: str
    aspect: str
    score: int
    rater: str

    @property
    def place(self) -> tuple[str, str]:
        """The question and the aspect."""
        return self.question, self.aspect


def load_judged(folder: Path) -> LoadedRun:
    """Load a run whose responses were judged by rubric aspects. Raises ValueError if they were not."""
    run = load_runs([folder])[0]
    if not run.has_rubrics:
        raise ValueError(f"{folder}: the run has no rubric aspects to rate")
    return run


def write_form(folder: Path, out: Path, count: int, seed: int, questions: Iterable[Question]) -> int:
    """Write `count` aspects of the run's answers, drawn at random, for people to rate; return how many.

    JSONL, in the order of the questions' ids, without the verdicts. A line holds what the judge is given,
    with `score` and `rater` null. There are fewer lines where the run has fewer aspects; aspects that a
    rubric names twice are left out, since their ratings could not be told apart. `questions` has to hold
    the run's: the narratives are not in the run.

    Raises InvalidFile where `out` is there already (it may hold ratings) or cannot be written, and
    ValueError for a count below 1, a folder that holds no run, and questions that are not the run's.
    """
    if count < 1:
        raise ValueError(f"a form holds at least one aspect, not {count}")
    records = load_judged(folder).records
    places = [
        (record, number)
        for record in records
        for number, aspect in enumerate(record.aspects)
        if _named(record, aspect.aspect) == 1
    ]
    chosen = sorted(random.Random(seed).sample(range(len(places)), min(count, len(places))))
    numbers: dict[str, list[int]] = defaultdict(list)
    for place in chosen:
        numbers[places[place][0].id].append(places[place][1])
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
                # Half a surrogate pair in what a model wrote becomes JSON's own escape.
                text = json.dumps(line, ensure_ascii=False)
                file.write(text.encode("utf-8", "backslashreplace") + b"\n")
    except FileExistsError:
        raise InvalidFile(f"{out}: is there already, and may hold ratings; name another file") from None
    except OSError as error:
        raise InvalidFile(f"{out}: cannot be written: {error.strerror or error}") from None
    return len(lines)


def read_ratings(file: Path, records: Mapping[str, Record]) -> tuple[list[Rating], int]:
    """The lines with a score, and how many have none yet. Raises InvalidFile."""
    found: list[Rating] = []
    first: dict[tuple[str, str, str], int] = {}
    unfilled = 0
    try:
        # Editors on Windows begin a file with a byte order mark.
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
            if (earlier := first.setdefault((*rating.place, rating.rater), number)) != number:
                who = f"by {rating.rater!r}" if rating.rater else "(name the raters if there are several)"
                raise ValueError(f"{_at(*rating.place)} is rated already on line {earlier} {who}")
        except (ValueError, RecursionError) as error:
            raise InvalidFile(f"{file}, line {number}: {error}") from None
        found.append(rating)
    if not found and not unfilled:
        raise InvalidFile(f"{file}: holds no rating")
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
    """One line; None where its score is null. Raises ValueError, which says what is wrong with it."""
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
