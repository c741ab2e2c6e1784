"""A judge's model in this process, with vLLM, in place of a server that has it."""

import json
from contextlib import aclosing
from typing import Any

from agent.engines.capabilities import Json
from agent.engines.errors import EngineError
from agent.engines.vllm import VLLMEngine
from training.judging.judge import SCALE

VERDICTS = [json.dumps({"match_score": score}) for score in SCALE]
"""What is written where a verdict is asked for by a schema."""


class VLLMChat:
    """What LLMJudge asks of a server, answered by `engine`'s chat model."""

    def __init__(self, engine: VLLMEngine) -> None:
        self.model = engine.name
        self.place = f"vLLM with {engine.name}"
        self._engine = engine

    async def served_model(self) -> str:
        """Its name, when the engine has started. Raises EngineError."""
        await self._engine.started()
        return self.model

    async def ask(self, path: str, request: Json) -> Any:
        """The reply to a chat request, in OpenAI's shape. Raises EngineError."""
        tokenizer = await self._engine.tokenizer()
        try:
            ids = tokenizer.apply_chat_template(
                request["messages"], add_generation_prompt=True, return_dict=True
            )["input_ids"]
        except ValueError as error:
            raise EngineError("refused", f"{self.place}: it is no chat model ({error})") from None
        room = await self._engine.context() - len(ids)
        if room <= 0:
            raise EngineError("refused", f"{self.place}: {len(ids)} tokens are more than its context")
        sampling: Json = {
            "temperature": request["temperature"],
            "top_p": request["top_p"],
            "max_tokens": min(request["max_tokens"], room),
        }
        if "response_format" in request:
            from vllm.sampling_params import StructuredOutputsParams

            # The verdicts themselves: by a schema, a weak model may write white space for ever.
            sampling["structured_outputs"] = StructuredOutputsParams(choice=VERDICTS)
        text = ""
        async with aclosing(self._engine.write(ids, **sampling)) as parts:
            async for part in parts:
                text += part.text
        return {"choices": [{"message": {"content": text}}]}

    async def aclose(self) -> None:
        """Stop the engine."""
        await self._engine.aclose()
