"""Plain texts by an OpenAI-compatible server, through whichever endpoint it has."""

import asyncio
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, aclosing
from typing import Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from agent.engines.capabilities import Capabilities, probe
from agent.engines.completions import CHAT, Json, pieces
from agent.engines.controls import tokenizer_requests, tokens_of
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer
from agent.engines.text import Decoding, FileTokens, NoLikelihood, longest_prefix
from agent.replies import read as read_reply


class ServerText:
    """A TextModel (see there) of `server`, whose tokens `tokens` counts.

    The prompt goes to /completions or, if the server only chats, is the one message of a chat, whose reply is
    taken without its thoughts. `context` is the model's context length; by default, the server says.
    """

    def __init__(
        self,
        server: OpenAIServer,
        tokens: "FileTokens | ServerTokens",
        decoding: Decoding,
        context: int | None = None,
    ) -> None:
        """Raises EngineError without a model's name, and for a beam search, which the API does not have."""
        if decoding.beams > 1:
            raise EngineError("refused", f"{server.address} has no beam search: set the beams to 1")
        if not server.model:
            raise EngineError(
                "refused", f"name the model of {server.address}: its texts are kept under its name"
            )
        self._server = server
        self._tokens = tokens
        self._decoding = decoding
        self._context = context
        self._probing = asyncio.Lock()
        self._found: Capabilities | None = None

    @property
    def description(self) -> Mapping[str, Any]:
        """See TextModel. The server's address is left out: one model may be served in several places."""
        return {"engine": "openai", "model": self._server.model, "decoding": self._decoding.to_dict()}

    def count(self, text: str) -> int:
        """See Tokens."""
        return self._tokens.count(text)

    def cut(self, text: str, tokens: int) -> str:
        """See Tokens."""
        return self._tokens.cut(text, tokens)

    async def generate(self, prompt: str) -> str:
        """See TextModel. The server batches. A prompt that is too long is refused by it, or here."""
        found = await self._capabilities()
        await self._check(prompt, self._context or found.context)
        request: Json = {
            "model": found.model,
            "max_tokens": self._decoding.max_tokens,
            "temperature": self._decoding.temperature,
            "stream": True,
        }
        is_chat = found.path == CHAT
        request |= {"messages": [{"role": "user", "content": prompt}]} if is_chat else {"prompt": prompt}
        text = ""
        # Streamed, although only the whole text is used, to tell a silent server from a busy one.
        async with aclosing(pieces(self._server, found.path, request)) as written:
            async for piece in written:
                text += piece.choice.written
        return read_reply(text).text if is_chat else text

    async def likelihood(self, prompt: str, target: str) -> float:
        """See TextModel. Always raises NoLikelihood: servers do not score texts that they are given."""
        why = f"{self._server.address} cannot tell the likelihood of a text; use seq2seq or vllm in process"
        raise NoLikelihood("refused", why)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._server.aclose()
        if isinstance(self._tokens, ServerTokens):
            await asyncio.to_thread(self._tokens.close)

    async def _capabilities(self) -> Capabilities:
        async with self._probing:
            if self._found is None:
                self._found = await probe(self._server)
            return self._found

    async def _check(self, prompt: str, context: int | None) -> None:
        """Raises EngineError for a prompt that the server would have to cut off, as some do in silence."""
        most = self._decoding.max_tokens
        # No token is shorter than a byte; a template may take some more.
        if context is None or len(prompt.encode()) + most < context:
            return
        try:
            tokens = await asyncio.to_thread(self._tokens.count, prompt)
        except NoTokenizer:
            return
        if tokens + most > context:
            why = f"the prompt has {tokens} tokens, with {most} to write"
            raise EngineError("refused", f"{why}: more than the {context} of {self._server.model}")


class NoTokenizer(EngineError):
    """The server has no tokenizer endpoint."""


class ServerTokens:
    """Tokens as the tokenizer endpoint of a server counts them. Each count is a request, for which it waits.

    Any thread may call it: it runs an event loop in a thread of its own, in which `connect` makes a client.
    """

    def __init__(self, connect: Callable[[], OpenAIServer]) -> None:
        self._connect = connect
        self._opened = ExitStack()
        self._portal: BlockingPortal | None = None
        self._server: OpenAIServer | None = None
        self._form: Json | None = None
        self._changed = threading.Condition()
        self._counting = 0
        self._is_closed = False

    def count(self, text: str) -> int:
        """See Tokens. Raises NoTokenizer, too."""
        if not text:
            return 0
        with self._changed:
            if self._is_closed:
                raise EngineError("unavailable", "the tokenizer's connections have been closed")
            if self._portal is None:
                self._portal = self._opened.enter_context(start_blocking_portal())
            self._counting += 1
        try:
            return self._portal.call(self._count, text)
        finally:
            with self._changed:
                self._counting -= 1
                self._changed.notify_all()

    def cut(self, text: str, tokens: int) -> str:
        """See Tokens."""
        return longest_prefix(text, tokens, self.count)

    def close(self) -> None:
        """Wait for counts in progress, then close the connections and end the thread. Later counts fail.

        The thread of a cancelled caller goes on, and would otherwise connect once more.
        """
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._counting)
        if self._portal is not None and self._server is not None:
            self._portal.call(self._server.aclose)
        self._opened.close()

    async def _count(self, text: str) -> int:
        server = self._server = self._server or self._connect()
        text = await server.controls.broken(text)
        if self._form is not None:
            return len(await tokens_of(server, self._form, text))
        for form in tokenizer_requests(server.model):
            try:
                found = await tokens_of(server, form, text)
            except EngineError as error:
                if error.fault not in ("refused", "bad_reply"):
                    raise
            else:
                self._form = form
                return len(found)
        why = f"{server.address} has no tokenizer endpoint: name the model's tokenizer (tokenizer)"
        raise NoTokenizer("refused", why)
