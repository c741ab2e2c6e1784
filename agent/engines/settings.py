"""The settings of an engine, whether a policy, a planner or a judge uses it."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, Field, HttpUrl, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from agent.engines.registry import ENGINES, policies
from agent.trajectory import PolicyProtocol
from index.numbers import Integer, Number


def _registered(name: str) -> str:
    if name not in ENGINES:
        *others, last = map(repr, ENGINES)
        expected = f"{', '.join(others)} or {last}"
        raise PydanticCustomError("literal_error", "Input should be {expected}", {"expected": expected})
    return name


class EngineSettings(BaseModel, extra="forbid"):
    """Selects an engine and its model, and says how to reach them."""

    engine: Annotated[str, AfterValidator(_registered)] = next(iter(ENGINES))
    """The name of a registered engine."""
    protocol: PolicyProtocol = "tags"
    """`tags` for a policy that was trained on the tags, `tools` for chat models that call tools, `json` for
    LaMP-QA's baselines, which reply with JSON and cannot search."""
    base_url: HttpUrl = HttpUrl("http://127.0.0.1:8001/v1")
    """The address of an OpenAI-compatible server, with or without its /v1."""
    model: str = ""
    """The model's name at the server; for `vllm` and `seq2seq`, its folder or its name on the hub."""
    api_key: SecretStr | None = None
    connect_timeout_s: Number = Field(5.0, gt=0)
    first_byte_timeout_s: Number = Field(300.0, gt=0)
    """The longest wait for the first byte of a reply, in seconds, such as while a model is loaded.

    At least `idle_timeout_s`.
    """
    idle_timeout_s: Number = Field(30.0, gt=0)
    """The longest pause in a stream, in seconds, before it counts as broken."""
    retries: Integer = Field(3, ge=0, le=10)
    temperature: Number = Field(0.0, ge=0, le=2)
    context_tokens: Integer | None = Field(None, ge=256)
    """The model's context length, for servers that do not report it; for `seq2seq`, the longest prompt."""
    tokenizer: str = ""
    """The model's tokenizer, a folder or a name on the hub, for a server that has no tokenizer endpoint: text
    with the model's control strings is sent without them, and tokens are counted. By default, the server's
    endpoint is asked."""
    engine_args: dict[str, Any] = {}
    """For `vllm`: its own engine arguments, such as max_model_len or tensor_parallel_size. For `seq2seq`:
    those of transformers' from_pretrained, such as dtype, and batch_size."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        engine = ENGINES[self.engine]
        engine.check(self)
        if engine.protocols and self.protocol not in engine.protocols:
            suited = " or ".join(name for name, other in ENGINES.items() if self.protocol in other.protocols)
            raise ValueError(f"the protocol {self.protocol} needs the engine {suited}")
        return self

    def check_policy(self) -> None:
        """Raises ValueError if the engine cannot be a policy."""
        if not ENGINES[self.engine].protocols:
            raise ValueError(f"{self.engine} cannot be a policy: choose {' or '.join(policies())}")

    @property
    def has_model(self) -> bool:
        """Whether the engine runs a language model."""
        return ENGINES[self.engine].has_model
