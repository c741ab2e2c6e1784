"""OpenAI's own client in front of the API."""

from collections.abc import AsyncGenerator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from agent.episode import Episode
from agent.policies.scripted import Piece, ScriptedPolicy
from agent.policy import Chunk
from server.http.app import create_app
from server.service import Service
from tests.server.live import ANA, Api, api_of, serving

INPUT = "Which fruit do I like?"
QUESTION: list[Any] = [{"role": "user", "content": INPUT}]
CALL: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "4 °C"}
CALL_ITEM = {"type": "function_call", "call_id": "c1", **CALL["tool_calls"][0]["function"]}
RESULT_ITEM = {"type": "function_call_output", "call_id": "c1", "output": "4 °C"}
EXCHANGE = 'The tool get_weather was called with {"city": "Oslo"}', "The tool get_weather returned: 4 °C"
"""Texts of a call and its result, as the policy is shown them."""
DANGLING: list[Piece] = [
    *["<think>Now I know.</think><answer>She likes pears", " [", "1, 9", "]. Figs ", " [7", "][", "1] [x] ["],
    *["1234567]\n", "[8]</answer>"],
]


CLIENT: Any = {"api_key": "sk-any", "max_retries": 0}


class Listening(ScriptedPolicy):
    """Keeps its prompts."""

    def __init__(self, turns: Sequence[str | Sequence[Piece]]) -> None:
        super().__init__(turns)
        self.prompts: list[str] = []

    def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        self.prompts.append(episode.prompt)
        return super().generate(episode, max_tokens)


@dataclass
class Chat:
    """OpenAI's client without a socket, and the API behind it."""

    client: AsyncOpenAI
    api: Api

    async def ask(self, user: str = "ana", **more: Any) -> ChatCompletion:
        arguments = {"model": "pr2", "messages": QUESTION, "user": user, **more}
        completion: ChatCompletion = await self.client.chat.completions.create(**arguments)
        return completion

    async def stream(self, user: str = "ana", **more: Any) -> list[ChatCompletionChunk]:
        arguments = {"model": "pr2", "messages": QUESTION, "user": user, **more}
        async with await self.client.chat.completions.create(stream=True, **arguments) as stream:
            return [chunk async for chunk in stream]

    async def refusal(self, kind: type[openai.APIStatusError], **more: Any) -> dict[str, Any]:
        """Body of the error that the client raises."""
        return await refused(kind, self.ask(**more))

    async def respond(self, user: str = "ana", **more: Any) -> Response:
        arguments = {"model": "pr2", "input": INPUT, "user": user, **more}
        response: Response = await self.client.responses.create(**arguments)
        return response

    async def respond_in_events(self, user: str = "ana", **more: Any) -> list[ResponseStreamEvent]:
        arguments = {"model": "pr2", "input": INPUT, "user": user, **more}
        async with await self.client.responses.create(stream=True, **arguments) as stream:
            return [event async for event in stream]

    async def headers(self, path: str, **body: Any) -> httpx.Headers:
        """Response headers of a raw request to chat completions or responses."""
        asks = {"messages": QUESTION} if path.startswith("chat") else {"input": INPUT}
        body = {"model": "pr2", "user": "ana", **asks, **body}
        response = await self.api.client.post(f"/v1/{path}", json=body)
        assert response.status_code == 200, response.text
        return response.headers


async def refused(kind: type[openai.APIStatusError], call: Awaitable[Any]) -> dict[str, Any]:
    """Body of the error that the client raises for `call`."""
    with pytest.raises(kind) as raised:
        await call
    assert raised.value.type == raised.value.body["type"]  # type: ignore[index]
    error: dict[str, Any] = raised.value.response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"] in str(raised.value)
    return error


@asynccontextmanager
async def chat_of(service: Service, user: str = "ana") -> AsyncGenerator[Chat, None]:
    async with api_of(service) as api:
        if user:
            await api.put(user, ANA)
        http_client: Any = api.client  # The client is typed with a fork of httpx, and takes both.
        yield Chat(AsyncOpenAI(**CLIENT, base_url="http://api/v1", http_client=http_client), api)


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """The API behind a socket, with Ana's documents."""
    with serving(create_app(service.settings, service)) as url:
        assert httpx.put(f"{url}/v1/users/ana/documents", json=ANA).status_code == 200
        yield url


def joined(chunks: Sequence[ChatCompletionChunk], field: str) -> str:
    deltas = [choice.delta.to_dict() for chunk in chunks for choice in chunk.choices]
    return "".join(str(delta[field]) for delta in deltas if delta.get(field))


def annotations_of(chunks: Sequence[ChatCompletionChunk]) -> list[Any]:
    deltas: list[Any] = [choice.delta.to_dict() for chunk in chunks for choice in chunk.choices]
    return [annotation for delta in deltas for annotation in delta.get("annotations", [])]
