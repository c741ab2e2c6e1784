"""A reward model without weights, and its server in the same process."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from training.reward_model.client import RewardClient
from training.reward_model.records import Response
from training.reward_model.serving import WAITING, create_app

MODEL = "f" * 64


@dataclass
class ScriptedScorer:
    """Scores by a rule, and records its batches."""

    rule: Callable[[Response], float] = lambda response: 1.0
    fingerprint: str = MODEL
    reads_history: bool = True
    batches: list[list[Response]] = field(default_factory=list)
    entered: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)
    """Cleared, it makes the first batch wait."""

    def __post_init__(self) -> None:
        self.hold.set()

    def scores(self, responses: Sequence[Response]) -> list[float]:
        self.batches.append(list(responses))
        self.entered.set()
        assert self.hold.wait(60)
        return [self.rule(response) for response in responses]


def client(scorer: ScriptedScorer, model: str = MODEL, waiting: int = WAITING) -> RewardClient:
    """A client whose server is the application itself, without a socket."""
    transport = httpx.ASGITransport(app=create_app(scorer, waiting=waiting), raise_app_exceptions=False)
    return RewardClient("http://reward", model, transport=transport, patience_s=0.0)
