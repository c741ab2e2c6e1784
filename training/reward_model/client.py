"""Scores answers with a reward model that `pr2 train reward-server` serves. A failure is never a score."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import httpx

from training.errors import TrainingError
from training.reward_model.records import Response

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_BUSY = (502, 503, 504)
"""Answers of a server, or of a proxy before it, that is starting, busy or gone."""


class RewardModelUnavailable(TrainingError):
    """The reward model cannot be reached, or its server fails. The message names the address."""


class InvalidScore(TrainingError):
    """The server's answer is no score of the expected model: NaN, a wrong count, or another model."""


class PreferenceModel(Protocol):
    """The seam to whatever says how personal an answer is."""

    async def score(self, response: Response) -> float:
        """The score s, a finite number. Raises RewardModelUnavailable, InvalidScore."""
        ...

    async def check(self) -> None:
        """Raises RewardModelUnavailable or InvalidScore, saying what to do, if it cannot score."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


class RewardClient:
    """A reward model behind HTTP. For one event loop."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        timeout_s: float = 60.0,
        patience_s: float = 30.0,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`model` is the fingerprint of the expected model.

        A call that finds no server, or a busy one, is repeated for `patience_s`. Raises ValueError if the URL
        is invalid.
        """
        self._url = url.rstrip("/")
        self._model = model
        self._patience_s = patience_s
        self._sleep = sleep
        self._clock = clock
        try:
            self._http = httpx.AsyncClient(
                base_url=self._url,
                timeout=timeout_s,
                transport=transport,
                # One call for each rollout: the server batches what waits.
                limits=httpx.Limits(max_connections=None),
            )
        except httpx.InvalidURL as error:
            raise ValueError(f"{url!r} is not a URL: {error}") from None

    async def score(self, response: Response) -> float:
        """See PreferenceModel."""
        asked = {
            "question": response.question,
            "answer": response.answer,
            "history": list(response.history),
        }
        reply = await self._call("POST", "/v1/scores", {"responses": [asked]})
        self._check_model(reply)
        scores = reply.get("scores")
        if not isinstance(scores, list) or len(scores) != 1:
            raise InvalidScore(f"the reward model at {self._url} gave no list of one score")
        score = scores[0]
        if type(score) not in (int, float) or not math.isfinite(score):
            raise InvalidScore(f"the reward model at {self._url} gave {score}, which is no score")
        return float(score)

    async def check(self) -> None:
        """See PreferenceModel: the server answers, serves the expected model, and gives a number."""
        self._check_model(await self._call("GET", "/healthz"))
        await self.score(Response("What do I drink?", "Green tea.", ("I drink green tea.",)))

    async def aclose(self) -> None:
        """See PreferenceModel."""
        await self._http.aclose()

    def _check_model(self, reply: dict[str, Any]) -> None:
        model = reply.get("model")
        if model != self._model:
            raise InvalidScore(
                f"the server at {self._url} has the reward model {str(model)[:12]}, but training was "
                f"prepared for {self._model[:12]}: serve that one, or prepare again (pr2 train prepare)"
            )

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The JSON object of the reply, or the typed failure."""
        began, wait = self._clock(), _FIRST_WAIT_S
        while True:
            try:
                reply = await self._http.request(method, path, json=body)
                if reply.status_code not in _BUSY:
                    return self._object(reply)
                why = f"answered {reply.status_code}"
            except httpx.TimeoutException:
                # It was given its time; a slow server only gets slower from repeated work.
                raise self._unavailable("did not answer in time") from None
            except httpx.TransportError as error:
                why = f"is away ({type(error).__name__})"
            if self._clock() - began + wait > self._patience_s:
                raise self._unavailable(why)
            await self._sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_S)

    def _object(self, reply: httpx.Response) -> dict[str, Any]:
        if reply.status_code != 200:
            raise self._unavailable(f"answered {reply.status_code}")
        try:
            content = reply.json()
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise self._unavailable("did not answer with a JSON object")
        return content

    def _unavailable(self, why: str) -> RewardModelUnavailable:
        return RewardModelUnavailable(
            f"the reward model at {self._url} {why}: start it (pr2 train reward-server FOLDER)"
        )
