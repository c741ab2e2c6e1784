"""What weights were trained for, as a file beside them: they only fit the prompts of their training."""

import json
from pathlib import Path

from agent.engines.errors import EngineError
from agent.prompts import PROMPT_VERSION

STAMP = "pr2.json"


def prompt_version(model: str) -> str | None:
    """Of the prompts that the model in this folder was trained on; None where nothing says so.

    Raises EngineError when the file cannot be read.
    """
    file = Path(model) / STAMP
    if not model or not file.is_file():
        return None
    try:
        return str(json.loads(file.read_text("utf-8"))["prompt_version"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError("refused", f"{file} does not say what the model was trained on: {error}") from None


def check_prompts(model: str) -> None:
    """Raises EngineError for a model that was trained on other prompts than those that it would be given."""
    version = prompt_version(model)
    if version not in (None, PROMPT_VERSION):
        raise EngineError(
            "refused",
            f"the model in {model} was trained on version {version} of the prompts, and this is version "
            f"{PROMPT_VERSION}: train it anew, or serve it with the release that it was trained with",
        )
