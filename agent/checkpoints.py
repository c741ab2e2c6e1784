"""Reads pr2.json next to trained weights: what was trained, and on which version of the prompts."""

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from agent.engines.errors import EngineError
from agent.prompts import PROMPT_VERSION
from index.documents import all_faults

STAMP = "pr2.json"

Manifest = TypeVar("Manifest", bound=BaseModel)


def read_stamp(
    folder: Path, manifest: type[Manifest], kind: str, command: str, error: type[Exception]
) -> Manifest:
    """Read what the model in the folder was trained for.

    Raises `error`, naming the `kind` of model and the `command` that writes one, if there is none, or if the
    file describes another kind.
    """
    file = folder / STAMP
    try:
        return manifest.model_validate_json(file.read_bytes())
    except OSError:
        raise error(f"{folder} holds no {kind}: {STAMP} is missing; `{command}` writes one") from None
    except ValidationError as faults:
        raise error(f"{file} does not describe a {kind}: {all_faults(faults)}") from None


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
