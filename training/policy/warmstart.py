"""Warm start by rejection sampling: selects well-judged trajectories of past runs as training data.

Any policy may have written them, so the data hold texts and their authors but no token ids: the model that
is trained has its own tokenizer.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agent.prompts import PROMPT_VERSION
from agent.trajectory import Trajectory
from index.numbers import Number
from training.errors import TrainingError
from training.evaluation.loading import LoadedRun, load_runs, read_trajectories
from training.evaluation.records import Record
from training.folder import pin_configuration, replacing
from training.policy.rows import DEFAULT_METHOD, TRAINABLE

DATA, WARMSTART_MANIFEST = "sft.jsonl", "warmstart.json"


class NothingToLearnFrom(TrainingError, ValueError):
    """These runs yield no training data; the message says why."""


class WarmstartSegment(BaseModel):
    """A segment of a transcript, without token ids."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    author: Literal["environment", "policy"]
    text: str


class WarmstartExample(BaseModel):
    """A trajectory to learn from. Only the policy's segments are learned."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Of the question."""
    score: Number
    prompt_version: str
    segments: tuple[WarmstartSegment, ...]


@dataclass(frozen=True)
class Counts:
    """Number of trajectories by outcome. Each is counted once, under the first that applies."""

    unanswered: int = 0
    unjudged: int = 0
    too_low: int = 0
    violations: int = 0
    """Scored high enough, but violated the tag format."""
    shortened: int = 0
    """Passages were dropped from a full context: the answer may rest on text that the learner cannot see."""
    surpassed: int = 0
    """Scored high enough, but enough trajectories of the same question are better."""
    kept: int = 0

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


@dataclass(frozen=True)
class _Candidate:
    question: str
    searches: int
    example: WarmstartExample


def write_data(out: Path, folders: Sequence[Path], *, least: float, most_per_question: int) -> Counts:
    """Select trajectories from runs of `pr2 evaluate`; write `out`/sft.jsonl and its manifest.

    `least` is the lowest score to keep. For each question, over all runs, the `most_per_question` best are
    kept: by score, then by fewer searches, then by the order of the runs. Raises NothingToLearnFrom;
    ValueError if a folder is not a run; ChangedConfiguration if `out` holds other data, because weights may
    have been trained on them.
    """
    runs = _runs(folders)
    counter: Counter[str] = Counter()
    examples = _best(_candidates(runs, least, counter), most_per_question, counter)
    if not examples:
        raise NothingToLearnFrom(_why_none(runs, least))
    counts = Counts(**counter)
    configuration = {
        "runs": [
            {
                "folder": str(run.folder),
                "dataset": run.manifest["dataset"]["hash"],
                "judge": run.manifest.get("judge"),
                "policy": run.manifest.get("policy"),
            }
            for run in runs
        ],
        "least": least,
        "most_per_question": most_per_question,
        "prompt_version": PROMPT_VERSION,
        "counts": asdict(counts),
    }
    if runs[0].method != DEFAULT_METHOD:
        configuration["method"] = runs[0].method
    pin_configuration(out / WARMSTART_MANIFEST, configuration)
    with replacing(out / DATA) as lines:
        lines.writelines(example.model_dump_json() + "\n" for example in examples)
    return counts


def _runs(folders: Sequence[Path]) -> list[LoadedRun]:
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise NothingToLearnFrom("the same run is given more than once")
    # One by one: unlike the runs of a report, they may be on different questions.
    runs = [run for folder in folders for run in load_runs([folder])]
    for run in runs:
        if run.method not in TRAINABLE:
            raise NothingToLearnFrom(
                f"{run.folder} is a run of the method {run.method}, but only transcripts of "
                f"{', '.join(TRAINABLE)} begin as in training"
            )
        if run.manifest["dataset"].get("split") == "test":
            raise NothingToLearnFrom(
                f"{run.folder} answers LaMP-QA's test questions: a model trained on them cannot be "
                "evaluated on them"
            )
    methods = list(dict.fromkeys(run.method for run in runs))
    if len(methods) > 1:
        raise NothingToLearnFrom(f"a policy is trained for one method, but runs are of {', '.join(methods)}")
    judges = sorted({str(run.judge) for run in runs})
    if len(judges) > 1:
        raise NothingToLearnFrom(f"scores of different judges cannot be compared: {', '.join(judges)}")
    return runs


def _candidates(runs: Sequence[LoadedRun], least: float, counter: Counter[str]) -> Iterator[_Candidate]:
    """Yield the trajectories that qualify on their own; count all others in `counter`."""
    for run in runs:
        good = []
        for record in run.records:
            if record.finish_reason != "answered":
                counter["unanswered"] += 1
            elif record.score is None:
                counter["unjudged"] += 1
            elif record.score < least:
                counter["too_low"] += 1
            else:
                good.append((record, record.score))
        trajectories = read_trajectories(run.folder, {record.id for record, _ in good})
        for record, score in good:
            trajectory = _checked(trajectories.get(record.id), record, run.folder)
            if trajectory.violations:
                counter["violations"] += 1
            elif trajectory.passages_dropped:
                counter["shortened"] += 1
            else:
                yield _Candidate(record.question, record.searches, _example(record.id, score, trajectory))


def _checked(trajectory: Trajectory | None, record: Record, folder: Path) -> Trajectory:
    if trajectory is None:
        raise NothingToLearnFrom(f"{folder} has no trajectory of {record.id}")
    if trajectory.protocol != "tags":
        raise NothingToLearnFrom(
            f"{folder}: the trajectory of {record.id} uses the protocol {trajectory.protocol}, but a policy "
            "learns only from tags"
        )
    if trajectory.prompt_version != PROMPT_VERSION:
        raise NothingToLearnFrom(
            f"{folder}: the trajectory of {record.id} has prompts of version {trajectory.prompt_version!r}, "
            f"but the current version is {PROMPT_VERSION!r}: run the evaluation again"
        )
    return trajectory


def _example(question_id: str, score: float, trajectory: Trajectory) -> WarmstartExample:
    segments = tuple(WarmstartSegment(author=one.author, text=one.text) for one in trajectory.segments)
    return WarmstartExample(id=question_id, score=score, prompt_version=PROMPT_VERSION, segments=segments)


def _best(
    candidates: Iterator[_Candidate], most_per_question: int, counter: Counter[str]
) -> list[WarmstartExample]:
    # Keyed by the text too: two data sets may give different questions the same id.
    questions: dict[tuple[str, str], list[_Candidate]] = {}
    for candidate in candidates:
        questions.setdefault((candidate.example.id, candidate.question), []).append(candidate)
    chosen = []
    for same in questions.values():
        same.sort(key=lambda one: (-one.example.score, one.searches))
        chosen += [one.example for one in same[:most_per_question]]
        counter["surpassed"] += max(len(same) - most_per_question, 0)
    counter["kept"] = len(chosen)
    return chosen


def _why_none(runs: Sequence[LoadedRun], least: float) -> str:
    scores = [
        record.score
        for run in runs
        for record in run.records
        if record.finish_reason == "answered" and record.score is not None
    ]
    if not scores:
        return "no answer was judged"
    if max(scores) < least:
        return f"no answer scores {least:g} or more: the best scores {max(scores):.3f}"
    return (
        f"of the answers that score {least:g} or more (the best: {max(scores):.3f}), none kept to the format "
        "without dropping passages"
    )
