"""The policy for chat models that know tools but were never trained on our tags (`protocol = "tools"`).

It only translates: the episode becomes chat messages, and the model's reasoning, text and calls become the
tags that the episode reads, under the same limits.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from agent import prompts
from agent.engines.capabilities import context_of
from agent.engines.completions import CHAT, Json, Piece, pieces
from agent.engines.errors import EngineError
from agent.engines.openai import OpenAIServer, Refused
from agent.episode import Episode
from agent.policies.tool_reply import TOOL, Reply, to_json
from agent.policy import Chunk
from agent.replies import parsed
from agent.tags import escape
from agent.tokens import estimated, make_room
from agent.trajectory import Information, Search

_QUERY = {"type": "string", "description": prompts.QUERY_DESCRIPTION}
_DAYS = {name: {"type": "string", "description": said} for name, said in prompts.DAYS_DESCRIPTIONS.items()}
_PARAMETERS = {"type": "object", "properties": {"query": _QUERY, **_DAYS}, "required": ["query"]}
_FUNCTION = {"name": TOOL, "description": prompts.TOOL_DESCRIPTION, "parameters": _PARAMETERS}
TOOLS: Json = {"tools": [{"type": "function", "function": _FUNCTION}]}
CORRECTIONS = {
    "unknown_tool": f"There is no such tool. Call {TOOL}, or answer.",
    "malformed_call": 'The arguments have to be a JSON object whose "query" is a string that is not empty.',
}
"""The tool results for calls that cannot be executed, by the reason."""

_REPEATS = 2
_ASKS = 3
_LATE = 0.05
"""The fraction of the deadline, at its end, in which a search could no longer lead to an answer."""
_USAGE: Json = {"stream_options": {"include_usage": True}}
_NO_TOOLS = re.compile(r" answered \d+: [^(]*\b(?:tools|tool (?:choice|use|calling)|jinja)\b", re.IGNORECASE)
"""Error messages of servers whose model cannot call tools, or which lack the parser for its calls."""


class ToolsPolicy:
    """Answers with the chat model of `server`, which searches by calling a tool.

    While tools are offered, only the end of a reply shows whether its content is the answer or precedes a
    call. Until then it is held back: an answer that is given before the searches are used up arrives in one
    piece, after its last word. Without tools (after the last search, and in methods whose policy does not
    search) answers are streamed. Close to the deadline, held-back text is released, so that a partial answer
    is kept.

    Some chat templates open a thought, which the reply only closes. Whether this model's does is learned from
    its first complete reply, which is therefore held back as well, as are later ones until they close it.

    Of several calls in one reply only the first is executed; the model can repeat the others. A call that
    cannot be executed is answered with a correction, at most twice. `context` is the model's context length
    in tokens; by default, the server is asked for it. Tokens are estimated if the server does not count
    them. Use each object in one event loop only.
    """

    def __init__(self, server: OpenAIServer, temperature: float = 0.0, context: int | None = None) -> None:
        self._server = server
        self._temperature = temperature
        self._context = context
        self._asks_left = _ASKS if context is None else 0
        self._is_given = context is not None
        self._options = [_USAGE, {}]
        self._opens: bool | None = None

    @property
    def name(self) -> str:
        """`tools:MODEL`; `tools` until the model is known."""
        return f"tools:{self._server.model}" if self._server.model else "tools"

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        """See Policy. Closing the iterator closes the HTTP stream, which tells the engine to stop."""
        # A model that may not search gets no tools, even if the history has calls. `tool_choice: none` would
        # keep the engine's prompt cache, but Ollama ignores it, and its models keep calling.
        tools = {} if episode.must_answer else TOOLS

        async def count() -> int:
            return _size(tools, *chat_messages(episode))

        room = await make_room(episode, await self._known_context(), max_tokens, count)
        messages = chat_messages(episode)
        for repeats_left in reversed(range(_REPEATS + 1)):
            if room <= 0:
                yield Chunk("", finish="length")
                return
            reply = Reply(bool(tools), self._opens)
            # Reported with the first chunk: the last one is not read if the deadline comes first.
            size = unreported = _size(tools, *messages)
            async with aclosing(self._read({"messages": messages, **tools}, room, reply, episode)) as chunks:
                async for chunk in chunks:
                    yield replace(chunk, prompt_tokens=unreported)
                    unreported = 0
            if reply.usage and reply.usage.prompt_tokens:
                unreported += reply.usage.prompt_tokens - size
            self._opens = reply.opens
            problem = reply.problem
            again = problem in CORRECTIONS and repeats_left > 0
            yield Chunk(
                reply.render(),
                reply.tokens - reply.reported,
                "length" if reply.cut else None if problem else "stop",
                prompt_tokens=unreported,
                invalid="" if again else problem,
            )
            if not again:
                return
            _add_call(messages, reply.name, reply.arguments, CORRECTIONS[problem])
            room -= reply.tokens + _size(*messages[-2:])

    async def check(self) -> str:
        """See Policy. Tries once, within the time allowed for one request."""
        self._options = [_USAGE, {}]
        greeting = {"messages": [{"role": "user", "content": "Hello"}], **TOOLS}
        reply = Reply(offered=True)
        async with self._server.check_deadline():
            async for _ in self._read(greeting, 1, reply, Episode(""), retries=0):
                pass
            if not self._is_given:
                self._context, self._asks_left = None, _ASKS
                await self._known_context(retries=0)
        context = f"context {self._context} tokens" if self._context else "context of unknown length"
        return f"{context}, chat with tools, tokens {'counted' if reply.usage else 'estimated'}"

    async def aclose(self) -> None:
        """See Policy."""
        await self._server.aclose()

    async def _known_context(self, retries: int | None = None) -> int | None:
        # Some servers report it for loaded models only, so the first reply is not final. Concurrent turns ask
        # independently: in a queue, they would wait for each other's failures.
        if self._context is None and self._asks_left > 0:
            self._context = await context_of(self._server, retries)
            self._asks_left -= 1
        return self._context

    async def _read(
        self, content: Json, max_tokens: int, reply: "Reply", episode: Episode, retries: int | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """Read a reply to its end. The last piece stays in `reply`, to be reported with the finish."""
        late, transcript = _LATE * episode.limits.deadline_ms / 1000, episode.prompt
        request = {"model": await self._server.served_model(retries), **content, "stream": True}
        request |= {"max_tokens": max_tokens, "temperature": self._temperature}
        async with aclosing(self._pieces(request, retries, transcript)) as written:
            async for piece in written:
                reply.take(piece.choice.delta or {})
                reply.late = episode.seconds_left <= late
                # The driver cannot count text that is held back, so its length is limited here.
                if piece.choice.finish_reason or reply.pieces > max_tokens:
                    reply.end(piece.choice.finish_reason != "stop", piece.usage)
                    return
                if chunk := reply.chunk():
                    yield chunk

    async def _pieces(
        self, request: Json, retries: int | None, prompt_text: str
    ) -> AsyncGenerator[Piece, None]:
        """The pieces of a reply. Finds out once whether the server accepts `_USAGE`."""
        for option in (options := self._options):
            stream = pieces(
                self._server,
                CHAT,
                request | option,
                retries=retries,
                prompt_text=prompt_text,
            )
            try:
                async with aclosing(stream) as written:
                    async for piece in written:
                        self._options = [option]
                        yield piece
                return
            except EngineError as error:
                # Whatever the status: llama.cpp sends 500.
                if "tools" in request and _NO_TOOLS.search(str(error)):
                    why = f'{request["model"]!r} takes no tools here; protocol = "tags" does without'
                    raise EngineError("refused", f"{why} ({error})") from None
                if option is options[-1] or not isinstance(error, Refused) or error.status not in (400, 422):
                    raise


def chat_messages(episode: Episode) -> list[Json]:
    """The episode so far, as chat messages.

    Thoughts are left out, since most servers refuse or drop them. All system texts are one message, since
    many templates accept only one. Foreign text is escaped, as in the transcript.
    """
    briefing = prompts.briefing(episode.instructions, episode.limits.max_searches, now=episode.now)
    earlier = [(message.role, escape(message.text)) for message in episode.conversation]
    system = [briefing, *(text for role, text in earlier if role == "system")]
    if episode.today:
        system.append(prompts.dated(episode.today))
    messages: list[Json] = [{"role": "system", "content": "\n\n".join(system)}]
    messages += [{"role": role, "content": text} for role, text in earlier if role != "system"]
    messages.append({"role": "user", "content": prompts.asked(episode.question, episode.plan)})
    information = iter(episode.information)
    # A method that opens with passages has them before any search of the policy.
    search = Search(episode.first_query or episode.question)
    for step in episode.steps:
        if isinstance(step, Search):
            search = step
        elif isinstance(step, Information):
            days = {"after": search.after, "before": search.before}
            limits = {name: day.isoformat() for name, day in days.items() if day}
            _add_call(messages, TOOL, to_json({"query": search.query, **limits}), next(information))
    return messages


def _add_call(messages: list[Json], name: str, arguments: str, result: str) -> None:
    # Mistral's models require ids of exactly nine letters and digits.
    call = f"call{1 + sum(message['role'] == 'tool' for message in messages):05}"
    # vLLM and llama.cpp refuse a history with arguments that are not a JSON object.
    given = parsed(arguments)
    function = {
        "name": name if re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) else TOOL,
        "arguments": escape(to_json(given)) if isinstance(given, dict) else "{}",
    }
    calls = [{"id": call, "type": "function", "function": function}]
    # Not null: some templates would render it as `None`.
    messages.append({"role": "assistant", "content": "", "tool_calls": calls})
    messages.append({"role": "tool", "tool_call_id": call, "content": result})


def _size(*values: object) -> int:
    return sum(estimated(to_json(value)) for value in values)
