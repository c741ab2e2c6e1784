"""A chat model that vLLM runs in this process."""

import itertools
import json
from contextlib import aclosing
from typing import Any

from agent.engines.completions import Json
from agent.engines.errors import EngineError
from agent.engines.vllm import VLLMEngine


class VLLMChat:
    """Answers chat requests with the model of `engine`; see ChatModel."""

    def __init__(self, engine: VLLMEngine) -> None:
        self.model = engine.name
        self.address = f"vLLM with {engine.name}"
        self._engine = engine

    async def served_model(self) -> str:
        """The model's name, once the engine has started. Raises EngineError."""
        await self._engine.started()
        return self.model

    async def ask(self, path: str, request: Json) -> Any:
        """The reply to a chat request, in OpenAI's format. Raises EngineError."""
        tokenizer, texts = await self._engine.tokenizer(), await self._engine.text_tokenizer()
        # The template's own control tokens have to be read, so the messages are encoded with them.
        messages = [
            message | {"content": texts.broken(message["content"])} for message in request["messages"]
        ]
        try:
            ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)[
                "input_ids"
            ]
        except ValueError as error:
            raise EngineError("refused", f"{self.address}: not a chat model ({error})") from None
        room = await self._engine.context() - len(ids)
        if room <= 0:
            why = f"{self.address}: the request has {len(ids)} tokens, more than its context"
            raise EngineError("refused", why)
        sampling: Json = {
            "temperature": request["temperature"],
            "top_p": request["top_p"],
            "max_tokens": min(request["max_tokens"], room),
        }
        if "response_format" in request:
            from vllm.sampling_params import StructuredOutputsParams

            schema = request["response_format"]["json_schema"]["schema"]
            values = finite_values(schema)
            sampling["structured_outputs"] = (
                StructuredOutputsParams(choice=values) if values else StructuredOutputsParams(json=schema)
            )
        text = ""
        async with aclosing(self._engine.write(ids, **sampling)) as parts:
            async for part in parts:
                text += part.text
        return {"choices": [{"message": {"content": text}}]}

    async def aclose(self) -> None:
        """Stop the engine."""
        await self._engine.aclose()


def finite_values(schema: Json) -> list[str]:
    """All JSON texts that an object schema of required enums allows; [] for any other schema.

    Constrained by the schema alone, a weak model may write white space forever.
    """
    properties: Json = schema.get("properties", {})
    is_closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == {
        *properties
    }
    if not is_closed or not all("enum" in rules for rules in properties.values()):
        return []
    combinations = itertools.product(*(rules["enum"] for rules in properties.values()))
    return [json.dumps(dict(zip(properties, values, strict=True))) for values in combinations]
