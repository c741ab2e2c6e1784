"""Writers and readers at the same time: no error, no lost update, no quote of a version that never was."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.concurrency import READERS, WRITERS, Load, measured, services_at
from index.storage.loading import StoredProfile
from index.storage.store import Store
from tests.postgresql import Cluster

TURNS = 4


def few(done: int) -> bool:
    return done < TURNS


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_sixteen_writers_and_readers_lose_nothing_and_quote_what_they_read(
    database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if database == "sqlite":
        url, services = f"sqlite:///{tmp_path / 'pr2.db'}", 1
    else:
        cluster: Cluster = request.getfixturevalue("postgresql")
        url, services = cluster.create("concurrency"), 2
    outcome = await measured(url, services, few)
    assert outcome.faults == []
    assert outcome.writes == WRITERS * TURNS
    assert outcome.searches + outcome.answers == READERS * TURNS
    assert outcome.citations > 0


class Forgetful(Store):
    """Acknowledges deletions of one user's documents without doing them."""

    def delete_document(self, user: str, document_id: str) -> None:
        del user, document_id


async def test_a_store_that_forgets_a_write_is_found_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pr2.db'}"
    (service,) = services_at(url, 1)
    service.profiles.store = Forgetful(url, service.profiles.encoder.manifest)
    outcome = await Load([service]).run(lambda done: done < 8)
    assert outcome.errors == []
    assert any(", not None" in fault for fault in outcome.lost)
    assert any("has version" in fault for fault in outcome.lost)
    await service.aclose()


class Mixing(Store):
    """Loads documents whose parts are of two versions."""

    def changes(self, *_: object, **__: object) -> None:
        """Everything is loaded each time."""

    def load(self, user: str) -> StoredProfile:
        profile = super().load(user)
        mixed = [
            document.model_copy(update={"text": document.text.replace("The tea v", "The tea of ")})
            for document in profile.documents
        ]
        return replace(profile, records=mixed)


async def test_a_text_that_nobody_wrote_is_found_out(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'pr2.db'}"
    (service,) = services_at(url, 1)
    service.profiles.store = Mixing(url, service.profiles.encoder.manifest)
    outcome = await Load([service]).run(few)
    assert outcome.errors == []
    assert any("was never" in fault and "The tea of " in fault for fault in outcome.misquoted)
    await service.aclose()
