"""The registry of engines: settings, command line, policies and judges offer exactly what is registered here.

To add an engine, write one class and call `register`. An engine imports its dependencies when it is used, so
that listing the names stays fast.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agent.engines.openai import OpenAIServer
    from agent.engines.settings import EngineSettings
    from agent.engines.text import Decoding, TextModel
    from agent.policy import Policy
    from agent.trajectory import PolicyProtocol


class ChatModel(Protocol):
    """A chat model that answers one request with one complete reply. Judges use it."""

    model: str
    """The model's name; '' until it is known."""

    @property
    def address(self) -> str:
        """The server or engine, as error messages name it."""
        ...

    async def served_model(self) -> str:
        """The model's name, requested from the server if necessary. Raises EngineError."""
        ...

    async def ask(self, path: str, request: dict[str, Any]) -> Any:
        """The reply to a chat request, in OpenAI's format. Raises EngineError."""
        ...

    async def aclose(self) -> None: ...


class Engine(Protocol):
    """A way to run language models, made from settings."""

    @property
    def name(self) -> str: ...

    @property
    def protocols(self) -> "Sequence[PolicyProtocol]":
        """The protocols that its policies support; empty if it can be neither a policy nor a judge."""
        ...

    @property
    def has_model(self) -> bool:
        """Whether it runs a language model. Without one it cannot plan, judge or continue texts."""
        ...

    def check(self, settings: "EngineSettings") -> None:
        """Raises ValueError if the settings do not suit this engine."""
        ...

    def policy(self, settings: "EngineSettings") -> "Policy":
        """A policy for `settings.protocol`. Raises EngineError, also if the engine has none."""
        ...

    def chat_model(self, settings: "EngineSettings") -> ChatModel:
        """A chat model. Raises EngineError if the engine has none."""
        ...

    def text_model(self, settings: "EngineSettings", decoding: "Decoding") -> "TextModel":
        """A model that continues one plain prompt. Raises EngineError if the engine has none."""
        ...


ENGINES: dict[str, Engine] = {}
"""The engines by name; the first is the default."""


def register(engine: Engine) -> None:
    """Adds an engine. Raises ValueError if its name is taken."""
    if engine.name in ENGINES:
        raise ValueError(f"an engine named {engine.name!r} is already registered")
    ENGINES[engine.name] = engine


def policies() -> list[str]:
    """The engines that can be a policy."""
    return [name for name, engine in ENGINES.items() if engine.protocols]


def chat_models() -> list[str]:
    """The engines that have a chat model, which a judge needs."""
    return [name for name, engine in ENGINES.items() if engine.protocols and engine.has_model]


def text_models() -> list[str]:
    """The engines that have a text model."""
    return [name for name, engine in ENGINES.items() if engine.has_model]


class Extractive:
    """No language model: answers consist of quotes from the profile."""

    name = "extractive"
    protocols: "Sequence[PolicyProtocol]" = ("tags",)
    has_model = False

    def check(self, settings: "EngineSettings") -> None:
        """Any settings are valid."""

    def policy(self, settings: "EngineSettings") -> "Policy":
        from agent.policies.extractive import ExtractivePolicy

        return ExtractivePolicy()

    def chat_model(self, settings: "EngineSettings") -> ChatModel:
        from agent.engines.errors import EngineError

        raise EngineError("refused", "the engine extractive has no chat model")

    def text_model(self, settings: "EngineSettings", decoding: "Decoding") -> "TextModel":
        from agent.engines.errors import EngineError

        raise EngineError("refused", "the engine extractive has no text model")


class OpenAICompatible:
    """A server with OpenAI's HTTP API."""

    name = "openai"
    protocols: "Sequence[PolicyProtocol]" = ("tags", "tools", "json")
    has_model = True

    def check(self, settings: "EngineSettings") -> None:
        """Any settings are valid: the address has a default, and the server lists its models."""

    def policy(self, settings: "EngineSettings") -> "Policy":
        from agent.policies.json import JSONPolicy
        from agent.policies.tags import TagsPolicy
        from agent.policies.tools import ToolsPolicy

        policies: dict[PolicyProtocol, type[TagsPolicy | ToolsPolicy | JSONPolicy]] = {
            "tags": TagsPolicy,
            "tools": ToolsPolicy,
            "json": JSONPolicy,
        }
        server = self.chat_model(settings)
        return policies[settings.protocol](server, settings.temperature, settings.context_tokens)

    def chat_model(self, settings: "EngineSettings") -> "OpenAIServer":
        from agent.engines.openai import OpenAIServer
        from agent.tokenizer import TokenizerFiles

        return OpenAIServer(
            base_url=str(settings.base_url),
            model=settings.model,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            connect_timeout_s=settings.connect_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
            first_byte_timeout_s=settings.first_byte_timeout_s,
            retries=settings.retries,
            is_token=TokenizerFiles(settings.tokenizer).is_token if settings.tokenizer else None,
        )

    def text_model(self, settings: "EngineSettings", decoding: "Decoding") -> "TextModel":
        from agent.engines.openai_text import ServerText, ServerTokens
        from agent.engines.text import FileTokens

        tokens = (
            FileTokens(settings.tokenizer)
            if settings.tokenizer
            else ServerTokens(partial(self.chat_model, settings))
        )
        return ServerText(self.chat_model(settings), tokens, decoding, settings.context_tokens)


class InProcessVLLM:
    """vLLM in this process."""

    name = "vllm"
    protocols: "Sequence[PolicyProtocol]" = ("tags",)
    has_model = True

    def check(self, settings: "EngineSettings") -> None:
        if not settings.model:
            raise ValueError("vllm needs a model: a folder, or a name on the Hugging Face hub")

    def policy(self, settings: "EngineSettings") -> "Policy":
        from agent.engines.vllm import VLLMEngine
        from agent.policies.vllm import VLLMPolicy

        return VLLMPolicy(VLLMEngine(settings.model, settings.engine_args), settings.temperature)

    def chat_model(self, settings: "EngineSettings") -> ChatModel:
        from agent.engines.vllm import VLLMEngine
        from agent.engines.vllm_chat import VLLMChat

        return VLLMChat(VLLMEngine(settings.model, settings.engine_args))

    def text_model(self, settings: "EngineSettings", decoding: "Decoding") -> "TextModel":
        from agent.engines.vllm import VLLMEngine
        from agent.engines.vllm_text import VLLMText

        return VLLMText(VLLMEngine(settings.model, settings.engine_args), settings.model, decoding)


class Seq2Seq:
    """Sequence-to-sequence models in this process, such as T5. They continue texts, and hold no dialogue."""

    name = "seq2seq"
    protocols: "Sequence[PolicyProtocol]" = ()
    has_model = True

    def check(self, settings: "EngineSettings") -> None:
        from agent.engines.seq2seq import BATCH

        if not settings.model:
            raise ValueError("seq2seq needs a model: a folder, or a name on the Hugging Face hub")
        batch = settings.engine_args.get(BATCH, 1)
        if type(batch) is not int or batch < 1:
            raise ValueError(f"seq2seq: {BATCH} must be a whole number, at least 1")

    def policy(self, settings: "EngineSettings") -> "Policy":
        raise self._no_dialogue("a policy")

    def chat_model(self, settings: "EngineSettings") -> ChatModel:
        raise self._no_dialogue("a chat model")

    def text_model(self, settings: "EngineSettings", decoding: "Decoding") -> "TextModel":
        from agent.engines.seq2seq import Seq2SeqText

        return Seq2SeqText(settings.model, decoding, settings.context_tokens, settings.engine_args)

    def _no_dialogue(self, role: str) -> Exception:
        from agent.engines.errors import EngineError

        return EngineError("refused", f"the engine seq2seq continues single texts; it cannot be {role}")


register(Extractive())
register(OpenAICompatible())
register(InProcessVLLM())
register(Seq2Seq())
