"""Groups the runs of the exhibits by data set, and gives each the column that the paper has for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agent.trajectory import AUTO
from training.evaluation.loading import LoadedRun, load_runs
from training.evaluation.records import SCORE
from training.evaluation.report.figures import macro_mean
from training.tasks.lamp.metrics import metrics_of
from training.tasks.lamp.schemas import SCHEMAS, name_of

NONE = "None"
BASELINES = (NONE, "BM25", "Recency", "Dense", "RRF")
"""The paper's baselines. Dense is its Contriever, whatever the encoder."""
ROPG = ("ROPG-RL", "ROPG-KD")
RSPG = ("RSPG-Pre", "RSPG-Post")
COLUMNS = (*BASELINES, *ROPG, *RSPG)
POOL = (NONE, "Recency", "BM25", "Dense", *ROPG)
"""The paper's pool of retrievers to choose from."""
WITHOUT_ROPG = ", pool without ROPG"
WITHOUT = tuple(name + WITHOUT_ROPG for name in RSPG)
"""The columns of selectors whose pool has no ROPG."""

_COLUMN_OF = {
    "none": NONE,
    "bm25": "BM25",
    "okapi": "BM25",
    "recency": "Recency",
    "dense": "Dense",
    "rrf": "RRF",
    "rrf-lamp": "RRF",
    "ropg-rl": "ROPG-RL",
    "ropg-kd": "ROPG-KD",
}
"""By retriever. Others are columns of their own."""
_BINARY = ("accuracy", "f1")
"""Metrics that score one response 0 or 1."""
_OWN = {"retriever", "selector", "seed"}
"""Parts of the configuration in which the runs of a group may differ."""


def column_of_retriever(name: str) -> str:
    """The column of the runs with this retriever."""
    return _COLUMN_OF.get(name, name)


def column_of(run: LoadedRun) -> str:
    """The column of a run: by its retriever or, if a selector chose that, by the selector."""
    retriever = str(run.manifest.get("retriever"))
    if run.method == "none":
        return NONE
    if retriever != AUTO:
        return column_of_retriever(retriever)
    selector = selector_of(run)
    name = f"RSPG-{str(selector['mode']).capitalize()}"
    return (
        name if any(column_of_retriever(one) in ROPG for one in selector["members"]) else name + WITHOUT_ROPG
    )


def selector_of(run: LoadedRun) -> Mapping[str, Any]:
    """The selector of a run with the retriever `auto`. Raises ValueError if the manifest has none."""
    selector = run.manifest.get("selector")
    if not isinstance(selector, dict) or not {"mode", "members"} <= selector.keys():
        raise ValueError(f"{run.folder}: the manifest does not describe the selector of a run with auto")
    return selector


@dataclass(frozen=True)
class Measure:
    """A metric of a group's runs."""

    name: str
    lower: bool
    """Whether lower values are better."""

    @property
    def binary(self) -> bool:
        """Whether one response is right or wrong, so that McNemar's test applies."""
        return self.name in _BINARY

    def gain(self, difference: float) -> float:
        """The difference of two values, positive if the first is better."""
        return -difference if self.lower else difference


@dataclass(frozen=True)
class Group:
    """The runs over one data set, by column."""

    runs: Mapping[str, LoadedRun]

    @property
    def first(self) -> LoadedRun:
        return next(iter(self.runs.values()))

    @property
    def name(self) -> str:
        return self.first.dataset

    @property
    def hash(self) -> str:
        """Identifies the questions."""
        return str(self.first.manifest["dataset"]["hash"])

    @cached_property
    def number(self) -> int | None:
        """The number of LaMP's task; None for other data."""
        names = {name_of(number): number for number in SCHEMAS}
        return next((names[r.category] for r in self.first.records if r.category in names), None)

    @property
    def measures(self) -> tuple[Measure, ...]:
        """The metrics, the main one first."""
        directions = self.first.manifest.get("metrics", {SCORE: "higher"})
        return tuple(Measure(name, direction == "lower") for name, direction in directions.items())

    def value(self, column: str, measure: Measure) -> float | None:
        """The score of a run: as LaMP aggregates it, or else the macro average over categories."""
        records = self.runs[column].records
        if self.number is not None:
            metric = next(one for one in metrics_of(self.number) if one.name == measure.name)
            return metric.aggregate(records).score if records else None
        by_category: dict[str, list[float]] = {}
        for record in records:
            if (score := record.scores.get(measure.name)) is not None:
                by_category.setdefault(record.category, []).append(score)
        return macro_mean(list(by_category.values()))

    def scores(self, column: str, measure: Measure) -> dict[str, float]:
        """Question id to score, without questions that have none."""
        return {
            record.id: score
            for record in self.runs[column].records
            if (score := record.scores.get(measure.name)) is not None
        }

    def paired(self, one: str, other: str, measure: Measure) -> tuple[list[float], list[float]]:
        """The scores of two columns over the questions that both have."""
        left, right = self.scores(one, measure), self.scores(other, measure)
        shared = sorted(left.keys() & right.keys())
        return [left[name] for name in shared], [right[name] for name in shared]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns with a run: the paper's in its order, then others."""
        return (*(name for name in COLUMNS if name in self.runs), *(n for n in self.runs if n not in COLUMNS))

    @property
    def differences(self) -> list[str]:
        """The parts of the configuration, beyond the retriever, in which the runs differ."""
        read = [run for column, run in self.runs.items() if column != NONE] or [self.first]
        keys = {key for run in self.runs.values() for key in run.manifest.get("configured", ())} - _OWN
        differing = []
        for key in sorted(keys):
            # Without the profile, neither the method nor the encoder plays a part.
            runs = read if key in ("method", "encoder") else list(self.runs.values())
            if any(run.manifest.get(key) != runs[0].manifest.get(key) for run in runs):
                differing.append(key)
        return differing


def load_groups(folders: Sequence[Path]) -> list[Group]:
    """Load runs and group them by data set, in the order in which the data sets are first given.

    Raises ValueError, naming the folders, if two take the same column, or if metrics or judges differ.
    """
    groups: dict[str, dict[str, LoadedRun]] = {}
    for folder in folders:
        [run] = load_runs([folder])
        columns = groups.setdefault(str(run.manifest["dataset"]["hash"]), {})
        column = column_of(run)
        if other := columns.get(column):
            raise ValueError(
                f"{other.folder} and {folder} are both {column} on {run.dataset}: give one of them"
            )
        for one in columns.values():
            if not run.same_scale(one):
                raise ValueError(f"{one.folder} and {folder} were scored by different judges or metrics")
        columns[column] = run
    if not groups:
        raise ValueError("exhibits need at least one run folder")
    return [Group(columns) for columns in groups.values()]
