"""Users whom a request of OpenAI's clients names, by field."""

from collections.abc import Mapping
from typing import Any

from server.openai.bodies import MODELS, OpenAIProblem


def split_model(model: str) -> tuple[str, str | None]:
    """The method's model, and the user in the form `pr2:USER`, for clients that only choose a model."""
    name, colon, user = model.partition(":")
    return (name, user) if colon and name in MODELS else (model, None)


def named_users(
    model: str, user: str | None, safety_identifier: str | None, parameters: Mapping[str, Any]
) -> dict[str, str | None]:
    """Users by the field that names them. Raises OpenAIProblem if `metadata.user_id` is not a string."""
    metadata = parameters.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, Mapping) else None
    if user_id is not None and not isinstance(user_id, str):
        raise OpenAIProblem(400, "metadata.user_id must be a string", "metadata.user_id")
    return {
        "user": user,
        "safety_identifier": safety_identifier,
        "metadata.user_id": user_id,
        "model": split_model(model)[1],
    }
