"""The options that several commands share, and how they become settings."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent.engines.registry import ENGINES

if TYPE_CHECKING:
    EngineName = str
else:
    EngineName = Literal[*ENGINES]

User = Annotated[str, typer.Argument(metavar="USER", help="Whose profile it is.", show_default=False)]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="A pr2 server to ask, instead of the local store."),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="The folder of the local store, if not ./data."),
]
Encoder = Annotated[
    str | None,
    typer.Option("--encoder", help="minilm, contriever, or the path of a sentence-transformers model."),
]
Retriever = Annotated[
    str | None,
    typer.Option("--retriever", help="How to rank the profile: hybrid, dense, bm25, recency, rrf, …"),
]
PolicyName = Annotated[
    EngineName | None,
    typer.Option(
        "--policy",
        help="What writes the answers: no model at all, an OpenAI-compatible server, or vLLM in process.",
    ),
]
Protocol = Annotated[
    Literal["tags", "tools", "json"] | None,
    typer.Option(
        "--protocol",
        help="tags for a trained policy, tools for a chat model that calls tools, json for LaMP-QA's "
        "baselines.",
    ),
]
BaseUrl = Annotated[
    str | None,
    typer.Option("--base-url", metavar="URL", help="Of the OpenAI-compatible server, up to and with /v1."),
]
Model = Annotated[
    str | None, typer.Option("--model", help="The model's name at that server; its folder for vllm.")
]
PlannerModel = Annotated[
    str | None,
    typer.Option("--planner-model", help="What writes the plans of planpers, if not the model itself."),
]
PlannerProtocol = Annotated[
    Literal["tags", "tools", "json"] | None,
    typer.Option("--planner-protocol", help="Its own, if not the policy's; tags for one that was trained."),
]
PlannerUrl = Annotated[
    str | None, typer.Option("--planner-url", metavar="URL", help="Of its server, if not the same one.")
]
LearnedFrom = Annotated[
    str, typer.Option("--dataset", metavar="NAME|FILE", help="lamp-qa, sample, or a JSON or JSONL file.")
]
Validation = Annotated[
    Path | None,
    typer.Option("--validation", metavar="FILE", help="To validate with; else LaMP-QA's own, or a tenth."),
]
MostOfEach = Annotated[
    int | None, typer.Option("--limit", min=1, help="Only the first so many questions of each part.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Plain text, also on a terminal.")]

OPTIONS: Mapping[str, Any] = {
    "host": Annotated[str | None, typer.Option(help="The address to listen at, if not 127.0.0.1.")],
    "port": Annotated[int | None, typer.Option(help="The port, if not 8000; 0 is any free one.")],
    "data": Data,
    "encoder": Encoder,
    "passage_tokens": Annotated[
        int | None, typer.Option(help="Longer documents are split into passages; 512 for whole ones.")
    ],
    "retriever": Retriever,
    "policy": PolicyName,
    "base_url": BaseUrl,
    "model": Model,
    "protocol": Protocol,
    "planner_model": PlannerModel,
    "planner_url": PlannerUrl,
    "planner_protocol": PlannerProtocol,
    "max_searches": Annotated[int | None, typer.Option(help="The most searches.")],
    "top_k": Annotated[int | None, typer.Option(help="Documents that one search brings.")],
    "max_documents": Annotated[int | None, typer.Option(help="Documents that may be read in all.")],
    "max_tokens": Annotated[int | None, typer.Option(help="Tokens that the policy may write.")],
    "deadline_ms": Annotated[int | None, typer.Option(help="Milliseconds until the answer.")],
}
"""Options by the name of the setting or limit that they set; see `shared`."""
POLICY = ("policy", "base_url", "model", "protocol")
PLANNER = ("planner_model", "planner_url", "planner_protocol")
LIMITS = ("max_searches", "top_k", "max_documents", "max_tokens", "deadline_ms")

Given = Mapping[str, Any]
Command = Callable[..., None]


def shared(**groups: Sequence[str]) -> Callable[[Command], Command]:
    """Decorate a command so that its parameters `flags` and `limits` stand for the named OPTIONS.

    The command gets a mapping of the options that were given; `flags` has the shape of the settings.
    """

    def decorate(command: Command) -> Command:
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(command, eval_str=True).parameters.values():
            if parameter.name in groups:
                parameters += map(_parameter, groups[parameter.name])
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

        @functools.wraps(command)
        def run(**values: Any) -> None:
            for group, names in groups.items():
                chosen = {name: values.pop(name) for name in names}
                values[group] = flags(**chosen) if group == "flags" else _given(**chosen)
            command(**values)

        # Typer reads both.
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=OPTIONS[name])


def flags(
    *,
    policy: str | None = None,
    base_url: str | None = None,
    model: str | None = None,
    protocol: str | None = None,
    planner_model: str | None = None,
    planner_url: str | None = None,
    planner_protocol: str | None = None,
    **others: Any,
) -> dict[str, Any]:
    """What was given on the command line, in the shape of the settings; the rest is left to them."""
    nested = _given(engine=policy, base_url=base_url, model=model, protocol=protocol)
    planner = _given(model=planner_model, base_url=planner_url, protocol=planner_protocol)
    if planner_url is not None:
        planner["engine"] = "openai"
    return _given(**others, policy=nested or None, planner=planner or None)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
