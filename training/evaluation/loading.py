"""Loads runs, finished or not, from their folders, names them, and refuses runs over different data."""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from agent.trajectory import Trajectory
from training.evaluation.records import MANIFEST, RECORDS, TRAJECTORIES, Record, read_records


@dataclass(frozen=True)
class LoadedRun:
    """One run folder. `name` is its method, with the folder where several runs share the method."""

    name: str
    folder: Path
    manifest: dict[str, Any]
    records: tuple[Record, ...]
    """Sorted by id: the order in which questions were finished means nothing."""

    @property
    def method(self) -> str:
        return str(self.manifest["method"])

    @property
    def judge(self) -> str | None:
        """Name of the judge; None if the task's metric needs none."""
        judge = self.manifest.get("judge")
        return None if judge is None else str(judge["name"])

    @property
    def comparable(self) -> bool:
        """Whether the judge is the kind of judge that the published scores come from."""
        return (self.manifest.get("judge") or {}).get("comparable") is True

    @property
    def dataset(self) -> str:
        return str(self.manifest["dataset"]["name"])

    @property
    def questions(self) -> int:
        """Number of questions in the run, finished or not."""
        return int(self.manifest["dataset"].get("questions") or len(self.records))

    @property
    def scores(self) -> dict[str, float]:
        """Question id to score, without the questions that have an unjudged aspect."""
        return {record.id: record.score for record in self.records if record.score is not None}

    @property
    def has_rubrics(self) -> bool:
        """Whether responses are scored by rubric aspects; assumed of a judged run without records."""
        return any(record.aspects for record in self.records) if self.records else self.judge is not None

    @property
    def counts_hits(self) -> bool:
        """Whether the task's main metric is accuracy, so that each score is 0 or 1."""
        return next(iter(self.manifest.get("metrics", {})), None) == "accuracy"

    @property
    def lower_is_better(self) -> bool:
        """Whether lower scores of the task's main metric are better."""
        return next(iter(self.manifest.get("metrics", {}).values()), "higher") == "lower"

    def gain(self, difference: float) -> float:
        """Flip the sign of a difference of scores if lower is better, so that improvements are positive."""
        return -difference if self.lower_is_better else difference

    def same_scale(self, other: "LoadedRun") -> bool:
        """Whether one judge and one metric scored both runs; otherwise their difference says nothing."""
        return all(self.manifest.get(key) == other.manifest.get(key) for key in ("judge", "metrics"))


def load_runs(folders: Sequence[Path]) -> list[LoadedRun]:
    """Load runs in the given order.

    Raises ValueError, naming the folders, if one holds no run or is given twice, or if the runs are over
    different data.
    """
    if not folders:
        raise ValueError("a report needs at least one run folder")
    twice = [str(folder) for folder, count in Counter(f.resolve() for f in folders).items() if count > 1]
    if twice:
        raise ValueError(f"folders given more than once: {', '.join(twice)}")
    manifests = [_manifest(folder) for folder in folders]
    names = _names(folders, [str(manifest["method"]) for manifest in manifests])
    _check_same_data(folders, manifests)
    return [
        LoadedRun(name, folder, manifest, _records(folder, judged="judge" in manifest))
        for name, folder, manifest in zip(names, folders, manifests, strict=True)
    ]


def read_trajectories(folder: Path, ids: Collection[str]) -> dict[str, Trajectory]:
    """Read the trajectories of these questions that the run kept; the last one if a question has several.

    The others are not held in memory. Raises ValueError, see `each_trajectory`.
    """
    return dict(each_trajectory(folder, ids))


def each_trajectory(folder: Path, ids: Collection[str]) -> Iterator[tuple[str, Trajectory]]:
    """The trajectories of these questions, one at a time, in the order in which they were written.

    If a question has several, the last one counts. A torn last line is skipped, as in `read_records`; any
    other invalid line raises ValueError with file and line.
    """
    file = folder / TRAJECTORIES
    if not ids or not file.exists():
        return
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                data = json.loads(line)
                if data["id"] not in ids:
                    continue
                trajectory = Trajectory.from_dict(data["trajectory"])
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{file}:{number}: not a trajectory ({error})") from None
            yield data["id"], trajectory


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    try:
        manifest = json.loads(file.read_text("utf-8"))
    except OSError:
        raise ValueError(f"{folder} holds no run: {MANIFEST} is missing") from None
    except ValueError as error:
        raise ValueError(f"{file} is not JSON ({error})") from None
    missing = list(_missing(manifest))
    if missing:
        raise ValueError(f"{file} is not the manifest of a run: it lacks {', '.join(missing)}")
    found: dict[str, Any] = manifest
    return found


def _missing(manifest: Any) -> Iterator[str]:
    # Runs without a judge name their metrics.
    scored_by = () if isinstance(manifest, dict) and "metrics" in manifest else ("judge.name",)
    for path in ("method", *scored_by, "dataset.name", "dataset.hash"):
        value = manifest
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            yield path


def _records(folder: Path, *, judged: bool) -> tuple[Record, ...]:
    if not (folder / RECORDS).exists():
        raise ValueError(f"{folder} holds no run: {RECORDS} is missing")
    records = sorted(read_records(folder), key=lambda record: record.id)
    for record in records:
        if judged and not record.aspects:
            raise ValueError(f"{folder / RECORDS}: question {record.id!r} has no rubric aspect")
    for one, other in pairwise(records):
        if one.id == other.id:
            raise ValueError(f"{folder / RECORDS}: question {one.id!r} occurs twice")
    return tuple(records)


def _names(folders: Sequence[Path], methods: Sequence[str]) -> list[str]:
    names = list(methods)
    for wider in (lambda folder: folder.name, lambda folder: str(folder)):
        counts = Counter(names)
        names = [
            f"{method} ({wider(folder)})" if counts[name] > 1 else name
            for name, method, folder in zip(names, methods, folders, strict=True)
        ]
    return names


def _check_same_data(folders: Sequence[Path], manifests: Sequence[dict[str, Any]]) -> None:
    if len({manifest["dataset"]["hash"] for manifest in manifests}) > 1:
        data = "; ".join(
            f"{folder}: {manifest['dataset']['name']}, hash {manifest['dataset']['hash']}"
            for folder, manifest in zip(folders, manifests, strict=True)
        )
        raise ValueError(f"the runs are over different data and cannot share a report ({data})")
