"""The engines by name: settings, command line, policies and judges all offer exactly what is registered here.

Adding an engine takes one class and one `register`; nothing else names engines. What an engine needs is
imported when it is made, so that listing the names stays quick.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from agent.engines.openai import OpenAIServer
    from agent.engines.settings import EngineSettings
    from agent.policy import Policy
    from agent.trajectory import PolicyProtocol


class ChatModel(Protocol):
    """A chat model that replies to one whole request at a time, as a judge needs it."""

    model: str
    """Its name; '' until it is known."""

    @property
    def address(self) -> str:
        """Where it runs, for error messages."""
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
        """The protocols that its policies can follow."""
        ...

    @property
    def has_model(self) -> bool:
        """False for an engine that runs no language model: it cannot write plans or judge."""
        ...

    def check(self, settings: "EngineSettings") -> None:
        """Raises ValueError if a setting that this engine requires is missing."""
        ...

    def policy(self, settings: "EngineSettings") -> "Policy":
        """A policy for one of its protocols. Raises EngineError."""
        ...

    def chat_model(self, settings: "EngineSettings") -> ChatModel:
        """A chat model, for a judge. Raises EngineError where there is none."""
        ...


ENGINES: dict[str, Engine] = {}
"""By name; the first is the default."""


def register(engine: Engine) -> None:
    """Offer the engine under its name. Raises ValueError if the name is taken."""
    if engine.name in ENGINES:
        raise ValueError(f"there is an engine {engine.name!r} already")
    ENGINES[engine.name] = engine


class Extractive:
    """No language model: answers consist of quotes."""

    name = "extractive"
    protocols: "Sequence[PolicyProtocol]" = ("tags",)
    has_model = False

    def check(self, settings: "EngineSettings") -> None:
        """Needs nothing."""

    def policy(self, settings: "EngineSettings") -> "Policy":
        from agent.policies.extractive import ExtractivePolicy

        return ExtractivePolicy()

    def chat_model(self, settings: "EngineSettings") -> ChatModel:
        from agent.engines.errors import EngineError

        raise EngineError("refused", "the engine extractive has no chat model")


class OpenAICompatible:
    """A server with OpenAI's HTTP API."""

    name = "openai"
    protocols: "Sequence[PolicyProtocol]" = ("tags", "tools", "json")
    has_model = True

    def check(self, settings: "EngineSettings") -> None:
        """Needs nothing: the address has a default, and the server is asked for its model."""

    def policy(self, settings: "EngineSettings") -> "Policy":
        from agent.policies.json import JSONPolicy
        from agent.policies.tags import OpenAIPolicy
        from agent.policies.tools import ChatPolicy

        policies: dict[PolicyProtocol, type[OpenAIPolicy | ChatPolicy | JSONPolicy]] = {
            "tags": OpenAIPolicy,
            "tools": ChatPolicy,
            "json": JSONPolicy,
        }
        server = self.chat_model(settings)
        return policies[settings.protocol](server, settings.temperature, settings.context_tokens)

    def chat_model(self, settings: "EngineSettings") -> "OpenAIServer":
        from agent.engines.openai import OpenAIServer

        return OpenAIServer(
            base_url=str(settings.base_url),
            model=settings.model,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            connect_timeout_s=settings.connect_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
            retries=settings.retries,
        )


class InProcessVLLM:
    """vLLM in this process."""

    name = "vllm"
    protocols: "Sequence[PolicyProtocol]" = ("tags",)
    has_model = True

    def check(self, settings: "EngineSettings") -> None:
        if not settings.model:
            raise ValueError("vllm needs a model: a folder, or a name on the hub")

    def policy(self, settings: "EngineSettings") -> "Policy":
        from agent.engines.vllm import VLLMEngine
        from agent.policies.vllm import VLLMPolicy

        return VLLMPolicy(VLLMEngine(settings.model, settings.engine_args), settings.temperature)

    def chat_model(self, settings: "EngineSettings") -> ChatModel:
        from agent.engines.vllm import VLLMEngine
        from agent.engines.vllm_chat import VLLMChat

        return VLLMChat(VLLMEngine(settings.model, settings.engine_args))


register(Extractive())
register(OpenAICompatible())
register(InProcessVLLM())
