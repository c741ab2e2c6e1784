"""The record that a run stores for each question, and the files of a run's folder.

`records.jsonl` is the source of truth: one line for each finished question. The other files derive from it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

MANIFEST, RECORDS = "manifest.json", "records.jsonl"
RESPONSES, SCORES, TRAJECTORIES = "responses.json", "scores.json", "trajectories.jsonl"

SCORE = "score"
"""The main metric's field in a record, and the name of the metric of rubrics."""
_SCORES, _ASPECTS = "scores", "aspects"


@dataclass(frozen=True)
class AspectScore:
    """How far a response covers one rubric aspect: 0, 1 or 2, or None if it could not be judged."""

    aspect: str
    score: int | None


def rubric_score(aspects: Sequence[AspectScore]) -> float | None:
    """Σ / 2n over the aspects, from 0 to 1 (LaMP-QA, section 3).

    None if one of them is unjudged, or if there are none.
    """
    scores = [aspect.score for aspect in aspects if aspect.score is not None]
    return sum(scores) / (2 * len(scores)) if scores and len(scores) == len(aspects) else None


@dataclass(frozen=True)
class Assessment:
    """How a task's metrics scored one response."""

    scores: Mapping[str, float | None]
    """By metric, the main one first. None if no score could be determined."""
    details: Mapping[str, Any]
    """JSON values that explain the scores, under names of the metrics' own: `aspects` for a rubric."""


def by_rubric(aspects: Sequence[AspectScore]) -> Assessment:
    """The assessment of a response whose rubric aspects were scored."""
    return Assessment({SCORE: rubric_score(aspects)}, {_ASPECTS: [asdict(aspect) for aspect in aspects]})


@dataclass(frozen=True)
class Record:
    """One question of a run: the response, its cost, and its scores."""

    id: str
    category: str
    question: str
    response: str
    """Empty if there was no answer; it is still scored, since the person got nothing."""
    finish_reason: str
    assessment: Assessment
    searches: int
    documents_read: int
    profile_size: int
    """Documents in the person's profile."""
    prompt_tokens: int
    policy_tokens: int
    latency_ms: float

    @property
    def scores(self) -> Mapping[str, float | None]:
        """By metric, the main one first."""
        return self.assessment.scores

    @property
    def score(self) -> float | None:
        """By the task's main metric; None if it could not be determined."""
        return next(iter(self.scores.values()), None)

    @property
    def aspects(self) -> tuple[AspectScore, ...]:
        """The scored aspects of the question's rubric; empty for tasks without rubrics."""
        return tuple(AspectScore(**aspect) for aspect in self.assessment.details.get(_ASPECTS, ()))

    @property
    def score_of_judged(self) -> float | None:
        """The score over the judged aspects only; None if none was judged. Without a rubric, the score."""
        aspects = self.aspects
        if not aspects:
            return self.score
        return rubric_score([aspect for aspect in aspects if aspect.score is not None])

    def to_dict(self) -> dict[str, Any]:
        """JSON values. `score` is the main metric's; `scores` is added where there are others."""
        values: dict[str, Any] = {}
        for field in fields(self):
            if field.name == "assessment":
                values |= self.assessment.details
            else:
                values[field.name] = getattr(self, field.name)
        values[SCORE] = self.score
        if list(self.scores) != [SCORE]:
            values[_SCORES] = dict(self.scores)
        return values

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Record":
        """Raises KeyError or TypeError if `data` was not made by `to_dict`."""
        score = data[SCORE]
        own = [field.name for field in fields(cls) if field.name != "assessment"]
        details = {name: value for name, value in data.items() if name not in {*own, SCORE, _SCORES}}
        assessment = Assessment(data.get(_SCORES, {SCORE: score}), details)
        record = cls(assessment=assessment, **{name: data[name] for name in own})
        _ = record.aspects
        return record


def read_records(folder: Path) -> Iterator[Record]:
    """The finished questions of a run, in the order in which they were finished.

    A torn last line is what a killed run leaves: that question is still owed. Raises ValueError with file
    and line for any other invalid line.
    """
    file = folder / RECORDS
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield Record.from_dict(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{file}:{number}: no record ({error})") from None
