"""Models by OpenAI's API: a model is a method, and `pr2:USER` also names the person."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from agent.methods import METHODS, Method
from server.http.paths import ModelPath
from server.http.state import Caller, of
from server.http.wire import JSONBody
from server.openai.errors import OpenAIProblem

MODELS: Mapping[str, Method] = {
    name if name.startswith("pr2") else f"pr2-{name}": method for name, method in METHODS.items()
}
"""Methods by their model names."""

router = APIRouter()


def split_model(model: str) -> tuple[str, str | None]:
    """The method's model, and the user in the form `pr2:USER`, for clients that only choose a model."""
    name, colon, user = model.partition(":")
    return (name, user) if colon and name in MODELS else (model, None)


def method_of(model: str) -> Method:
    """The method of a model, with or without a user. Raises OpenAIProblem."""
    name = split_model(model)[0]
    if name not in MODELS:
        there_is = f"there is no model {name!r}; there are {', '.join(MODELS)}"
        raise OpenAIProblem(404, there_is, "model", "model_not_found")
    return MODELS[name]


@router.get("/models", summary="List the models")
async def list_models(request: Request, access: Caller) -> JSONBody:
    """One model for each method and, with the setting `identity.list_users`, `pr2:USER` for each user."""
    users = await access.users() if of(request).lists_users else []
    data = [_model_body(model) for model in [*MODELS, *(f"pr2:{user}" for user in users)]]
    return JSONBody({"object": "list", "data": data})


@router.get("/models/{model:segment}", summary="Look up a model")
async def get_model(access: Caller, model: ModelPath) -> JSONBody:
    user = split_model(model)[1]
    if user is not None:
        access.check("read", access.identify({"model": user}).user)
    return JSONBody(_model_body(model))


def _model_body(model: str) -> dict[str, Any]:
    return {
        "id": model,
        "object": "model",
        "created": 0,
        "owned_by": "pr2",
        "description": method_of(model).title,
    }
