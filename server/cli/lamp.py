"""LaMP's part of `pr2 evaluate`: its options, its answers, and the scores of a file of predictions."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from server.cli.errors import BadInput, as_cli_errors

if TYPE_CHECKING:
    from agent.engines.settings import EngineSettings
    from agent.engines.text import TextModel
    from server.cli.answers import BackendAnswers
    from training.evaluation.answers import Answers
    from training.tasks.lamp.task import Lamp

Benchmark = Annotated[
    Literal["lamp-qa", "lamp"],
    typer.Option("--benchmark", help="LaMP-QA's open questions, or one of LaMP's seven tasks (--task)."),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME|PATH",
        help="sample (default), lamp-qa, or a JSON or JSONL file. For LaMP: lamp-sample (default), lamp, "
        "or a folder or file of its layout.",
    ),
]
TaskNumber = Annotated[int | None, typer.Option("--task", min=1, max=7, help="The task of LaMP.")]
Separation = Annotated[
    Literal["time", "user"] | None,
    typer.Option("--separation", help="For LaMP: how the published data are divided; default: time."),
]
Dates = Annotated[
    bool, typer.Option("--dates", help="For LaMP: append dates to the text that retrievers see.")
]
PromptTokens = Annotated[
    int | None,
    typer.Option("--prompt-tokens", min=16, help="For LaMP: most tokens of a prompt; default: 511."),
]
LampDataset = Annotated[
    str, typer.Option("--dataset", metavar="NAME|PATH", help="lamp-sample, lamp, a folder or a file.")
]
LampSplit = Annotated[str, typer.Option("--split", help="train, dev or test.")]

Adapted = Callable[["BackendAnswers"], AbstractAsyncContextManager["Answers"]]


@dataclass(frozen=True)
class LampOptions:
    """The options of an evaluation that are for LaMP alone."""

    number: int | None
    separation: Literal["time", "user"] | None = None
    dates: bool = False
    engine: str | None = None
    beams: int | None = None
    tokenizer: str | None = None
    prompt_tokens: int | None = None

    def task(self, dataset: str | None) -> "Lamp":
        """The task. Raises BadInput without its number, and DatasetUnavailable."""
        from training.tasks.lamp.task import SAMPLE, lamp_task

        if self.number is None:
            raise BadInput("--benchmark lamp needs --task, a number from 1 to 7")
        return lamp_task(dataset or SAMPLE, self.number, separation=self.separation, dates=self.dates)

    def check_absent(self) -> None:
        """Raises BadInput if one of them is given with another benchmark."""
        given = [f"--{name.replace('number', 'task').replace('_', '-')}" for name, value in vars(self).items()
                 if value]  # fmt: skip
        if given:
            raise BadInput(f"{', '.join(given)}: only with --benchmark lamp")

    def answering(
        self, flags: dict[str, Any], limits: Mapping[str, Any], method: str | None = None, *, local: bool
    ) -> Adapted:
        """Return what makes LaMP's answers from those of the backend; see `policy` and `text_model`."""
        from training.tasks.lamp.prompts import TOKENS
        from training.tasks.lamp.reasoned import METHOD

        number = self.number
        assert number is not None
        if method == METHOD:
            settings = self.policy(flags, limits, local=local)
            return lambda backend: _reasoned(backend, number, settings)
        model = self.text_model(flags, limits, local=local)
        return lambda backend: _answers(backend, number, model, self.prompt_tokens or TOKENS)

    def policy(self, flags: dict[str, Any], limits: Mapping[str, Any], *, local: bool) -> "EngineSettings":
        """The settings of the policy that the flags name; as for `text_model`, they leave `flags`.

        Raises BadInput and ValidationError.
        """
        from server.settings import Settings

        unfit = [name for name in ("engine", "beams", "tokenizer", "prompt_tokens") if getattr(self, name)]
        unfit += [name for name in ("planner",) if name in flags]
        unfit += [name for name in ("max_searches",) if name in limits]
        if unfit:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in unfit)
            raise BadInput(f"{options}: not for prlm, which is answered by the policy (--policy)")
        settings = Settings(**flags).policy
        flags.pop("policy", None)
        if local:
            flags["policy"] = {"engine": "extractive", "protocol": "tags"}
        return settings

    def text_model(self, flags: dict[str, Any], limits: Mapping[str, Any], *, local: bool) -> "TextModel":
        """The text model that the policy's flags name.

        They are taken out of `flags`, so that a local backend, which only searches, loads no model. Raises
        BadInput, ValidationError and EngineError.
        """
        from server.cli.texts import open_text_model
        from server.settings import Settings

        given = flags.pop("policy", {})
        unfit = ["--planner-…"] if "planner" in flags else []
        unfit += ["--max-searches"] if "max_searches" in limits else []
        unfit += ["--protocol"] if "protocol" in given else []
        if unfit:
            raise BadInput(f"{', '.join(unfit)}: not for LaMP, which is answered by one prompt")
        model = open_text_model(
            Settings(**flags),
            self.engine or given.get("engine"),
            given,
            beams=self.beams,
            tokenizer=self.tokenizer,
            max_tokens=limits.get("max_tokens"),
        )
        if local:
            flags["policy"] = {"engine": "extractive", "protocol": "tags"}
        return model


@asynccontextmanager
async def _answers(
    backend: "BackendAnswers", number: int, model: "TextModel", tokens: int
) -> AsyncIterator["Answers"]:
    from training.tasks.lamp.answers import LampAnswers

    async with aclosing(model):
        yield LampAnswers(backend, number, model, tokens, backend.chooser)


@asynccontextmanager
async def _reasoned(
    backend: "BackendAnswers", number: int, settings: "EngineSettings"
) -> AsyncIterator["Answers"]:
    from agent.engines.factory import make_policy
    from server.cli.answers import ENGINE
    from training.tasks.lamp.reasoned import ReasonedAnswers

    described = settings.model_dump(mode="json", include=ENGINE)
    async with aclosing(make_policy(settings)) as policy:
        yield ReasonedAnswers(backend, number, policy, settings.protocol, described)


def predictions(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Predictions, as LaMP publishes outputs.", show_default=False),
    ],
    task: TaskNumber = None,
    dataset: LampDataset = "lamp-sample",
    split: LampSplit = "dev",
    separation: Separation = None,
) -> None:
    """Score a file of predictions for one of LaMP's tasks. Ids that are missing or extra are refused."""
    with as_cli_errors():
        from training.tasks.lamp.scoring import score_predictions

        chosen = LampOptions(task, separation).task(dataset)
        found = asyncio.run(score_predictions(chosen, split, file))
        for name, score in found.scores.items():
            typer.echo(f"{name}  {score:.4f}")
        typer.echo(f"{found.questions} questions, {found.unusable} unusable outputs")
