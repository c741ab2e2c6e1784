"""Turns a data set into the input of a policy's training: prompts and the environment's settings."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.methods import METHODS, Method
from agent.trajectory import Limits
from training.errors import TrainingError
from training.evaluation.profiles import day_of
from training.evaluation.records import MANIFEST, read_records
from training.folder import pin_configuration, replacing, write_json
from training.judging.factory import JudgeConfiguration
from training.policy.environment import Configuration
from training.policy.rows import DEFAULT_METHOD, Referenced, Row, bare
from training.tasks.datasets import Part
from training.tasks.lamp.schemas import WRITTEN, number_of
from training.tasks.lampqa.data import Question
from training.tasks.survey import Survey

ENVIRONMENT = "environment.json"
TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"
STORE = "store"
_PREPARED = "prepared.json"

Keep = Callable[[Question], Awaitable[str]]
"""Stores the profile of a question and returns its user."""
Scores = Mapping[tuple[str, str], float]
"""Scores from 0 to 1, by id and text of the question."""


class UnfitQuestions(TrainingError, ValueError):
    """The questions lack what the reward scores answers by; the message says what to change."""


class UnfitRun(TrainingError, ValueError):
    """A run cannot serve as the baseline without profile; the message says why."""


@dataclass(frozen=True)
class Prompts:
    """A prompt file that was written."""

    file: Path
    questions: int
    scored: int
    """Questions with a score without the profile."""


@dataclass(frozen=True)
class Preparation:
    """A data set, its split, and the configuration of the environment to train in."""

    dataset: str
    split: str
    """Description, see parts_of."""
    parts: Mapping[Part, Survey]
    configuration: Configuration
    without_profile: Scores

    def pin(self, out: Path) -> None:
        """Bind the folder to this preparation.

        Raises UnfitQuestions, and ChangedConfiguration if the folder holds another one.
        """
        self._check_fits()
        scores = hashlib.sha256(repr(sorted(self.without_profile.items())).encode()).hexdigest()
        pin_configuration(
            out / _PREPARED,
            {
                "dataset": self.dataset,
                "split": self.split,
                **{name: part.digest for name, part in self.parts.items()},
                "without_profile": scores,
                **self.configuration.model_dump(mode="json"),
            },
        )

    async def write(self, out: Path, keep: Keep, finished: Callable[[], None]) -> Sequence[Prompts]:
        """Store every profile, then write the prompts and the environment's settings to `out`.

        `finished` is called after each question.
        """
        method = METHODS[self.configuration.method]
        written = []
        for name, part in self.parts.items():
            rows = []
            for question in part.questions():
                user = await keep(question)
                score = self.without_profile.get((question.id, question.question))
                day = day_of(question.profile)
                rows.append(Row(user=user, question=bare(question), day=day, without_profile=score))
                finished()
            file = out / f"{name}.jsonl"
            count = write_prompts(file, rows, self.configuration.limits, method)
            written.append(Prompts(file, count, sum(row.without_profile is not None for row in rows)))
        write_json(out / ENVIRONMENT, self.configuration.model_dump(mode="json"))
        return written

    def _check_fits(self) -> None:
        """Raises UnfitQuestions. All questions of a part are of one kind."""
        reward = self.configuration.reward
        for part in self.parts.values():
            question = next(part.questions(), None)
            if question is None:
                continue
            found = bare(question)
            kind = found.category if isinstance(found, Referenced) else "LaMP-QA's format"
            if reward.needs == "rubric" and isinstance(found, Referenced):
                raise UnfitQuestions(
                    f"{self.dataset} ({kind}) has references but no rubrics: train with --reward prlm and "
                    "--quality rouge, or on questions with rubrics"
                )
            if reward.needs == "reference" and not isinstance(found, Referenced):
                raise UnfitQuestions(
                    f"{self.dataset} ({kind}) has rubrics but no references: train with --quality rubric, or "
                    "on a task of LaMP (--benchmark lamp)"
                )
            if isinstance(found, Referenced) and number_of(found.category) not in WRITTEN:
                raise UnfitQuestions(
                    f"{self.dataset} ({kind}) has labels or ratings, which no overlap of words scores: train "
                    f"on one of LaMP's tasks {', '.join(map(str, WRITTEN))}"
                )


def scores_without_profile(runs: Iterable[Path], judge: JudgeConfiguration) -> Scores:
    """Scores of the judged questions in runs of `pr2 evaluate --method none`.

    If a question is in several runs, the last one counts. Raises UnfitRun for a run of another method, with
    another judge than the training's, or not finished.
    """
    return {question: score for run in runs for question, score in _scores(run, judge)}


def _scores(run: Path, judge: JudgeConfiguration) -> Iterator[tuple[tuple[str, str], float]]:
    try:
        manifest = json.loads((run / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise UnfitRun(f"{run} is not the folder of a run of pr2 evaluate") from None
    if manifest.get("method") != "none":
        raise UnfitRun(f"{run} is a run of the method {manifest.get('method')!r}, not of none")
    if not manifest.get("finished"):
        raise UnfitRun(f"the run in {run} is not finished: resume it first")
    name = str(manifest["judge"]["name"])
    is_same = name == "lexical" if judge.kind == "lexical" else name.startswith(f"{judge.model}@")
    if not is_same:
        raise UnfitRun(
            f"{run} was judged by {name}, but training uses {judge.model or judge.kind}: scores of different "
            "judges cannot be compared"
        )
    for record in read_records(run):
        if record.score is not None:
            yield (record.id, record.question), record.score


def write_prompts(
    file: Path, rows: Iterable[Row], limits: Limits, method: Method = METHODS[DEFAULT_METHOD]
) -> int:
    """Write OpenRLHF's prompt file, all or nothing. Returns the number of rows."""
    count = 0
    with replacing(file) as lines:
        for row in rows:
            lines.write(json.dumps(row.to_record(limits, method), ensure_ascii=False) + "\n")
            count += 1
    return count
