"""Plain texts by a model that vLLM runs in this process."""

from collections.abc import Mapping
from contextlib import aclosing
from functools import cached_property
from typing import Any

from agent.engines.errors import EngineError
from agent.engines.text import Decoding, FileTokens
from agent.engines.vllm import VLLMEngine
from agent.engines.weights import fingerprint


class VLLMText:
    """A TextModel (see there) with the model of `engine`, whose tokenizer is that of `model`.

    vLLM itself batches concurrent calls.
    """

    def __init__(self, engine: VLLMEngine, model: str, decoding: Decoding) -> None:
        """Raises EngineError for a beam search, which vLLM's engine does not have."""
        if decoding.beams > 1:
            raise EngineError("refused", "vllm has no beam search: set the beams to 1")
        self._engine = engine
        self._model = model
        self._decoding = decoding
        self._tokens = FileTokens(model)

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """See TextModel."""
        return {
            "engine": "vllm",
            "model": self._model,
            "weights": fingerprint(self._model),
            "decoding": self._decoding.to_dict(),
        }

    def count(self, text: str) -> int:
        """See Tokens."""
        return self._tokens.count(text)

    def cut(self, text: str, tokens: int) -> str:
        """See Tokens."""
        return self._tokens.cut(text, tokens)

    async def generate(self, prompt: str) -> str:
        """See TextModel."""
        ids = await self._encoded(prompt)
        most = self._decoding.max_tokens
        await self._check(len(ids) + most, f"the prompt has {len(ids)} tokens, with {most} to write")
        text = ""
        async with aclosing(
            self._engine.write(ids, temperature=self._decoding.temperature, max_tokens=most)
        ) as parts:
            async for part in parts:
                text += part.text
        return text

    async def likelihood(self, prompt: str, target: str) -> float:
        """See TextModel. Prompt and target are encoded separately."""
        ids = await self._encoded(prompt)
        targets = (await self._engine.text_tokenizer()).encode(target, False)
        if not targets:
            raise EngineError("refused", f"{self._engine.name} was given a target without tokens")
        # vLLM writes at least one token.
        await self._check(
            len(ids) + len(targets) + 1, f"prompt and target have {len(ids) + len(targets)} tokens"
        )
        found = (await self._engine.log_probabilities(ids + targets))[-len(targets) :]
        return sum(found) / len(found)

    async def aclose(self) -> None:
        """Stop the engine."""
        await self._engine.aclose()

    async def _encoded(self, prompt: str) -> list[int]:
        ids = (await self._engine.text_tokenizer()).encode(prompt, True)
        if not ids:
            raise EngineError("refused", f"{self._engine.name} was given a prompt without tokens")
        return ids

    async def _check(self, needed: int, said: str) -> None:
        context = await self._engine.context()
        if needed > context:
            raise EngineError("refused", f"{said}: more than the {context} of {self._engine.name}")
