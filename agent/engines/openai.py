"""The client of an OpenAI-compatible server: connections, retries, event streams, and typed errors.

Every failure of the server is an EngineError whose message names the server, and never quotes the key, the
prompt, or any other text of the user's.
"""

import asyncio
import itertools
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, TypeVar

import aiohttp
from aiohttp.http_exceptions import ContentEncodingError
from pydantic import BaseModel, JsonValue, ValidationError
from yarl import URL

from agent.engines.controls import ControlStrings, IsToken, TokenizerEndpoint
from agent.engines.echoes import echoes, texts_in
from agent.engines.errors import EngineError
from agent.engines.sse import EventDecoder
from index.retry import wait_s

RETRIED = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which the request is sent again."""

_VERSION = re.compile(r"/v\d")
"""The part of a base URL that names the version of the API."""
_WAITS = {"first": 0.25, "longest": 4.0, "longest_asked": 10.0}
REST_S = 0.1
"""Seconds to wait for the end of a stream after its last text, so that the connection can be reused."""
_MESSAGE_CHARACTERS = 300
_ERROR_BYTES = 2**16
_REPLY_BYTES = 2**24

Body = TypeVar("Body", bound=BaseModel)


class Model(BaseModel, extra="allow"):
    """A model as the server lists it, with all its other fields."""

    id: str


class _Models(BaseModel):
    data: list[Model]


class _Refusal(BaseModel):
    """OpenAI's error format; other servers put the message at the top level or, with FastAPI, in `detail`."""

    error: JsonValue = None
    message: JsonValue = None
    detail: JsonValue = None


class Refused(EngineError):
    """The server answered with a 4xx status: sending the request again will not help."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__("refused", message)
        self.status = status


class OpenAIServer:
    """The model `model` of the server at `base_url`, which may lack its `/v1`.

    Without a model name, the first model that the server lists is used. The first byte may take
    `first_byte_timeout_s` (at least `idle_timeout_s`, which is the default), and later pauses
    `idle_timeout_s`. Until its first byte arrives, a failing request is retried up to `retries` times, with
    exponential back-off and jitter; a connect timeout is not retried, since TCP itself has done so.

    Proxies from the environment are ignored: transcripts go to `base_url` and nowhere else. To use a proxy
    or a private certificate authority, pass a `session`, which the caller has to close. Use each object in
    one event loop only: it keeps connections open.

    Prompts and messages are sent without the model's control strings. `is_token` finds them; by default, the
    server's own tokenizer does.

    It uses aiohttp because hundreds of concurrent streams cost several times less than with httpx
    (benchmarks/episodes.py).
    """

    def __init__(
        self,
        base_url: str,
        model: str = "",
        api_key: str | None = None,
        connect_timeout_s: float = 5.0,
        idle_timeout_s: float = 30.0,
        first_byte_timeout_s: float | None = None,
        retries: int = 3,
        session: aiohttp.ClientSession | None = None,
        is_token: IsToken | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises ValueError if the URL is invalid or the key does not fit into an HTTP header."""
        key = (api_key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError("the API key contains characters that HTTP headers do not allow")
        self._key = key
        self._base_url = base_url.rstrip("/")
        self.address = str(URL(self._base_url).with_user(None).with_query(None))
        """The URL without credentials and query, for error messages."""
        self.model = model
        self._is_named = bool(model)
        self._connect_timeout_s = connect_timeout_s
        self._limits_s = {
            "first_byte_timeout_s": max(first_byte_timeout_s or 0.0, idle_timeout_s),
            "idle_timeout_s": idle_timeout_s,
        }
        self._knows_base = _VERSION.search(URL(self._base_url).path) is not None
        self._retries = retries
        self._session = session
        self._owns_session = session is None
        self._sleep = sleep
        self._listed: tuple[str, ...] = ()
        self._is_token = is_token
        self.controls = ControlStrings(is_token or TokenizerEndpoint(self).is_token)

    async def aclose(self) -> None:
        """Close the connections. A session that was passed in stays open."""
        if self._owns_session and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    @asynccontextmanager
    async def check_deadline(self) -> AsyncGenerator[None, None]:
        """Limits a readiness check to the time allowed for one attempt. Raises EngineError."""
        seconds = self._connect_timeout_s + self._limits_s["first_byte_timeout_s"]
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            why = f"{self.address} wrote no token within {seconds:g} s (first_byte_timeout_s)"
            raise EngineError("timeout", why) from None

    def forget_model(self) -> None:
        """Forget the model and its tokens, so that the server is asked again. A configured name stays."""
        self.controls = ControlStrings(self._is_token or TokenizerEndpoint(self).is_token)
        if not self._is_named:
            self.model, self._listed = "", ()

    async def served_model(self, retries: int | None = None) -> str:
        """The configured model's name, or that of the first model listed. Raises EngineError."""
        if not self.model:
            if not self._listed:
                await self.models(retries)
            if not self._listed:
                raise EngineError("refused", f"{self.address} lists no models; configure a model name")
            self.model = self.model or self._listed[0]
        return self.model

    async def models(self, retries: int | None = None) -> list[Model]:
        """The models that the server lists. Raises EngineError."""
        await self._find_base(retries)
        content = await self._whole("GET", self._base_url + "/models", None, retries)
        models = self.parse(_Models, content).data
        self._listed = tuple(model.id for model in models)
        return models

    async def ask(
        self, path: str, request: Mapping[str, Any] | None = None, *, retries: int | None = None
    ) -> Any:
        """Send a POST, or a GET if there is no `request`, and return the decoded JSON. Raises EngineError.

        `path` is relative to the base URL or, if it begins with `//`, to the server's root (without /v1).
        """
        await self._find_base(retries)
        if request and "messages" in request:
            request = await self.controls.guarded(request)
        root = self._base_url.removesuffix("/v1")
        url = root + path[1:] if path.startswith("//") else self._base_url + path
        content = await self._whole("GET" if request is None else "POST", url, request, retries)
        try:
            return json.loads(content)
        except (ValueError, RecursionError):
            raise self.bad_reply("sent invalid JSON") from None

    async def stream(
        self,
        path: str,
        request: Mapping[str, Any],
        shape: type[Body],
        *,
        retries: int | None = None,
        prompt_text: str = "",
    ) -> AsyncGenerator[Body | None, None]:
        """The events of a stream, up to its end; None for [DONE]. Raises EngineError.

        Closing the generator closes the connection, which tells the engine to stop. `prompt_text` is the
        user's text if the request contains it only as tokens: error messages never quote it.
        """
        await self._find_base(retries)
        request = await self.controls.guarded(request)
        async with self._response("POST", self._base_url + path, request, retries, prompt_text) as response:
            content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if content_type != "text/event-stream":
                raise self.bad_reply("sent no event stream")
            decoder = EventDecoder()
            async for piece in self._body(response):
                try:
                    datas = decoder.decode(piece)
                except ValueError:
                    raise self.bad_reply("sent an unreadable event stream") from None
                for data in datas:
                    if data.strip() == "[DONE]":
                        await _read_rest(response)
                        yield None
                        return
                    yield self.parse(shape, data)

    def broken(self, error: JsonValue, request: Mapping[str, Any], prompt_text: str = "") -> EngineError:
        """The exception for an `error` in the middle of a stream. For `prompt_text`, see `stream`."""
        words = self._own_words(error, f"{texts_in(request)}\n{prompt_text}")
        return EngineError("broken_stream", f"{self.address} broke off{words}")

    def ended(self, reason: str | None) -> EngineError:
        """The exception for a text that ended for `reason`, which is neither completion nor a token limit."""
        if reason is None:
            return EngineError("broken_stream", f"{self.address} ended the stream without a finish_reason")
        if reason == "content_filter":
            return EngineError("refused", f"a content filter of {self.address} ended the text")
        return EngineError("broken_stream", f"{self.address} ended the text: {reason[:40]!r}")

    def parse(self, shape: type[Body], data: str | bytes) -> Body:
        """`data` parsed as `shape`. Raises EngineError."""
        try:
            return shape.model_validate_json(data)
        except ValidationError:
            raise self.bad_reply("sent invalid or unexpected JSON") from None

    def bad_reply(self, what: str) -> EngineError:
        """The exception for a reply that violates the API."""
        return EngineError("bad_reply", f"{self.address} {what}; is it an OpenAI-compatible server?")

    async def _find_base(self, retries: int | None) -> None:
        """Append the /v1 that a base URL lacks, if the server lists its models only there."""
        base, address = self._base_url, self.address
        for suffix in () if self._knows_base else ("", "/v1"):
            try:
                await self._whole("GET", f"{base}{suffix}/models", None, retries)
            except Refused as refused:
                if refused.status == 404:
                    continue
            # Concurrent requests may all find it.
            self._base_url, self.address = base + suffix, address + suffix
            break
        self._knows_base = True

    async def _whole(
        self, method: str, url: str, request: Mapping[str, Any] | None, retries: int | None
    ) -> bytes:
        async with self._response(method, url, request, retries) as response:
            content = b""
            async for piece in self._body(response):
                content += piece
                if len(content) > _REPLY_BYTES:
                    raise self.bad_reply("sent a reply that is too long")
        return content

    async def _body(self, response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
        """The body in pieces, as they arrive. Raises EngineError."""
        setting = "first_byte_timeout_s"
        try:
            while True:
                async with self._within(setting):
                    piece = await response.content.readany()
                if not piece:
                    return
                yield piece
                setting = "idle_timeout_s"
        except aiohttp.ClientError as error:
            if isinstance(error.__cause__, ContentEncodingError):
                raise self.bad_reply("sent a body that cannot be decompressed") from None
            raise EngineError("broken_stream", f"{self.address} broke the connection") from None

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        url: str,
        content: Mapping[str, Any] | None,
        retries: int | None,
        prompt_text: str = "",
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A response with status 200, before its body is read. An unread rest is discarded."""
        response = await self._send(method, url, content, retries, prompt_text)
        try:
            yield response
        finally:
            response.release()

    async def _send(
        self, method: str, url: str, content: Mapping[str, Any] | None, retries: int | None, prompt_text: str
    ) -> aiohttp.ClientResponse:
        retries = self._retries if retries is None else retries
        for attempt in itertools.count():
            retry_after = ""
            try:
                async with self._within("first_byte_timeout_s"):
                    response = await self._connected().request(
                        method, url, json=content, headers=self._headers(), allow_redirects=False
                    )
            except aiohttp.ClientConnectorError as error:
                problem = EngineError("unavailable", f"{self.address} cannot be reached: {error.strerror}")
            except aiohttp.ClientError:
                # Usually a kept-alive connection that the server was just closing.
                problem = EngineError("unavailable", f"{self.address} sent no HTTP response")
            else:
                if response.status == 200:
                    return response
                async with response:
                    problem = await self._problem(response, f"{texts_in(content or {})}\n{prompt_text}")
                if response.status not in RETRIED:
                    raise problem
                retry_after = response.headers.get("retry-after", "")
            if attempt >= retries:
                raise problem
            await self._sleep(wait_s(attempt, retry_after, **_WAITS))
        raise AssertionError("unreachable")

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Every running episode holds one stream; limiting their number is not this client's job.
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _headers(self) -> dict[str, str]:
        # A compressing proxy would delay text until it has a full block.
        headers = {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        return headers | {"Authorization": f"Bearer {self._key}"} if self._key else headers

    async def _problem(self, response: aiohttp.ClientResponse, prompt: str) -> EngineError:
        """The exception for a status other than 200."""
        status = response.status
        if status < 400:
            return self.bad_reply(f"answered {status}")
        content = b""
        # An unreadable part of the explanation is left out.
        with suppress(EngineError):
            async with aclosing(self._body(response)) as body:
                async for piece in body:
                    content += piece
                    if len(content) > _ERROR_BYTES:
                        break
        message = f"{self.address} answered {status}"
        with suppress(ValidationError):
            refusal = _Refusal.model_validate_json(content)
            message += self._own_words(refusal.error or refusal.message or refusal.detail, prompt)
        if status >= 500 or status == 429:
            return EngineError("unavailable", message)
        writes = response.url.path.endswith("/completions")
        # For a listed model, 400 has another cause; 404 can mean that the model has been removed since.
        if writes and (status == 404 or (status == 400 and self.model not in self._listed)):
            with suppress(EngineError):
                await self.models(retries=0)
                if self.model not in self._listed:
                    served = ", ".join(self._listed)[:_MESSAGE_CHARACTERS] or "none"
                    message += f" (it has no model {self.model!r}; it has: {served})"
        return Refused(message, status)

    def _own_words(self, error: JsonValue, prompt: str) -> str:
        """`: ` and the server's message; '' if there is none or if it quotes the key or the prompt."""
        message = error.get("message") if isinstance(error, dict) else error
        if not isinstance(message, str) or not message.strip() or (self._key and self._key in message):
            return ""
        words = " ".join(message.split())[:_MESSAGE_CHARACTERS]
        return "" if echoes(words, prompt) else f": {words}"

    @asynccontextmanager
    async def _within(self, setting: str) -> AsyncGenerator[None, None]:
        """Limits one wait for the server. Raises an EngineError that names the setting."""
        seconds = self._limits_s[setting]
        try:
            async with asyncio.timeout(seconds):
                yield
        except aiohttp.ConnectionTimeoutError:
            why = f"no connection to {self.address} in {self._connect_timeout_s:g} s (connect_timeout_s)"
            raise EngineError("timeout", why) from None
        except TimeoutError:
            why = f"{self.address} was silent for {seconds:g} s ({setting})"
            raise EngineError("timeout", why) from None


async def _read_rest(response: aiohttp.ClientResponse) -> None:
    """Read to the end of the body, for at most REST_S, so that the connection can be reused."""
    with suppress(aiohttp.ClientError, TimeoutError):
        async with asyncio.timeout(REST_S):
            while await response.content.readany():
                pass
