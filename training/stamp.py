"""What trained weights are for, as a file beside them: they only fit the prompts they were trained on."""

from pathlib import Path
from typing import Any, Literal

from agent.checkpoints import STAMP
from agent.prompts import PROMPT_VERSION
from training.folder import write_json

Kind = Literal["planner", "policy"]


def stamp(folder: Path, kind: Kind, **facts: Any) -> None:
    """Write it, with this version of the prompts and other `facts`, as JSON values."""
    write_json(folder / STAMP, {"kind": kind, "prompt_version": PROMPT_VERSION, **facts})
