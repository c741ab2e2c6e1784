"""The files that a training of the policy reads: prompts, and what its environment is made of."""

import json
from collections.abc import Iterable
from pathlib import Path

from agent.trajectory import Limits
from training.errors import TrainingError
from training.evaluation.records import MANIFEST, read_records
from training.folder import replacing
from training.judging.factory import JudgeConfiguration
from training.policy.rows import Row

ENVIRONMENT = "environment.json"
TRAIN, VALIDATION = "train.jsonl", "validation.jsonl"


class UnfitRun(TrainingError, ValueError):
    """A run's scores cannot be those of answers without a profile."""


def scores_without_profile(run: Path, judge: JudgeConfiguration) -> dict[tuple[str, str], float]:
    """By id and text of a question, what a finished run of `pr2 evaluate --method none` scored.

    Only what was judged. Raises UnfitRun for another method's run, one by another judge than training has,
    and one that has not finished.
    """
    try:
        manifest = json.loads((run / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        raise UnfitRun(f"{run} holds no run of pr2 evaluate") from None
    if manifest.get("method") != "none":
        raise UnfitRun(f"{run} is a run of the method {manifest.get('method')!r}, and not of none")
    if not manifest.get("finished"):
        raise UnfitRun(f"the run in {run} is not finished: start it again")
    name = str(manifest["judge"]["name"])
    is_same = name == "lexical" if judge.kind == "lexical" else name.startswith(f"{judge.model}@")
    if not is_same:
        raise UnfitRun(
            f"{run} was judged by {name}, and training has {judge.model or judge.kind}: scores of different "
            "judges cannot be compared"
        )
    return {
        (record.id, record.question): record.score for record in read_records(run) if record.score is not None
    }


def write_prompts(file: Path, rows: Iterable[Row], limits: Limits) -> int:
    """OpenRLHF's prompt file, all of it or nothing. Returns how many rows it has."""
    count = 0
    with replacing(file) as lines:
        for row in rows:
            lines.write(json.dumps(row.to_record(limits), ensure_ascii=False) + "\n")
            count += 1
    return count
