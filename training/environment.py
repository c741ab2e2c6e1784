"""Where a policy is trained: the service's own episodes, each over its own person's profile, and the judge.

One object in each process that rolls out. The store is prepared beforehand and only read.
"""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from agent.prompts import PROMPT_VERSION
from agent.trajectory import Limits
from training.reward import Costs

CONFIGURATION = "PR2_TRAINING"
"""The environment variable that names the configuration's file."""


class JudgeConfiguration(BaseModel):
    """Which judge scores the answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["lexical", "openai"] = "lexical"
    url: str | None = None
    """Of an OpenAI-compatible server, up to and with /v1."""
    model: str = ""
    timeout_s: float = 120.0
    at_once: int = 256
    """Calls in flight."""


class Configuration(BaseModel):
    """What the environment is made of; written as JSON by `pr2 train prepare`, read by every worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    """The folder of the store."""
    encoder: str = "minilm"
    retriever: str = "hybrid"
    limits: Limits = Limits()
    judge: JudgeConfiguration = JudgeConfiguration()
    costs: Costs = Costs()
    prompt_version: str = PROMPT_VERSION
