"""Options that several commands share, and their mapping to settings."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

import typer

from agent.engines.registry import policies
from index.errors import InvalidPeriod
from index.values import Period
from index.when.zones import zone_named
from server.cli.errors import BadInput

if TYPE_CHECKING:
    from server.settings import Settings

    EngineName = str
else:
    EngineName = Literal[*policies()]

User = Annotated[
    str, typer.Argument(metavar="USER", help="Id of the user whose profile it is.", show_default=False)
]
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="A pr2 server to use instead of the local store."),
]
Data = Annotated[
    Path | None,
    typer.Option("--data", metavar="FOLDER", help="Folder of the local store; default ./data."),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        "--encoder",
        help="minilm, multilingual, openai, contriever, or the path of a sentence-transformers model.",
    ),
]


def spaces_of(pairs: Sequence[str] | None) -> dict[str, str]:
    """The encoders of further spaces, by the space's name. Raises BadParameter."""
    spaces: dict[str, str] = {}
    for pair in pairs or ():
        name, _, encoder = pair.partition("=")
        if not name or not encoder:
            raise typer.BadParameter(f"takes NAME=ENCODER, not {pair!r}")
        spaces[name] = encoder
    return spaces


def _checked(pairs: list[str] | None) -> list[str] | None:
    spaces_of(pairs)
    return pairs


Space = Annotated[
    list[str] | None,
    typer.Option(
        "--space",
        metavar="NAME=ENCODER",
        callback=_checked,
        help="A further embedding space of the store and its encoder: a retriever of that name. Repeatable.",
    ),
]
Zone = Annotated[
    str | None,
    typer.Option(
        "--time-zone",
        metavar="NAME",
        help="Time zone of times that name none, like Europe/Berlin; by default this machine's.",
    ),
]
DayFirst = Annotated[
    bool | None,
    typer.Option(
        "--day-first/--month-first",
        help="Order of dates like 03/04/2024 in files whose dates could be read in both.",
    ),
]


def zone_of(name: str | None) -> ZoneInfo | None:
    """The time zone of that name. Raises BadInput."""
    try:
        return zone_named(name) if name else None
    except InvalidPeriod:
        raise BadInput(f"{name!r} is not a time zone, like Europe/Berlin") from None


Retriever = Annotated[
    str | None,
    typer.Option(
        "--retriever",
        help="How to rank the profile: hybrid, dense, bm25, recency, rrf, a --space, …; for questions also "
        "auto, with a selector.",
    ),
]
_DAY = ["%Y-%m-%d"]
After = Annotated[
    datetime | None,
    typer.Option("--after", formats=_DAY, metavar="DAY", help="First day of what is found, like 2024-03-01."),
]
Before = Annotated[
    datetime | None,
    typer.Option(
        "--before", formats=_DAY, metavar="DAY", help="The day behind the last one of what is found."
    ),
]
Last = Annotated[
    str | None,
    typer.Option("--last", metavar="PERIOD", help="Length of the time up to today: 30d, 2w, 6m, 1y."),
]
AsOf = Annotated[
    datetime | None,
    typer.Option(
        "--as-of",
        formats=_DAY,
        metavar="DAY",
        help="Ask as on this day: documents later than it are not seen.",
    ),
]
TimeZone = Annotated[
    str | None,
    typer.Option("--time-zone", metavar="NAME", help="The person's time zone, like Europe/Berlin."),
]


def period(
    after: datetime | None = None,
    before: datetime | None = None,
    last: str | None = None,
    as_of: datetime | None = None,
    time_zone: str | None = None,
) -> Period:
    """The limits in time that the options above give."""
    days = [moment.date() if moment else None for moment in (after, before, as_of)]
    return Period(days[0], days[1], last, days[2], time_zone)


Selector = Annotated[
    Path | None,
    typer.Option("--selector", metavar="DIR", help="Folder of the selector that chooses for auto."),
]
PolicyName = Annotated[
    EngineName | None,
    typer.Option(
        "--policy",
        help="Engine that writes the answers: no model, an OpenAI-compatible server, or vLLM in process.",
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
    typer.Option("--base-url", metavar="URL", help="URL of the OpenAI-compatible server, including /v1."),
]
Model = Annotated[
    str | None, typer.Option("--model", help="Name of the model at that server; for vllm, its folder.")
]
PlannerModel = Annotated[
    str | None,
    typer.Option("--planner-model", help="Model that writes the plans of planpers, if not the policy's."),
]
PlannerProtocol = Annotated[
    Literal["tags", "tools", "json"] | None,
    typer.Option(
        "--planner-protocol", help="Protocol of that model, if not the policy's; tags for a trained one."
    ),
]
PlannerUrl = Annotated[
    str | None,
    typer.Option("--planner-url", metavar="URL", help="URL of that model's server, if not the policy's."),
]
LearnedFrom = Annotated[
    str, typer.Option("--dataset", metavar="NAME|FILE", help="lamp-qa, sample, or a JSON or JSONL file.")
]
Validation = Annotated[
    Path | None,
    typer.Option(
        "--validation", metavar="FILE", help="Validation set; default: LaMP-QA's own, or a tenth of the data."
    ),
]
MostOfEach = Annotated[
    int | None, typer.Option("--limit", min=1, help="Use only the first N questions of each part.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON on stdout.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Print plain text, even on a terminal.")]

OPTIONS: Mapping[str, Any] = {
    "host": Annotated[str | None, typer.Option(help="Address to listen on; default 127.0.0.1.")],
    "port": Annotated[int | None, typer.Option(help="Port to listen on; default 8000, 0 for any free port.")],
    "root_path": Annotated[
        str | None, typer.Option(help="Path prefix under which a proxy serves it, like /pr2.")
    ],
    "data": Data,
    "encoder": Encoder,
    "space": Space,
    "passage_tokens": Annotated[
        int | None,
        typer.Option(help="Longest passage, in tokens: longer documents are split. 512 keeps them whole."),
    ],
    "retriever": Retriever,
    "selector": Selector,
    "reranker": Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER|FORM:URL",
            help="Reranker of the passages: a cross-encoder's folder, cohere:URL (also vLLM) or tei:URL.",
        ),
    ],
    "rerank_candidates": Annotated[int | None, typer.Option(help="Passages that are reranked.")],
    "rerank_ms": Annotated[
        int | None, typer.Option(help="Longest wait for the reranker; then the retriever's order stays.")
    ],
    "policy": PolicyName,
    "base_url": BaseUrl,
    "model": Model,
    "protocol": Protocol,
    "planner_model": PlannerModel,
    "planner_url": PlannerUrl,
    "planner_protocol": PlannerProtocol,
    "max_searches": Annotated[int | None, typer.Option(help="Limit on searches.")],
    "top_k": Annotated[int | None, typer.Option(help="Documents that one search returns.")],
    "max_documents": Annotated[int | None, typer.Option(help="Limit on documents read, over all searches.")],
    "max_tokens": Annotated[int | None, typer.Option(help="Limit on tokens that the policy writes.")],
    "deadline_ms": Annotated[int | None, typer.Option(help="Deadline of the answer, in milliseconds.")],
}
"""Options by the name of the setting or limit that each sets; see `shared`."""
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
    space: Sequence[str] | None = None,
    **others: Any,
) -> dict[str, Any]:
    """The given options in the shape of the settings; omitted ones are left to other sources."""
    nested = _given(engine=policy, base_url=base_url, model=model, protocol=protocol)
    planner = _given(model=planner_model, base_url=planner_url, protocol=planner_protocol)
    if planner_url is not None:
        planner["engine"] = "openai"
    return _given(**others, spaces=spaces_of(space) or None, policy=nested or None, planner=planner or None)


def settings_of(flags: Given) -> "Settings":
    """The settings with these flags. Names the configuration file, if there is one, on stderr.

    It is read from the current folder, which may be a folder that somebody else made.
    """
    from server.settings import CONFIGURATION, Settings

    settings = Settings(**flags)
    if CONFIGURATION.is_file():
        typer.echo(f"settings from {CONFIGURATION.absolute()}", err=True)
    return settings


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
