"""Scripted replies for the client, and the client that gets them."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

from server.client import AsyncClient

Reply = Callable[[httpx.Request], httpx.Response]

RECORD = {
    "id": "r1",
    "user": "ana",
    "created_at": "2024-05-01T12:00:00Z",
    "method": "pr2",
    "retriever": "hybrid",
    "finish_reason": "invalid",
    "trajectory": {
        "question": "why?",
        "limits": {"top_k": 3},
        "steps": [],
        "segments": [],
        "finish_reason": "invalid",
        "transcript": "",
    },
}


def client(reply: Reply) -> AsyncClient:
    return AsyncClient("http://pr2", transport=httpx.MockTransport(reply), sleep=no_time)


async def no_time(seconds: float) -> None:
    """Replaces the wait between attempts."""


def stream(*chunks: bytes) -> Reply:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return lambda request: httpx.Response(200, content=body())


def event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def steps(pr2: AsyncClient) -> list[Any]:
    return [event async for event in pr2.answer("ana", "why?")]
