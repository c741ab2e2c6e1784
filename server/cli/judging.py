"""The options that name a judge, shared by the commands that score answers."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent.engines.registry import chat_models
from server.cli.errors import BadInput

if TYPE_CHECKING:
    from training.judging.factory import JudgeConfiguration

    JudgeName = str
else:
    JudgeName = Literal["lexical", *chat_models()]

Kind = Annotated[
    JudgeName,
    typer.Option("--judge", help="lexical needs no model; its scores are not comparable with LaMP-QA's."),
]
Url = Annotated[
    str | None, typer.Option("--judge-url", metavar="URL", help="The judge's server, including /v1.")
]
Model = Annotated[str, typer.Option("--judge-model", help="The model at that server; for vllm, its folder.")]
Arguments = Annotated[
    str, typer.Option("--judge-args", metavar="JSON", help="Engine arguments of the judge's vllm.")
]


def judge_configuration(kind: JudgeName, url: str | None, model: str, arguments: str) -> "JudgeConfiguration":
    """The judge that the options name. Raises BadInput."""
    from training.judging.factory import JudgeConfiguration

    if kind == "openai" and url is None:
        raise BadInput("--judge openai needs --judge-url, the address of the judge's server")
    if kind == "vllm" and not model:
        raise BadInput("--judge vllm needs --judge-model: a folder, or a name on the hub")
    return JudgeConfiguration(kind=kind, url=url, model=model, engine_args=_parsed(arguments))


def _parsed(arguments: str) -> dict[str, Any]:
    try:
        parsed = json.loads(arguments)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise BadInput("--judge-args must be a JSON object, like '{\"tensor_parallel_size\": 2}'")
    return parsed
