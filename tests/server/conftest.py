"""A real store and the real encoder behind the API; only the policy is scripted."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.policies.scripted import ScriptedPolicy
from agent.policy import Policy
from agent.selecting import Selector
from index.documents import parse_document
from index.encoding.encoders import Encoder, SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server.service import Service
from server.settings import Settings
from tests.server.live import ANA, BEN, THINK_ANSWER, THINK_SEARCH, Api, api_of

MakeService = Callable[..., Service]


@pytest.fixture(scope="session")
def encoder(minilm: SentenceTransformerEncoder) -> SentenceTransformerEncoder:
    return minilm


@pytest.fixture
def make_service(tmp_path: Path, encoder: SentenceTransformerEncoder) -> Iterator[MakeService]:
    """Services on one store in `tmp_path`, closed at the end."""
    made: list[Service] = []

    def make(
        policy: Policy | None = None,
        *,
        planner: Policy | None = None,
        selector: Selector | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        upload_mb: int = 2,
        **fields: Any,
    ) -> Service:
        settings = Settings(data=tmp_path, upload_mb=upload_mb, **fields)
        profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
        policy = policy or ScriptedPolicy([THINK_SEARCH, THINK_ANSWER])
        service = Service(profiles, policy, settings, planner, selector, clock=clock)
        made.append(service)
        return service

    yield make
    for service in made:
        asyncio.run(service.aclose())


@pytest.fixture
async def api(make_service: MakeService) -> AsyncGenerator[Api, None]:
    async with api_of(make_service()) as api:
        yield api


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, encoder: SentenceTransformerEncoder) -> Path:
    """A store with Ana's and Ben's documents, made once because encoding is slow."""
    return write_histories(tmp_path_factory.mktemp("written"), encoder)


def write_histories(folder: Path, encoder: Encoder) -> Path:
    """Make a store with Ana's and Ben's documents in the folder, which is returned."""
    store = Store(Settings(data=folder).url, encoder.manifest)
    for user, documents in (("ana", ANA), ("ben", BEN)):
        Profiles(store, encoder).put(user, [parse_document(item) for item in documents])
    store.close()
    return folder


@pytest.fixture
def history(tmp_path: Path, written: Path) -> None:
    """Ana's and Ben's documents are in the store in `tmp_path`."""
    shutil.copytree(written, tmp_path, dirs_exist_ok=True)
