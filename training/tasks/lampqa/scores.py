"""Scores of many questions, and LaMP-QA's own files of responses and scores.

Files are written question by question, and appear when they are complete. What is read is checked: a score
that cannot be one, or a text under another's id, is an error that names file, question and aspect.
"""

import json
import math
import os
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from training.errors import TrainingError
from training.evaluation.records import AspectScore, Record
from training.judging.judge import is_score
from training.tasks.lampqa.data import Question

_TOLERANCE = 1e-6
_NAMED = 10


class InvalidFile(TrainingError, ValueError):
    """A file of responses or scores is not what it should be, or not of these questions."""


@dataclass(frozen=True)
class Part:
    """The questions of one category, or all of them."""

    questions: int
    score: float | None
    """Mean over the questions whose aspects all have a score; None where there is none."""
    score_of_judged: float | None
    """Mean over the questions with any judged aspect, of the judged aspects only."""
    unjudged_aspects: int
    unjudged_questions: int
    """Questions with an unjudged aspect, which `score` leaves out."""


@dataclass(frozen=True)
class Summary:
    """What a run scored. The published number is the macro average (LaMP-QA, section 5)."""

    categories: Mapping[str, Part]
    """By name, in alphabetical order; only those that have questions."""
    macro: Part
    """The mean of the categories' scores, each counted once; None where a category has none."""


def summary(records: Iterable[Record]) -> Summary:
    """The scores of a run, whatever the order of its records."""
    tallies: dict[str, _Tally] = {}
    for record in records:
        tallies.setdefault(record.category, _Tally()).add(record)
    categories = {name: tallies[name].part() for name in sorted(tallies)}
    parts = list(categories.values())
    macro = Part(
        questions=sum(part.questions for part in parts),
        score=_mean([part.score for part in parts]),
        score_of_judged=_mean([part.score_of_judged for part in parts]),
        unjudged_aspects=sum(part.unjudged_aspects for part in parts),
        unjudged_questions=sum(part.unjudged_questions for part in parts),
    )
    return Summary(categories, macro)


def as_text(result: Summary) -> str:
    """The summary as a table, in lines of plain text. What is unjudged is shown where there is any."""
    named = {**result.categories, "macro average": result.macro}
    rows = [("category", "questions", "score", "judged only", "unjudged aspects")]
    rows += [
        (
            name,
            str(part.questions),
            _shown(part.score),
            _shown(part.score_of_judged),
            str(part.unjudged_aspects),
        )
        for name, part in named.items()
    ]
    columns = 5 if result.macro.unjudged_aspects else 3
    widths = [max(len(row[column]) for row in rows) for column in range(columns)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]))
    return "\n".join(lines)


@dataclass(frozen=True)
class QuestionScore:
    """One question of a score file."""

    id: str
    score: float | None
    """None where an aspect is unjudged."""
    aspects: tuple[AspectScore, ...]


@dataclass(frozen=True)
class Scores:
    """A score file. `score` is the plain mean over the questions that have one, as published."""

    score: float | None
    per_question_scores: tuple[QuestionScore, ...]


def write_responses(path: Path, records: Iterable[Record]) -> None:
    """Write `{id: [{"output": response}]}`. Raises ValueError for an id that comes twice."""
    with _replacing(path) as file:
        file.write("{")
        for separator, record in _each_once(records):
            file.write(f"{separator}{json.dumps(record.id)}: {json.dumps([{'output': record.response}])}")
        file.write("\n}\n")


def read_responses(path: Path, ids: Collection[str]) -> dict[str, str]:
    """The response to each of the questions `ids`, in their order; of several, the first.

    Raises InvalidFile, which names questions that the file lacks, or that are not among `ids`.
    """
    content = _load(path)
    if not isinstance(content, dict):
        raise InvalidFile(f"{path}: expected a JSON object of responses by question id")
    _check_ids(path, list(content), ids)
    for question, outputs in content.items():
        match outputs:
            case [{"output": str()}, *_]:
                pass
            case _:
                raise InvalidFile(f'{path}, question {question}: expected [{{"output": "…"}}]')
    return {question: content[question][0]["output"] for question in ids}


def write_scores(path: Path, records: Iterable[Record]) -> None:
    """Write `{"per_question_scores": [{"id", "score", "details": [{"aspect", "score"}]}], "score"}`.

    An unjudged aspect has the score null, and so has its question, which the mean leaves out. Raises
    ValueError for an id that comes twice.
    """
    scores = []
    with _replacing(path) as file:
        file.write('{"per_question_scores": [')
        for separator, record in _each_once(records):
            details = [{"aspect": aspect.aspect, "score": aspect.score} for aspect in record.aspects]
            file.write(separator + json.dumps({"id": record.id, "score": record.score, "details": details}))
            if record.score is not None:
                scores.append(record.score)
        file.write(f'\n],\n"score": {json.dumps(_mean(scores))}}}\n')


def read_scores(path: Path, questions: Iterable[Question] | None = None) -> Scores:
    """A score file, ours or of the published evaluator. Raises InvalidFile.

    Checked are that every score is the number 0, 1 or 2, or null, that a question's score is that of its
    aspects, and the file's that of its questions; with `questions`, that exactly these are scored, each by
    its own rubric.
    """
    content = _load(path)
    if not (isinstance(content, dict) and isinstance(entries := content.get("per_question_scores"), list)):
        raise InvalidFile(f"{path}: expected a JSON object with per_question_scores")
    scored: dict[str, QuestionScore] = {}
    for position, entry in enumerate(entries):
        question = _question_score(path, position, entry)
        if question.id in scored:
            raise InvalidFile(f"{path}, question {question.id}: is scored twice")
        scored[question.id] = question
    if questions is not None:
        rubrics = {question.id: question.rubric_aspects for question in questions}
        _check_ids(path, list(scored), rubrics)
        for question in scored.values():
            named = [aspect.aspect for aspect in question.aspects]
            if named != [aspect.aspect for aspect in rubrics[question.id]]:
                raise InvalidFile(f"{path}, question {question.id}: has other aspects than its rubric")
    score = _mean([question.score for question in scored.values() if question.score is not None])
    if not _same(content.get("score"), score):
        raise InvalidFile(f"{path}: its score is {content.get('score')!r}, its questions' mean is {score}")
    return Scores(score, tuple(scored.values()))


class _Tally:
    def __init__(self) -> None:
        self._questions = self._unjudged_aspects = 0
        self._scores: list[float] = []
        self._scores_of_judged: list[float] = []

    def add(self, record: Record) -> None:
        self._questions += 1
        self._unjudged_aspects += sum(aspect.score is None for aspect in record.aspects)
        if (score := record.score) is not None:
            self._scores.append(score)
        if (score := record.score_of_judged) is not None:
            self._scores_of_judged.append(score)

    def part(self) -> Part:
        return Part(
            self._questions,
            _mean(self._scores),
            _mean(self._scores_of_judged),
            self._unjudged_aspects,
            self._questions - len(self._scores),
        )


def _shown(score: float | None) -> str:
    return "-" if score is None else f"{score:.4f}"


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, the same in whatever order the values come; None for none, or if one is missing."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _question_score(path: Path, position: int, entry: Any) -> QuestionScore:
    match entry:
        case {"id": str(question), "details": [_, *_] as details}:
            pass
        case {"id": str(question)}:
            raise InvalidFile(f"{path}, question {question}: has no scores of aspects")
        case _:
            raise InvalidFile(f"{path}: entry {position} of per_question_scores has no id")
    aspects = []
    for detail in details:
        match detail:
            case {"aspect": str(aspect), "score": value} if value is None or is_score(_whole(value)):
                aspects.append(AspectScore(aspect, _whole(value)))
            case {"aspect": str(aspect), "score": value}:
                raise InvalidFile(
                    f"{path}, question {question}, aspect {aspect!r}: {value!r} is not 0, 1 or 2"
                )
            case _:
                raise InvalidFile(f"{path}, question {question}: a detail lacks its aspect or its score")
    values = [aspect.score for aspect in aspects if aspect.score is not None]
    score = sum(values) / (2 * len(aspects)) if len(values) == len(aspects) else None
    if not _same(entry.get("score"), score):
        raise InvalidFile(
            f"{path}, question {question}: its score is {entry.get('score')!r}, its aspects make it {score}"
        )
    return QuestionScore(question, score, tuple(aspects))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _same(said: object, score: float | None) -> bool:
    if score is None or said is None or isinstance(said, bool) or not isinstance(said, (int, float)):
        return said is None and score is None
    return math.isclose(said, score, rel_tol=0, abs_tol=_TOLERANCE)


def _check_ids(path: Path, held: Collection[str], asked: Collection[str]) -> None:
    if lacking := sorted(set(asked) - set(held)):
        raise InvalidFile(f"{path}: lacks {_listed(lacking)}")
    if unknown := sorted(set(held) - set(asked)):
        raise InvalidFile(f"{path}: holds {_listed(unknown)}, unknown to the data set")


def _listed(ids: Sequence[str]) -> str:
    more = f", and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return f"{len(ids)} question{'s' if len(ids) > 1 else ''}: {', '.join(ids[:_NAMED])}{more}"


def _load(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file, object_pairs_hook=_without_repeats)
    except InvalidFile as error:
        raise InvalidFile(f"{path}: {error}") from None
    except OSError as error:
        raise InvalidFile(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InvalidFile(f"{path}: not JSON: {error}") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidFile(f"{next(name for name in names if names.count(name) > 1)!r} is there twice")
    return content


def _each_once(records: Iterable[Record]) -> Iterator[tuple[str, Record]]:
    """The records, each with what separates it from the one before. Raises ValueError for a repeated id."""
    seen = set[str]()
    for record in records:
        if record.id in seen:
            raise ValueError(f"question {record.id} has two records")
        yield (",\n" if seen else "\n"), record
        seen.add(record.id)


@contextmanager
def _replacing(path: Path) -> Generator[IO[str], None, None]:
    """A file that takes the place of `path` when it is complete, and leaves nothing when it is not."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
