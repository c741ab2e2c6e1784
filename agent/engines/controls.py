"""Keeps text that a server tokenizes from becoming its model's control tokens.

Servers recognize control tokens in every text that they are sent. Which strings those are depends on the
model, so its tokenizer is asked about each string in brackets, once, and those that are a single token are
broken by an HTML entity. `agent.tags.escape` has already broken the known kinds; for a server without a
tokenizer endpoint, there is nothing else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from agent.engines.errors import EngineError
from agent.tags import marked_up, without

_log = logging.getLogger(__name__)

Json = dict[str, Any]
IsToken = Callable[[str], Awaitable[bool | None]]
"""Says whether the model's tokenizer reads a string as one token; None if unknown. Raises EngineError."""

_PROBE = "<think>"
_AT_ONCE = 8


class Server(Protocol):
    """The part of OpenAIServer that tokenizes."""

    address: str
    model: str

    async def ask(self, path: str, request: Json, *, retries: int | None = None) -> Any:
        """The reply to a request, as JSON. Raises EngineError."""
        ...

    def bad_reply(self, what: str) -> EngineError:
        """The exception for a reply that violates the API."""
        ...


class ControlStrings:
    """Breaks the strings of a text that `is_token` says are single tokens. It asks about each string once.

    Beyond `most_known` remembered strings, it begins anew.
    """

    def __init__(self, is_token: IsToken, most_known: int = 10_000) -> None:
        self._is_token = is_token
        self._most_known = most_known
        self._known: dict[str, bool] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def __len__(self) -> int:
        """The number of strings that are remembered."""
        return len(self._known)

    async def broken(self, text: str) -> str:
        """`text` without control strings. Raises EngineError."""
        broken: str = await self._broken_in(text)
        return broken

    async def guarded(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """A request whose prompt or messages, if they are text, are without control strings.

        Raises EngineError.
        """
        read = {
            name: value
            for name in ("prompt", "messages")
            # A prompt of token ids is a list.
            if (value := request.get(name)) and (name == "messages" or isinstance(value, str))
        }
        return {**request, **await self._broken_in(read)} if read else request

    async def _broken_in(self, value: Any) -> Any:
        """A JSON value whose texts are without control strings."""
        strings = {string for text in _texts(value) for _, string in marked_up(text)}
        if not strings:
            return value
        if len(self._known) > self._most_known:
            self._known.clear()
        controls = {string for string, is_token in await asyncio.gather(*map(self._ask, strings)) if is_token}
        return _without(value, controls) if controls else value

    async def _ask(self, string: str) -> tuple[str, bool | None]:
        if string not in self._known:
            async with self._slots:
                is_token = await self._is_token(string)
            if is_token is None:
                return string, None
            self._known[string] = is_token
        return string, self._known[string]


class TokenizerEndpoint:
    """The tokenizer endpoint of a server, which is looked for on first use."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._form: Json | None = None
        self._is_known = False
        self._finding = asyncio.Lock()

    async def is_token(self, string: str) -> bool | None:
        """Whether the server reads the string as one token; None if it has no such endpoint.

        Raises EngineError if the endpoint fails that answered before.
        """
        async with self._finding:
            if not self._is_known:
                await self._find()
        if self._form is None:
            return None
        try:
            return len(await tokens_of(self._server, self._form, string)) == 1
        except EngineError:
            self._is_known = False
            raise

    async def _find(self) -> None:
        self._form, refused = None, True
        for form in tokenizer_requests(self._server.model):
            # Prompts of text are read like this, whatever the endpoint's default is.
            asked = form | {"parse_special": True} if "parse_special" in form else form
            try:
                await tokens_of(self._server, asked, _PROBE, retries=0)
            except EngineError as error:
                refused = refused and error.fault in ("refused", "bad_reply", "timeout")
            else:
                self._form, self._is_known = asked, True
                return
        # A server that is not there now may have the endpoint later.
        self._is_known = refused
        _log.info("%s tells no tokens: only the known control strings are escaped", self._server.address)


def tokenizer_requests(model: str) -> tuple[Json, Json]:
    """The requests, without a text, for tokens of plain text: of vLLM and SGLang, and of llama.cpp."""
    return {"model": model, "add_special_tokens": False}, {"add_special": False, "parse_special": False}


def encode_request(form: Json, text: str, opening: bool) -> Json:
    """The body for /tokenize; special tokens (BOS) are added to the opening only."""
    flag, name = ("add_special", "content") if "add_special" in form else ("add_special_tokens", "prompt")
    return {**form, name: text, flag: opening}


async def tokens_of(
    server: Server, form: Json, text: str, *, opening: bool = False, retries: int | None = None
) -> list[int]:
    """The tokens of a text, from the server's tokenizer. Raises EngineError."""
    match await server.ask("//tokenize", encode_request(form, text, opening), retries=retries):
        case {"tokens": [*found]} if found and all(isinstance(token, int) for token in found):
            return found
    raise server.bad_reply("sent no tokens")


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _texts(part)]


def _without(value: Any, controls: Collection[str]) -> Any:
    if isinstance(value, str):
        return without(value, {place for place, string in marked_up(value) if string in controls})
    if isinstance(value, dict):
        return {name: _without(part, controls) for name, part in value.items()}
    return [_without(part, controls) for part in value] if isinstance(value, list) else value
