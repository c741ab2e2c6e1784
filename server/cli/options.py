"""The options that several commands share, and how they become settings."""

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
