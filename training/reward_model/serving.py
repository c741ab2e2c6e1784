"""Serves one reward model to all workers of a training: `POST /v1/scores` and `GET /healthz`.

Concurrent requests share a forward pass. What the model gave no finite number for has the score null.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from index.batching import Batcher
from training.reward_model.records import Response

WAITING = 4_096
"""Most responses that wait for their scores; further requests are answered 503."""
_A_REQUEST = 256


class Scorer(Protocol):
    """A model that can be served, such as RewardModel."""

    @property
    def fingerprint(self) -> str:
        """Identifies the weights."""
        ...

    @property
    def reads_history(self) -> bool: ...

    def scores(self, responses: Sequence[Response]) -> list[float]:
        """One score for each response. Blocks while the model runs."""
        ...


class ScoredResponse(BaseModel):
    """One response to score; see records.Response."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    question: str
    answer: str
    history: Annotated[tuple[str, ...], Field(strict=False)] = ()


class Scores(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    responses: Annotated[tuple[ScoredResponse, ...], Field(min_length=1, max_length=_A_REQUEST)]


def create_app(model: Scorer, *, waiting: int = WAITING) -> FastAPI:
    """The application. `waiting` bounds the responses that are scored or wait for it."""
    app = FastAPI(title="PR² reward model", docs_url=None, redoc_url=None)
    batcher = Batcher[Response, float](lambda responses: asyncio.to_thread(_scored, model, responses))
    taken = 0

    @app.get("/healthz")
    async def health() -> Mapping[str, Any]:
        return {
            "status": "ok",
            "model": model.fingerprint,
            "reads_history": model.reads_history,
            "waiting": taken,
        }

    @app.post("/v1/scores")
    async def scores(asked: Scores) -> Mapping[str, Any]:
        nonlocal taken
        if taken + len(asked.responses) > waiting:
            raise HTTPException(503, "too many responses wait for their scores", {"retry-after": "1"})
        taken += len(asked.responses)
        try:
            responses = (Response(one.question, one.answer, one.history) for one in asked.responses)
            found = await asyncio.gather(*map(batcher, responses))
        finally:
            taken -= len(asked.responses)
        finite = [score if math.isfinite(score) else None for score in found]
        return {"scores": finite, "model": model.fingerprint}

    return app


def _scored(model: Scorer, responses: Sequence[Response]) -> Sequence[float]:
    scores = model.scores(responses)
    if len(scores) != len(responses):
        raise RuntimeError(f"the reward model gave {len(scores)} scores for {len(responses)} responses")
    return scores
