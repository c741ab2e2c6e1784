"""A real store and the real encoder behind the API; only the policy is scripted."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.policy import Policy
from index.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.store import Store
from server.service import Service
from server.settings import Settings
from tests.scripted import ScriptedPolicy
from tests.server.live import THINK_ANSWER, THINK_SEARCH, Api, api_of

MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def encoder(minilm: SentenceTransformerEncoder) -> SentenceTransformerEncoder:
    return minilm


@pytest.fixture
def make_service(tmp_path: Path, encoder: SentenceTransformerEncoder) -> Iterator[MakeService]:
    """Services on one store in `tmp_path`, closed at the end."""
    made: list[Service] = []

    def make(policy: Policy | None = None, *, upload_mb: int = 2, **fields: Any) -> Service:
        settings = Settings(data=tmp_path, upload_mb=upload_mb, **fields)
        profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
        service = Service(profiles, policy or ScriptedPolicy([THINK_SEARCH, THINK_ANSWER]), settings)
        made.append(service)
        return service

    yield make
    for service in made:
        asyncio.run(service.aclose())


@pytest.fixture
async def api(make_service: MakeService) -> AsyncGenerator[Api, None]:
    async with api_of(make_service()) as api:
        yield api
