"""The policy that writes through an OpenAI-compatible server: vLLM, llama.cpp, `transformers serve`, others.

The transcript goes to `/completions` as it is and the text comes back as a stream, so what the model
reads is exactly the episode's transcript. Whatever the server does wrong is a typed PolicyError whose
message names the server, and never the key, the prompt, or anything of the person's.
"""

import asyncio
import itertools
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, JsonValue, ValidationError

from agent.episode import Episode
from agent.policy import Chunk, PolicyError
from agent.sse import EventDecoder
from agent.tags import STOP, missing_close

RETRIED = frozenset({429, 500, 502, 503, 504})
"""Answers of a server that may be better in a moment."""

_BACK_OFF_S, _LONGEST_BACK_OFF_S = 0.25, 4.0
_LONGEST_RETRY_AFTER_S = 10.0
_REST_S = 0.1
"""How long the end of a stream may take after the last text; waiting lets the connection be used again."""
_MESSAGE_CHARACTERS = 300
_ERROR_BYTES = 2**16
_ECHO_CHARACTERS = 16
"""A server's message that shares so many characters in a row with the prompt is not passed on."""
_WORD, _ESCAPED = re.compile(r"\w+"), re.compile(r"\\[nrt]")

Body = TypeVar("Body", bound=BaseModel)


class _Choice(BaseModel):
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: JsonValue = None


class _Usage(BaseModel):
    completion_tokens: int | None = None


class _Event(BaseModel):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: JsonValue = None


class _Model(BaseModel):
    id: str


class _Models(BaseModel):
    data: list[_Model]


class _Refusal(BaseModel):
    """OpenAI's error shape; older servers put the message on top or, as FastAPI does, into `detail`."""

    error: JsonValue = None
    message: JsonValue = None
    detail: JsonValue = None


class OpenAIPolicy:
    """Writes with `model` on the server at `base_url` (up to and with `/v1`).

    Without a model's name, the first one that the server lists is used. A stream may be silent for
    `idle_timeout_s`. Before a turn's first byte a failing server is tried `retries` times more, with
    exponential back-off and jitter; a connect timeout is not, since TCP has tried again by itself.

    `stream_options` is not sent, because some servers refuse it (`transformers serve`): tokens are
    counted from the usage that a server sends of its own accord, else one for each piece of text.

    The environment's proxies are ignored: transcripts go to `base_url` and nowhere else. For a proxy or a
    private certificate authority hand in a `client`, which stays the caller's to close. Use one object
    in one event loop: it keeps connections open.
    """

    def __init__(
        self,
        base_url: str,
        model: str,
        api_key: str | None = None,
        connect_timeout_s: float = 5.0,
        idle_timeout_s: float = 30.0,
        retries: int = 3,
        temperature: float = 0.0,
        client: httpx.AsyncClient | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises httpx.InvalidURL, or ValueError for a key that no header can carry."""
        key = (api_key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError("the API key holds characters that no HTTP header can carry")
        self._key = key
        self._base_url = base_url.rstrip("/")
        self._place = str(httpx.URL(self._base_url).copy_with(userinfo=b"", query=None))
        self._model = model
        self._connect_timeout_s = connect_timeout_s
        self._idle_timeout_s = idle_timeout_s
        self._retries = retries
        self._temperature = temperature
        self._client = client
        self._owns_client = client is None
        self._sleep = sleep

    @property
    def name(self) -> str:
        """`openai:MODEL`; only `openai` until the server has been asked for its model."""
        return f"openai:{self._model}" if self._model else "openai"

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. Closing the iterator closes the HTTP stream, by which the engine knows to stop."""
        async with aclosing(self._write(episode.prompt, max_tokens, self._retries)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def check(self) -> None:
        """See Policy. Tries once, and takes no longer than the two timeouts together."""
        limit = self._connect_timeout_s + self._idle_timeout_s
        try:
            async with asyncio.timeout(limit), aclosing(self._write("<think>", 1, retries=0)) as chunks:
                async for _ in chunks:
                    pass
        except TimeoutError:
            raise PolicyError("timeout", f"{self._place} wrote no token within {limit:g} s") from None

    async def aclose(self) -> None:
        """Close the connections. A client that was handed in stays open."""
        if self._owns_client and self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    async def _write(self, prompt: str, max_tokens: int, retries: int) -> AsyncGenerator[Chunk, None]:
        request = {
            "model": await self._served_model(retries),
            "prompt": prompt,
            "stop": list(STOP),
            "stream": True,
            "max_tokens": max_tokens,
            "temperature": self._temperature,
        }
        async with (
            aclosing(await self._send("POST", "/completions", request, retries)) as response,
            aclosing(self._events(response, body := response.aiter_bytes(), prompt)) as events,
        ):
            text, counted = "", 0
            async for event in events:
                choice = event.choices[0] if event.choices else _Choice()
                piece = choice.text or ""
                text += piece
                total = event.usage.completion_tokens if event.usage else None
                tokens = int(bool(piece)) if total is None else max(total - counted, 0)
                counted += tokens
                match choice.finish_reason:
                    case None:
                        if piece or tokens:
                            yield Chunk(piece, tokens)
                    case "stop":
                        await _read_rest(body)
                        yield Chunk(piece + _trimmed_stop(choice, text), tokens, "stop")
                        return
                    case "length":
                        await _read_rest(body)
                        yield Chunk(piece, tokens, "length")
                        return
                    case "content_filter":
                        raise PolicyError("refused", f"a content filter of {self._place} ended the text")
                    case reason:
                        raise PolicyError("broken_stream", f"{self._place} ended the text: {reason[:40]!r}")
        # Also after [DONE]: without a reason the text may have been cut off anywhere, and to take it for
        # a whole turn could close a half-written answer.
        raise PolicyError("broken_stream", f"{self._place} ended the stream without a finish_reason")

    async def _events(
        self, response: httpx.Response, body: AsyncIterator[bytes], prompt: str
    ) -> AsyncGenerator[_Event, None]:
        """The JSON events of a stream, up to [DONE] or to its end."""
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type != "text/event-stream":
            raise self._bad_reply("sent no event stream")
        decoder = EventDecoder()
        while (piece := await self._next(body)) is not None:
            try:
                datas = decoder.decode(piece)
            except ValueError:
                raise self._bad_reply("sent no readable event stream") from None
            for data in datas:
                if data.strip() == "[DONE]":
                    return
                event = self._parse(_Event, data)
                if event.error is not None:
                    words = self._own_words(event.error, prompt)
                    raise PolicyError("broken_stream", f"{self._place} broke off{words}")
                if event.choices is None:
                    raise self._bad_reply("sent an event without choices")
                yield event

    async def _next(self, body: AsyncIterator[bytes]) -> bytes | None:
        try:
            return await anext(body, None)
        except httpx.TimeoutException as error:
            raise self._timeout(error) from None
        except httpx.DecodingError:
            raise self._bad_reply("sent a body that cannot be decompressed") from None
        except httpx.HTTPError:
            raise PolicyError("broken_stream", f"{self._place} broke the connection") from None

    async def _served_model(self, retries: int) -> str:
        if not self._model:
            models = await self._models(retries)
            if not models:
                raise PolicyError("refused", f"{self._place} lists no model; name one")
            self._model = self._model or models[0]
        return self._model

    async def _models(self, retries: int) -> list[str]:
        async with aclosing(await self._send("GET", "/models", None, retries)) as response:
            content, body = b"", response.aiter_bytes()
            while (piece := await self._next(body)) is not None:
                content += piece
                if len(content) > 2**20:
                    raise self._bad_reply("sent a list of models without end")
        return [model.id for model in self._parse(_Models, content).data]

    async def _send(
        self, method: str, path: str, content: Mapping[str, Any] | None, retries: int
    ) -> httpx.Response:
        """A response with status 200 whose body is still to come; the caller closes it."""
        for attempt in itertools.count():
            client = self._connected()
            request = client.build_request(
                method,
                self._base_url + path,
                json=content,
                headers=self._headers(),
                timeout=httpx.Timeout(self._idle_timeout_s, connect=self._connect_timeout_s, pool=None),
            )
            try:
                response = await client.send(request, stream=True, follow_redirects=False)
            except httpx.TimeoutException as error:
                raise self._timeout(error) from None
            except httpx.ConnectError as error:
                problem = PolicyError("unavailable", f"{self._place} cannot be reached: {error}")
                temporary, retry_after = True, ""
            except httpx.HTTPError:
                # Most often a kept connection that the server closed at the same moment.
                problem = PolicyError("unavailable", f"{self._place} gave no HTTP answer")
                temporary, retry_after = True, ""
            else:
                if response.status_code == 200:
                    return response
                async with aclosing(response):
                    problem = await self._problem(response, content["prompt"] if content else "")
                temporary = response.status_code in RETRIED
                retry_after = response.headers.get("retry-after", "")
            if not temporary or attempt >= retries:
                raise problem
            await self._sleep(_wait(attempt, retry_after))
        raise AssertionError("unreachable")

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # Every running episode holds one stream: how many there are is not for the client to bound.
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
            self._client = httpx.AsyncClient(limits=limits, trust_env=False)
        return self._client

    def _headers(self) -> dict[str, str]:
        # A compressing proxy would hold text back until it has a block of it.
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        return headers | {"Authorization": f"Bearer {self._key}"} if self._key else headers

    async def _problem(self, response: httpx.Response, prompt: str) -> PolicyError:
        """What a status other than 200 means."""
        status = response.status_code
        if status < 400:
            return self._bad_reply(f"answered {status}")
        content = b""
        # What cannot be read of the explanation is left out of it.
        with suppress(httpx.HTTPError):
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > _ERROR_BYTES:
                    break
        message = f"{self._place} answered {status}"
        with suppress(ValidationError):
            refusal = _Refusal.model_validate_json(content)
            message += self._own_words(refusal.error or refusal.message or refusal.detail, prompt)
        if status >= 500 or status == 429:
            return PolicyError("unavailable", message)
        if status in (400, 404) and response.request.method == "POST":
            with suppress(PolicyError):
                models = await self._models(retries=0)
                if self._model not in models:
                    served = ", ".join(models)[:_MESSAGE_CHARACTERS] or "none"
                    message += f" (it has no model {self._model!r}; it has: {served})"
        return PolicyError("refused", message)

    def _own_words(self, error: JsonValue, prompt: str) -> str:
        """`: ` and the server's message, or '' if there is none or it repeats the key or the prompt."""
        message = error.get("message") if isinstance(error, dict) else error
        if not isinstance(message, str) or not message.strip() or (self._key and self._key in message):
            return ""
        words = " ".join(message.split())[:_MESSAGE_CHARACTERS]
        return "" if _echoes(words, prompt) else f": {words}"

    def _parse(self, shape: type[Body], data: str | bytes) -> Body:
        try:
            return shape.model_validate_json(data)
        except ValidationError:
            raise self._bad_reply("sent JSON of another shape, or none") from None

    def _bad_reply(self, what: str) -> PolicyError:
        return PolicyError("bad_reply", f"{self._place} {what}; is it an OpenAI-compatible server?")

    def _timeout(self, error: httpx.TimeoutException) -> PolicyError:
        if isinstance(error, httpx.ConnectTimeout):
            return PolicyError("timeout", f"no connection to {self._place} in {self._connect_timeout_s:g} s")
        return PolicyError("timeout", f"{self._place} was silent for {self._idle_timeout_s:g} s")


def _trimmed_stop(choice: _Choice, text: str) -> str:
    """The stop string that the engine cut from the end of the turn's `text`.

    A server that has `stop_reason` (vLLM) says which; null or a token's number means that the model ended
    by itself, and then nothing is closed for it, as in training. From others it can only be inferred.
    """
    if "stop_reason" in choice.model_fields_set:
        stop = next((stop for stop in STOP if stop == choice.stop_reason), "")
    else:
        stop = missing_close(text)
    return "" if text.endswith(stop) else stop


async def _read_rest(body: AsyncIterator[bytes]) -> None:
    """Read to the end, if that is near: the turn is whole whatever comes, but the connection lives on."""
    with suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(_REST_S):
            async for _ in body:
                pass


def _wait(attempt: int, retry_after: str) -> float:
    """Seconds until the next attempt. A `Retry-After` that is a date is not read."""
    back_off = min(_BACK_OFF_S * 2.0**attempt, _LONGEST_BACK_OFF_S) * random.uniform(0.5, 1)
    asked = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else 0.0
    return max(back_off, min(asked, _LONGEST_RETRY_AFTER_S))


def _echoes(message: str, prompt: str) -> bool:
    """Whether the message repeats a stretch of the prompt, in whatever way it is quoted."""
    words, known = _plain(message), _plain(prompt)
    last = max(len(words) - _ECHO_CHARACTERS, 0)
    return any(words[start : start + _ECHO_CHARACTERS] in known for start in range(last + 1))


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(_ESCAPED.sub(" ", text)))
