"""Writes pr2.json next to trained weights: the version of the prompts that they expect."""

from pathlib import Path
from typing import Any, Literal

from agent.checkpoints import STAMP
from agent.prompts import PROMPT_VERSION
from training.folder import write_json

Kind = Literal["planner", "policy", "retriever", "reward-model", "selector"]


def stamp(folder: Path, kind: Kind, **facts: Any) -> None:
    """Write the file to the folder of the weights, with `facts` (JSON values) beside the version."""
    write_json(folder / STAMP, {"kind": kind, "prompt_version": PROMPT_VERSION, **facts})
