"""A selector's data: for each question, the prompt, the output and the score of every member of a pool.

They come from runs of `pr2 evaluate` that differ in their retriever alone, one for each member. A trained
member may have one run for each fold instead, by a retriever that learned nothing from the fold's people. A
member without a score (unjudged, or still owed) is masked: it is never a 0.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.methods import METHODS
from agent.selecting import RENDERING, Mode, render_trajectory
from agent.trajectory import Trajectory
from index.documents import all_faults
from training.evaluation.loading import LoadedRun, load_runs, read_trajectories
from training.evaluation.records import Record
from training.folder import replacing
from training.folds import Fold
from training.tasks.datasets import held_out
from training.tasks.errors import DataError, InvalidRecord
from training.tasks.lamp.answers import prompt_in
from training.tasks.lamp.metrics import GOLD, reward_of

Render = Callable[[Record, Trajectory], str]
"""The prompt of a member, from the run with its retriever."""
Reward = Callable[[LoadedRun, Record], float | None]
"""The score of a response, from 0 to 1 (better); None if there is none."""

_FOLD = "fold"
_OWN = {"retriever", _FOLD}
"""The parts of the configuration in which the runs of a pool differ."""


class Candidate(BaseModel):
    """One member of the pool, as it served one question."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str
    output: str
    score: Annotated[float, Field(ge=0, le=1)] | None
    """None if it could not be determined."""


class Example(BaseModel):
    """One question, with the members of the pool that have an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    input: str
    members: Mapping[str, Candidate]

    @property
    def scores(self) -> dict[str, float]:
        """By member, without those that have none."""
        return {name: one.score for name, one in self.members.items() if one.score is not None}


@dataclass(frozen=True)
class PoolData:
    """The questions of a pool's runs."""

    members: tuple[str, ...]
    examples: tuple[Example, ...]
    """Sorted by id; each has at least two scored members."""
    left_out: int
    """Questions with fewer scored members, which teach and measure nothing."""
    common: Mapping[str, Any]
    """The configuration that all runs share."""


def rendered(record: Record, trajectory: Trajectory) -> str:
    """The prompt as the service renders it, see agent.selecting.render."""
    return render_trajectory(trajectory)


def exact(record: Record, trajectory: Trajectory) -> str:
    """LaMP's prompt, as it was given to the LLM. Raises DataError if the record is not LaMP's."""
    if GOLD not in record.assessment.details:
        raise DataError(f"question {record.id!r} is not one of LaMP, so its whole prompt is not used")
    return prompt_in(trajectory)


EXACT = "lamp-1"
RENDERINGS: Mapping[str, Render] = {RENDERING: rendered, EXACT: exact}
"""Prompts by the names that selectors record."""


def reward(run: LoadedRun, record: Record) -> float | None:
    """The score by the main metric or, for LaMP, its reward. Raises DataError if lower scores are better."""
    if GOLD in record.assessment.details:
        return reward_of(record)
    if run.lower_is_better:
        raise DataError(f"lower scores of {run.folder} are better, and a selector learns from higher ones")
    return record.score


def collect(
    runs: Mapping[str, Sequence[Path]], render: Render = rendered, reward: Reward = reward
) -> PoolData:
    """Read the runs of a pool, by the names of its members.

    Raises DataError if the runs are not of the same questions, or differ in more than their retriever, if a
    run used another retriever than its name says, and if a member has several runs that are not its folds.
    """
    if len(runs) < 2:
        raise DataError("a pool has at least two members: give a run for each of them")
    names = [name for name, folders in runs.items() for _ in folders]
    try:
        loaded = load_runs([folder for folders in runs.values() for folder in folders])
    except ValueError as error:
        raise DataError(str(error)) from None
    members: dict[str, dict[str, Candidate]] = {}
    inputs: dict[str, str] = {}
    named = list(zip(names, loaded, strict=True))
    common = _common(named)
    for name in runs:
        _check_folds(name, [run for member, run in named if member == name])
    for name, run in named:
        inputs |= {record.id: record.question for record in run.records}
        for question, candidate in _candidates(run, render, reward):
            members.setdefault(question, {})[name] = candidate
    examples = [Example(id=one, input=inputs[one], members=members[one]) for one in sorted(members)]
    usable = tuple(example for example in examples if len(example.scores) > 1)
    if not usable:
        raise DataError("no question has a score for two members of the pool")
    return PoolData(tuple(runs), usable, len(examples) - len(usable), common)


def _candidates(run: LoadedRun, render: Render, reward: Reward) -> Iterator[tuple[str, Candidate]]:
    try:
        trajectories = read_trajectories(run.folder, {record.id for record in run.records})
    except ValueError as error:
        raise DataError(str(error)) from None
    for record in run.records:
        trajectory = trajectories.get(record.id)
        if trajectory is None:
            raise DataError(f"{run.folder}: question {record.id!r} has no trajectory")
        try:
            yield (
                record.id,
                Candidate(
                    prompt=render(record, trajectory), output=record.response, score=reward(run, record)
                ),
            )
        except ValidationError as error:
            raise DataError(f"{run.folder}: question {record.id!r}: {all_faults(error)}") from None


def _common(runs: Sequence[tuple[str, LoadedRun]]) -> dict[str, Any]:
    """The configuration of all runs but for their retrievers. Raises DataError, naming what differs."""
    (first, reference), *others = ((name, _configuration(run)) for name, run in runs)
    for name, run in runs:
        used, fold = run.manifest.get("retriever"), run.manifest.get(_FOLD)
        expected = Fold.parse(fold).named(name) if fold else name
        if used != expected:
            raise DataError(f"the run in {run.folder} used the retriever {used}, not {expected}")
    for name, configuration in others:
        for key in sorted(reference.keys() | configuration.keys()):
            if (one := reference.get(key)) != (other := configuration.get(key)):
                raise DataError(
                    f"the runs of a pool differ in their retriever alone, but {key} is {one!r} for {first} "
                    f"and {other!r} for {name}"
                )
    return reference


def _configuration(run: LoadedRun) -> dict[str, Any]:
    found = {key: run.manifest.get(key) for key in run.manifest.get("configured", ()) if key not in _OWN}
    # The hash is that of all folds together.
    dataset = {key: value for key, value in run.manifest["dataset"].items() if key != "questions"}
    return {**found, "dataset": dataset}


def _check_folds(name: str, runs: Sequence[LoadedRun]) -> None:
    """Raises DataError unless there is one run of everything, or one for each fold."""
    folds = sorted(run.manifest.get(_FOLD, "") for run in runs)
    if folds == [""]:
        return
    if "" in folds:
        raise DataError(f"there are {len(runs)} runs for {name}, which are not those of its folds")
    count = Fold.parse(folds[0]).of
    if folds != sorted(str(Fold(number, count)) for number in range(1, count + 1)):
        raise DataError(f"the runs for {name} are of the folds {', '.join(folds)}: one for each is needed")


def check_mode(mode: Mode, common: Mapping[str, Any]) -> None:
    """Raises DataError for the mode `pre` and runs whose prompts are not known before the answers."""
    method = METHODS.get(str(common.get("method")))
    if mode == "pre" and method is not None and method.searches:
        raise DataError(
            f"under {method.name} the LLM's own queries decide what it reads, which is not known before: "
            "train a selector of the mode pre on runs of --method rag"
        )


def parted(examples: Sequence[Example], seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples to train on, and a tenth to validate with. Raises DataError if there is only one.

    Questions with the same text go to the same part.
    """
    try:
        held = held_out((example.input for example in examples), seed)
    except DataError:
        raise DataError("all questions are the same, so none is left to validate with") from None
    train = tuple(example for example in examples if example.input not in held)
    return train, tuple(example for example in examples if example.input in held)


def write_examples(file: Path, examples: Iterable[Example]) -> None:
    """Write one example a line."""
    with replacing(file) as lines:
        lines.writelines(example.model_dump_json() + "\n" for example in examples)


def read_examples(file: Path, members: Sequence[str]) -> Iterator[Example]:
    """Read what `write_examples` wrote. Raises InvalidRecord, also for a member of another pool."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                example = Example.model_validate_json(line)
            except ValidationError as error:
                raise InvalidRecord(str(file), number, "", all_faults(error)) from None
            if unknown := [name for name in example.members if name not in members]:
                raise InvalidRecord(str(file), number, "members", f"{unknown[0]!r} is not in the pool")
            if len(example.scores) < 2:
                raise InvalidRecord(str(file), number, "members", "fewer than two have a score")
            yield example
