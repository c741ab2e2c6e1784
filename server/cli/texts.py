"""The options that name a text model, shared by the commands whose models continue plain prompts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from agent.engines.registry import text_models
from server.cli.errors import BadInput

if TYPE_CHECKING:
    from agent.engines.text import TextModel
    from server.settings import Settings

    TextEngine = str
else:
    TextEngine = Literal[*text_models()]

Engine = Annotated[
    TextEngine | None,
    typer.Option(
        "--engine",
        help="Engine that continues plain prompts: seq2seq for T5, a server, or vLLM in process.",
    ),
]
Beams = Annotated[
    int | None,
    typer.Option("--beams", min=1, help="Width of the beam search; default: 4 for seq2seq, 1 for others."),
]
Tokenizer = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="NAME|DIR",
        help="The model's tokenizer, for a server without an endpoint that counts tokens.",
    ),
]

PUBLISHED_BEAMS = 4
"""Of LaMP's published results (arXiv 2404.05970)."""
BEAM_ENGINE = "seq2seq"


def open_text_model(
    settings: "Settings",
    engine: TextEngine | None,
    given: Mapping[str, Any],
    *,
    beams: int | None = None,
    tokenizer: str | None = None,
    max_tokens: int | None = None,
) -> "TextModel":
    """The text model that the options name, over the policy's settings. `given` are flags of the policy.

    Raises BadInput if no engine is named that has one, ValidationError and EngineError.
    """
    from agent.engines.factory import text_model
    from agent.engines.settings import EngineSettings
    from agent.engines.text import Decoding

    policy = settings.policy
    values = {**policy.model_dump(exclude={"protocol"}), **given, "engine": engine or policy.engine}
    if tokenizer is not None:
        values["tokenizer"] = tokenizer
    if values["engine"] not in text_models():
        raise BadInput(
            f"give --engine, one of {', '.join(text_models())}: {policy.engine} writes no plain text"
        )
    chosen = EngineSettings.model_validate(values)
    default = Decoding(temperature=chosen.temperature)
    decoding = Decoding(
        beams=beams or (PUBLISHED_BEAMS if chosen.engine == BEAM_ENGINE else default.beams),
        temperature=chosen.temperature,
        max_tokens=max_tokens or default.max_tokens,
    )
    return text_model(chosen, decoding)
