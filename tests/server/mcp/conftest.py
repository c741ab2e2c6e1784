"""One server for the tests that change nothing."""

import asyncio
from collections.abc import Iterator

import pytest

from agent.policies.scripted import ScriptedPolicy
from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server.service import Service
from server.settings import Settings
from tests.server.live import THINK_ANSWER, THINK_SEARCH
from tests.server.mcp.served import served


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, minilm: SentenceTransformerEncoder) -> Iterator[str]:
    """One server for all tests that change nothing of Ana's and Ben's."""
    settings = Settings(data=tmp_path_factory.mktemp("served"))
    profiles = Profiles(Store(settings.url, minilm.manifest), minilm)
    service = Service(profiles, ScriptedPolicy([THINK_SEARCH, THINK_ANSWER]), settings)
    with served(service) as url:
        yield url
    asyncio.run(service.aclose())
