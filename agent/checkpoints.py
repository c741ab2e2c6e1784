"""Reads pr2.json next to trained weights: the version of the prompts that they were trained on."""

import json
from pathlib import Path

from agent.engines.errors import EngineError
from agent.prompts import PROMPT_VERSION

STAMP = "pr2.json"


def prompt_version(model: str) -> str | None:
    """The version of the prompts that the model in this folder was trained on; None if not recorded.

    Raises EngineError if the file is invalid.
    """
    file = Path(model) / STAMP
    if not model or not file.is_file():
        return None
    try:
        return str(json.loads(file.read_text("utf-8"))["prompt_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError("refused", f"{file} does not say what the model was trained on: {error}") from None


def check_prompts(model: str) -> None:
    """Raises EngineError if the model was trained on prompts of another version than PROMPT_VERSION."""
    version = prompt_version(model)
    if version not in (None, PROMPT_VERSION):
        raise EngineError(
            "refused",
            f"the model in {model} was trained on version {version} of the prompts, and this is version "
            f"{PROMPT_VERSION}: retrain it, or serve it with the release that trained it",
        )
