"""Finds out by probing which features an OpenAI-compatible server supports, since no two support the same."""

from contextlib import aclosing, suppress
from dataclasses import dataclass

from agent.engines.completions import CHAT, COMPLETIONS, Json, events
from agent.engines.controls import encode_request, tokenizer_requests
from agent.engines.errors import EngineError
from agent.engines.openai import Model, OpenAIServer, Refused
from agent.policy import STREAM_INTERVAL

OPTIONS: Json = {
    "stream_options": {"include_usage": True},
    "include_stop_str_in_output": True,
    "return_token_ids": True,
    "stream_interval": STREAM_INTERVAL,
}
"""Request options that not every server accepts. Each accepted one makes answers more exact."""

CONTINUING: Json = {"continue_final_message": True, "add_generation_prompt": False}
"""Asks a chat endpoint to continue the assistant's message. vLLM and SGLang need it; llama.cpp and Ollama
always continue a last message of the assistant's."""

_PROBE = "<think>"
_CONTEXTS = (
    "max_model_len",  # vLLM, SGLang
    "context_length",
    "context_window",
    "max_context_length",  # LM Studio
    "n_ctx",
)
_MOST_PROBE_TOKENS = 12
"""If the server counts more tokens than this for the probe, it has applied a chat template."""


@dataclass(frozen=True)
class Capabilities:
    """The features of a server, as probed once."""

    model: str
    path: str
    """COMPLETIONS, or CHAT if the server can only chat."""
    options: Json
    """The OPTIONS that it accepts."""
    keeps_stop: bool
    """Whether it leaves the stop string in the text; otherwise the policy restores it."""
    continues: bool
    """Whether it continues the transcript as it is, without a chat template."""
    continuing: Json
    """CONTINUING, or {} if a chat endpoint refuses it."""
    encodes: Json | None
    """The tokenizer request, without its text; None if the server has no tokenizer endpoint."""
    takes_ids: bool
    """Whether a prompt may be sent as token ids."""
    tells_ids: bool
    """Whether it reports the ids of sampled tokens. If not, its text is encoded again."""
    context: int | None
    """The context length: tokens of prompt and answer together; None if unknown."""

    def __str__(self) -> str:
        parts = [
            f"context {self.context} tokens" if self.context else "context of unknown length",
            "completions" if self.path == COMPLETIONS else "chat only",
            "token ids" if self.tells_ids else "token ids sent" if self.takes_ids else "text",
            "stop strings kept" if self.keeps_stop else "stop strings restored",
        ]
        return ", ".join(parts) + ("" if self.continues else "; a chat template is put around the transcript")


@dataclass(frozen=True)
class _Written:
    text: str
    token_ids: list[int]
    prompt_tokens: int | None


async def probe(server: OpenAIServer, retries: int | None = None) -> Capabilities:
    """Probe the server, which generates a few tokens. Raises EngineError.

    Failing requests are retried as the server's own setting says, or `retries` times if given.
    """
    server.forget_model()
    models = await _listed(server, retries)
    model = await server.served_model(retries)
    return await _Probe(server, model, retries).capabilities(models)


async def context_of(server: OpenAIServer, retries: int | None = None) -> int | None:
    """The model's context length in tokens, None if the server does not report it. Raises EngineError."""
    models = await _listed(server, retries)
    found = _Probe(server, await server.served_model(retries), retries)
    return found.listed_context(models) or (await found.tokenizer())[2] or await found.other_context()


async def _listed(server: OpenAIServer, retries: int | None) -> list[Model]:
    try:
        return await server.models(retries)
    except EngineError as error:
        # Not every server lists its models; a configured model name does not need the list.
        if server.model and error.fault in ("refused", "bad_reply"):
            return []
        raise


class _Probe:
    def __init__(self, server: OpenAIServer, model: str, retries: int | None) -> None:
        self._server = server
        self._model = model
        self._retries = retries

    async def capabilities(self, models: list[Model]) -> Capabilities:
        try:
            path, options, written = COMPLETIONS, *(await self._options(COMPLETIONS))
        except Refused as refused:
            if refused.status not in (404, 405):
                raise
            try:
                path, options, written = CHAT, *(await self._options(CHAT))
            except EngineError:
                raise refused from None
        encodes, tokens, context = await self.tokenizer()
        continues = path == COMPLETIONS and _is_plain(written, tokens)
        if path == COMPLETIONS and not continues:
            # If a template is unavoidable, the chat endpoint at least knows where the answer began.
            with suppress(EngineError):
                path, options, written = CHAT, *(await self._options(CHAT))
        takes_ids = path == COMPLETIONS and await self._takes_ids(options, tokens)
        return Capabilities(
            model=self._model,
            path=path,
            options=options,
            keeps_stop=await self._keeps_stop(path, options, written.text),
            continues=continues,
            continuing=await self._continuing() if path == CHAT else {},
            encodes=encodes,
            takes_ids=takes_ids,
            tells_ids=takes_ids and bool(written.token_ids),
            context=self.listed_context(models) or context or await self.other_context(),
        )

    def listed_context(self, models: list[Model]) -> int | None:
        """The context length of the model in the server's list; None if it is not there."""
        listed = next((entry for entry in models if entry.id == self._model), None)
        fields = dict(listed.model_extra or {}) if listed else {}
        meta = fields.get("meta")
        fields |= meta if isinstance(meta, dict) else {}
        return next((context for name in _CONTEXTS if (context := _positive(fields.get(name)))), None)

    async def _options(self, path: str) -> tuple[Json, _Written]:
        """The OPTIONS that the endpoint accepts, and the text it wrote. Raises EngineError."""
        try:
            return OPTIONS, await self._write(path, OPTIONS)
        except Refused:
            taken: Json = {}
            written = await self._write(path, taken)
            for name, value in OPTIONS.items():
                with suppress(Refused):
                    written = await self._write(path, taken | {name: value})
                    taken[name] = value
            return taken, written

    async def _write(self, path: str, options: Json, prompt: str | list[int] = _PROBE) -> _Written:
        """Have the model write one token. Raises EngineError."""
        messages = [{"role": "user", "content": prompt}]
        content: Json = {"prompt": prompt} if path == COMPLETIONS else {"messages": messages}
        limits: Json = {"max_tokens": 1, "temperature": 0.0, "stream": True}
        request = {"model": self._model} | content | limits | options
        text, ids, prompt_tokens = "", list[int](), None
        async with aclosing(events(self._server, path, request, retries=self._retries)) as stream:
            async for choices, usage in stream:
                prompt_tokens = usage.prompt_tokens if usage else prompt_tokens
                for choice in choices:
                    text += choice.written
                    ids += choice.token_ids or ()
        return _Written(text, ids, prompt_tokens)

    async def _keeps_stop(self, path: str, options: Json, text: str) -> bool:
        """Whether a stop string stays in the text; `text`, which the model writes next, serves as one."""
        if "include_stop_str_in_output" not in options or not text.strip():
            return False
        with suppress(Refused):
            return (await self._write(path, options | {"stop": [text]})).text.endswith(text)
        return False

    async def _continuing(self) -> Json:
        messages = [{"role": role, "content": _PROBE} for role in ("user", "assistant")]
        with suppress(Refused):
            await self._write(CHAT, {"messages": messages, **CONTINUING})
            return CONTINUING
        return {}

    async def _takes_ids(self, options: Json, tokens: list[int]) -> bool:
        if not tokens:
            return False
        with suppress(Refused):
            written = await self._write(COMPLETIONS, options, tokens)
            # A server that ignored what it cannot read would count other tokens.
            return written.prompt_tokens == len(tokens) or (
                written.prompt_tokens is None and bool(written.token_ids)
            )
        return False

    async def tokenizer(self) -> tuple[Json | None, list[int], int | None]:
        """The tokenizer request, the tokens of the probe, and the context length if reported there."""
        for asked in tokenizer_requests(self._model):
            with suppress(EngineError):
                asked_for = encode_request(asked, _PROBE, False)
                reply = await self._server.ask("//tokenize", asked_for, retries=self._retries)
                match reply:
                    case {"tokens": [int(), *_] as tokens}:
                        return asked, tokens, _positive(reply.get("max_model_len"))
        return None, [], None

    async def other_context(self) -> int | None:
        """The context length from the endpoints of servers that do not list it."""
        with suppress(EngineError):
            match await self._server.ask("//props", retries=0):  # llama.cpp
                case {"default_generation_settings": {"n_ctx": int(context)}}:
                    return _positive(context)
        with suppress(EngineError):
            match await self._server.ask("//api/ps", retries=0):  # Ollama, for a loaded model
                case {"models": [*models]}:
                    for entry in models:
                        match entry:
                            case {"model": self._model, "context_length": int(context)}:
                                return _positive(context)
        return None


def _is_plain(written: _Written, tokens: list[int]) -> bool:
    """Whether the prompt was read without a chat template; assumed if the server does not count tokens."""
    most = len(tokens) + 2 if tokens else _MOST_PROBE_TOKENS
    return written.prompt_tokens is None or written.prompt_tokens <= most


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
