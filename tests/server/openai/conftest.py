"""A chat with a history, and one without."""

from collections.abc import AsyncGenerator

import pytest

from tests.server.conftest import MakeService
from tests.server.openai.chat import Chat, chat_of


@pytest.fixture
async def chat(make_service: MakeService) -> AsyncGenerator[Chat, None]:
    async with chat_of(make_service()) as chat:
        yield chat


@pytest.fixture
async def bare(make_service: MakeService) -> AsyncGenerator[Chat, None]:
    """A chat without documents, for requests that are refused before a search."""
    async with chat_of(make_service(), user="") as chat:
        yield chat
