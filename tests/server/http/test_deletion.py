"""Over HTTP: a deletion reaches answers and files, and readiness and sizes are what the store can keep."""

import sqlite3
from contextlib import closing
from pathlib import Path

from agent.policies.extractive import ExtractivePolicy
from server.http.bodies import AnswerBody
from tests.server.conftest import MakeService
from tests.server.live import ANA, Api, api_of

PEARS = ANA[0]["text"]


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


async def test_a_deleted_document_is_gone_from_answers_and_from_the_disk(
    make_service: MakeService, tmp_path: Path
) -> None:
    async with api_of(make_service(ExtractivePolicy())) as api:
        await api.put("ana", ANA)
        body = (await api.ask("ana", "Which ripe fruit do I love?")).json()
        assert PEARS in body["answer"]
        assert (body["stored"], body["redacted"]) == (True, False)
        assert (await api.client.delete("/v1/users/ana/documents/a1")).status_code == 204
        redacted = (await api.client.get(f"/v1/users/ana/answers/{body['id']}")).json()
        assert not [name for name, content in contents(tmp_path).items() if b"ripe pears" in content]
        again = (await api.ask("ana", "Which ripe fruit do I love?")).json()
    AnswerBody.model_validate(redacted)
    assert redacted["redacted"] is True
    assert "[deleted]" in redacted["answer"]
    assert [c["quote"] for c in redacted["citations"] if c["document_id"] == "a1"] == ["[deleted]"]
    assert "ripe pears" not in str(redacted)
    assert "a1" not in {citation["document_id"] for citation in again["citations"]}


async def test_a_deleted_document_is_gone_from_memory(api: Api) -> None:
    await api.put("ana", ANA)
    await api.client.post("/v1/users/ana/search", json={"queries": ["fruit"]})
    profiles = api.service.profiles
    assert list(profiles._cache) == ["ana"]
    await api.client.delete("/v1/users/ana/documents/a1")
    profile = profiles._cache["ana"]
    assert [document.id for document in profile.documents] == ["a2", "a3"]
    assert len(profile) == profile.vectors.size == 2
    assert not any("pears" in profile.text(position) for position in range(len(profile)))
    assert profiles._cached == profiles._sizes["ana"] == profile.nbytes


async def test_a_database_with_malformed_pages_is_not_ready(api: Api, tmp_path: Path) -> None:
    await api.put("ana", ANA)
    api.service.profiles.store.database.scrub()
    file = tmp_path / "pr2.db"
    with closing(sqlite3.connect(file)) as connection:
        page = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'documents'").fetchone()[0]
    with file.open("r+b") as database:
        database.seek((page - 1) * 4_096)
        database.write(b"\xee" * 4_096)
    response = await api.client.get("/readyz")
    assert (response.status_code, response.json()["type"]) == (503, "urn:pr2:problem:store-unavailable")
    assert "malformed" in response.json()["detail"]
    assert int(response.headers["retry-after"]) > 0


async def test_a_document_over_the_limit_is_named_with_the_setting(make_service: MakeService) -> None:
    async with api_of(make_service(upload_mb=40)) as api:
        large = {"id": "large", "text": "note", "metadata": {"filler": "x" * 12_000_000}}
        response = await api.client.put("/v1/users/ana/documents", json=[ANA[0], large])
        assert response.status_code == 422
        assert response.json()["detail"] == (
            "'large' (item 2) has 12,000,023 bytes with its metadata; "
            "a document may have 4,194,304 (document_mb)"
        )
        assert (await api.client.get("/v1/users/ana/documents")).status_code == 404
