"""What one run leaves of each question, and the folder that holds a run.

`records.jsonl` is the truth of a run: one line for each finished question. The other files are made from it.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MANIFEST, RECORDS = "manifest.json", "records.jsonl"
RESPONSES, SCORES, TRAJECTORIES = "responses.json", "scores.json", "trajectories.jsonl"


@dataclass(frozen=True)
class AspectScore:
    """How far a response covers one rubric aspect: 0, 1 or 2, or None where no judgement was got."""

    aspect: str
    score: int | None


@dataclass(frozen=True)
class Record:
    """One question of a run: what was answered, what it took, and how it was judged."""

    id: str
    category: str
    question: str
    response: str
    """Empty where no answer came; it is judged all the same, since the person got nothing."""
    finish_reason: str
    aspects: tuple[AspectScore, ...]
    searches: int
    documents_read: int
    profile_size: int
    """Documents in the person's profile."""
    prompt_tokens: int
    policy_tokens: int
    latency_ms: float

    @property
    def score(self) -> float | None:
        """Σ / 2n over the aspects, from 0 to 1; None where an aspect is unjudged (LaMP-QA, section 3)."""
        scores = [aspect.score for aspect in self.aspects]
        judged = [score for score in scores if score is not None]
        return sum(judged) / (2 * len(scores)) if len(judged) == len(scores) else None

    @property
    def score_of_judged(self) -> float | None:
        """The same over the aspects that were judged; None where none was."""
        judged = [aspect.score for aspect in self.aspects if aspect.score is not None]
        return sum(judged) / (2 * len(judged)) if judged else None

    def to_dict(self) -> dict[str, Any]:
        """JSON values; the score is written beside them, for readers."""
        return asdict(self) | {"score": self.score}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Record":
        """Raises KeyError or TypeError when `data` was not made by `to_dict`."""
        values = {name: value for name, value in data.items() if name != "score"}
        values["aspects"] = tuple(AspectScore(**aspect) for aspect in data["aspects"])
        return cls(**values)


def read_records(folder: Path) -> Iterator[Record]:
    """The finished questions of a run, in the order in which they were finished.

    A torn last line is what a killed run leaves: that question is owed again. Raises ValueError with file
    and line for any other line that is none.
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
