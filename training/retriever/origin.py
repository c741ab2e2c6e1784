"""Checks that feedback belongs to the encoder that is to be trained on it, and to one task."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.checkpoints import STAMP
from index.encoding.encoders import EncoderManifest
from training.errors import TrainingError
from training.feedback.records import ENCODER, TASK

_VECTORS = ("weights_sha256", "pooling", "normalized", "query_prompt", "document_prompt")
"""Fields of an encoder's manifest that determine the vector of a text."""


class ForeignFeedback(TrainingError, ValueError):
    """The feedback was made with another encoder, or for another task."""


def check_encoder(feedback: Path, manifest: Mapping[str, Any], encoder: EncoderManifest) -> None:
    """Raises ForeignFeedback unless the feedback's first ranking was made by this encoder.

    The first document of another ranking is not the baseline d_b, and what it left out was never judged.
    """
    ranked = manifest[ENCODER]
    if ranked is None:
        raise ForeignFeedback(f"the documents in {feedback} were ranked without an encoder; {_ANYWAY}")
    now = encoder.to_dict()
    if differing := [key for key in _VECTORS if ranked.get(key, "") != now.get(key, "")]:
        said = "; ".join(
            f"{key}: {ranked.get(key, '')!r} there, {now.get(key, '')!r} here" for key in differing
        )
        raise ForeignFeedback(
            f"the documents in {feedback} were ranked by another encoder, {ranked.get('name')}, than "
            f"{encoder.name} ({said}); {_ANYWAY}"
        )


def check_task(feedback: Path, manifest: Mapping[str, Any], task: str, of: str) -> None:
    """Raises ForeignFeedback unless the feedback is for `task`, the one of `of`."""
    if manifest[TASK] != task:
        raise ForeignFeedback(
            f"the feedback in {feedback} is for the task {manifest[TASK]}, and {of} for {task}; {_ANYWAY}"
        )


def trained_task(encoder: str) -> str | None:
    """The task that an encoder in this folder was trained for; None if it has no such stamp."""
    file = Path(encoder) / STAMP
    if not file.is_file():
        return None
    try:
        task = json.loads(file.read_text("utf-8"))[TASK]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ForeignFeedback(f"{file} does not say what the encoder was trained on: {error}") from None
    return str(task)


_ANYWAY = "--any-feedback trains on it all the same"
