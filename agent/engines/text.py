"""The seam to models that continue one plain prompt, without an episode, a chat history or a stop string.

LaMP is answered in this way. A prompt is never shortened in silence: one that is too long is an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from agent.engines.errors import EngineError
from agent.tokenizer import TokenizerFiles


class NoLikelihood(EngineError):
    """The engine cannot compute likelihoods, whatever the text."""


@dataclass(frozen=True)
class Decoding:
    """How a text is decoded. Outputs depend on all of it. Raises ValueError for values out of range."""

    beams: int = 1
    """Width of the beam search; 1 for none. LaMP's published results are of 4 (arXiv 2404.05970)."""
    temperature: float = 0.0
    """0 decodes greedily, or by the beams alone."""
    max_tokens: int = 128
    """The most tokens to write."""

    def __post_init__(self) -> None:
        if self.beams < 1 or self.max_tokens < 1 or not 0 <= self.temperature <= 2:
            raise ValueError("beams and max_tokens must be at least 1, and the temperature from 0 to 2")

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


class Tokens(Protocol):
    """Counts a model's tokens. It may load a tokenizer or ask a server: call it outside of the event loop."""

    def count(self, text: str) -> int:
        """The number of tokens, without special ones. Raises EngineError."""
        ...

    def cut(self, text: str, tokens: int) -> str:
        """The longest prefix of at most so many tokens. Raises EngineError."""
        ...


class TextModel(Tokens, Protocol):
    """A model that continues one plain prompt. Use each object in one event loop only."""

    @property
    def description(self) -> Mapping[str, Any]:
        """JSON values that outputs depend on: `engine`, `model`, `decoding` and more. Raises EngineError."""
        ...

    async def generate(self, prompt: str) -> str:
        """The text that the model writes after the prompt. Concurrent calls are batched where that pays.

        Raises EngineError, also if the prompt does not fit into the model's limit.
        """
        ...

    async def likelihood(self, prompt: str, target: str) -> float:
        """The mean log-likelihood of the target's tokens after the prompt, in nats; at most 0.

        Special tokens that the tokenizer puts around a target count, such as the end of T5's. Raises
        EngineError, and NoLikelihood if the engine cannot compute any.
        """
        ...

    async def aclose(self) -> None: ...


class FileTokens:
    """Tokens of a tokenizer in a folder or on the Hugging Face hub, loaded when it is first used.

    No text is read as a control token.
    """

    def __init__(self, name: str) -> None:
        self.files = TokenizerFiles(name)

    def count(self, text: str) -> int:
        """See Tokens."""
        return len(self.files.texts().encode(text, False))

    def cut(self, text: str, tokens: int) -> str:
        """See Tokens."""
        return longest_prefix(text, tokens, self.count)


class ScriptedText:
    """A TextModel without a model, for tests of code that uses one: `reply` writes the text of a prompt.

    Its tokens are words. `reply` may raise EngineError. The likelihood of a target is minus the share of its
    words that the prompt lacks.
    """

    def __init__(self, reply: Callable[[str], str], name: str = "scripted") -> None:
        self._reply = reply
        self.description: Mapping[str, Any] = {"engine": "scripted", "model": name, "decoding": {}}
        self.prompts: list[str] = []
        """The prompts so far."""

    def count(self, text: str) -> int:
        """See Tokens."""
        return len(text.split())

    def cut(self, text: str, tokens: int) -> str:
        """See Tokens."""
        return longest_prefix(text, tokens, self.count)

    async def generate(self, prompt: str) -> str:
        """See TextModel."""
        self.prompts.append(prompt)
        return self._reply(prompt)

    async def likelihood(self, prompt: str, target: str) -> float:
        """See TextModel."""
        self.prompts.append(prompt)
        self._reply(prompt)
        words, known = target.split(), set(prompt.split())
        return -sum(word not in known for word in words) / len(words)

    async def aclose(self) -> None:
        """See TextModel."""


def longest_prefix(text: str, tokens: int, count: Callable[[str], int]) -> str:
    """The longest prefix that `count` says has at most `tokens` tokens.

    It counts a few prefixes of about that length, however long the text is. Tokenizers merge characters, so a
    longer prefix can have fewer tokens; then this one may be shorter than the longest.
    """
    fits, size = 0, max(tokens, 1)
    while count(text[:size]) <= tokens:
        fits = size
        if size >= len(text):
            return text
        size *= 2
    over = min(size, len(text))
    while over - fits > 1:
        middle = (fits + over) // 2
        if count(text[:middle]) <= tokens:
            fits = middle
        else:
            over = middle
    return text[:fits]
