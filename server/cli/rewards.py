"""The options that choose the reward of a training."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from server.cli.errors import BadInput

if TYPE_CHECKING:
    from training.policy.prlm_reward import PrlmSettings
    from training.policy.rubric_reward import RubricSettings

Name = Annotated[
    Literal["rubric", "prlm"],
    typer.Option(
        "--reward", help="rubric: the judge's score. prlm: quality, form, and a reward model's preference."
    ),
]
Quality = Annotated[
    Literal["rouge", "rouge-sum", "rubric"] | None,
    typer.Option(
        "--quality",
        help="For prlm: mean of ROUGE-1, -2 and -L against the reference (default), their sum as in the "
        "paper, or the judge's score.",
    ),
]
Format = Annotated[
    float | None,
    typer.Option("--weight-format", min=0, help="For prlm: weight of the form; default 0.1."),
]
Preference = Annotated[
    float | None,
    typer.Option(
        "--weight-preference", min=0, help="For prlm: weight of the reward model's preference; default 0.1."
    ),
]
Model = Annotated[
    Path | None,
    typer.Option("--reward-model", metavar="FOLDER", help="For prlm: of pr2 train reward-model."),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--reward-url",
        metavar="URL",
        help="For prlm: address of pr2 train reward-server; default http://127.0.0.1:8003.",
    ),
]

_URL = "http://127.0.0.1:8003"


def reward_settings(
    name: Literal["rubric", "prlm"],
    quality: Literal["rouge", "rouge-sum", "rubric"] | None,
    weight_format: float | None,
    weight_preference: float | None,
    model: Path | None,
    url: str | None,
) -> "RubricSettings | PrlmSettings":
    """The reward that the options choose. Raises BadInput, and UnfitRewardModel for another folder."""
    from training.policy.prlm import Weights
    from training.policy.prlm_reward import PrlmSettings
    from training.policy.rubric_reward import RubricSettings
    from training.reward_model.model import read_manifest

    if name == "rubric":
        given = {
            "--quality": quality,
            "--weight-format": weight_format,
            "--weight-preference": weight_preference,
            "--reward-model": model,
            "--reward-url": url,
        }
        if unfit := [option for option, value in given.items() if value is not None]:
            raise BadInput(f"{', '.join(unfit)}: only with --reward prlm")
        return RubricSettings()
    if model is None:
        raise BadInput("--reward prlm needs --reward-model, the folder that pr2 train reward-model wrote")
    if url is not None and not re.match(r"https?://[^\s/]", url):
        raise BadInput(f"--reward-url must be the URL of a server, like {_URL}, not {url!r}")
    default = Weights()
    return PrlmSettings.model_validate(
        {
            "quality": quality or "rouge",
            "weights": {
                "format": default.format if weight_format is None else weight_format,
                "preference": default.preference if weight_preference is None else weight_preference,
            },
            "url": url or _URL,
            "model": read_manifest(model).weights,
        }
    )
