"""The audit log of real requests: who did what to whom, in order, and no text of anybody's."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.access.audit import AUDIT, AuditFile
from server.cli.errors import BadInput
from server.cli.serve import _log_config
from server.logs import JSONLines
from server.settings import Settings
from tests.server.conftest import MakeService
from tests.server.live import ANA, Api, api_of


class Audited:
    """The audit log in a file, and its lines."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.handler = AuditFile(str(file))
        self.handler.setFormatter(JSONLines(text=False))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]

    def notes(self) -> list[tuple[str, ...]]:
        names = ("message", "action", "user", "what", "id")
        return [tuple(line[name] for name in names if name in line) for line in self.lines()]


@pytest.fixture
def audited(tmp_path: Path) -> Iterator[Audited]:
    audited = Audited(tmp_path / "audit.log")
    logger = logging.getLogger(AUDIT)
    level, logger.propagate = logger.level, False
    logger.setLevel(logging.INFO)
    logger.addHandler(audited.handler)
    yield audited
    logger.removeHandler(audited.handler)
    logger.setLevel(level)
    audited.handler.close()


async def test_every_door_is_noted_with_ids_and_no_text(api: Api, audited: Audited) -> None:
    await api.put("ana", ANA)
    answer = (await api.ask("ana", "What is my favourite fruit?")).json()
    user = "/v1/users/ana"
    await api.client.get(f"{user}/answers/{answer['id']}")
    said = {"rating": "up", "comment": "ripe fruit"}
    await api.client.post(f"{user}/answers/{answer['id']}/feedback", json=said)
    await api.client.get(f"{user}/answers")
    await api.client.post(f"{user}/search", json={"queries": ["ripe"], "k": 1})
    await api.client.get(f"{user}/documents/a1", headers={"X-Request-Id": "job-7"})
    await api.client.get(f"{user}/documents")
    await api.client.get(f"{user}/export")
    chat = {"model": "pr2", "user": "ana", "messages": [{"role": "user", "content": "And my fruit?"}]}
    await api.client.post("/v1/chat/completions", json=chat)
    await api.client.delete(f"{user}/documents/a1")
    await api.client.delete(user)
    assert audited.notes() == [
        ("allowed", "write", "ana", "documents"),
        ("allowed", "ask", "ana", "question"),
        ("allowed", "read", "ana", "answer", answer["id"]),
        ("allowed", "ask", "ana", "feedback", answer["id"]),
        ("allowed", "read", "ana", "answers"),
        ("allowed", "read", "ana", "search"),
        ("allowed", "read", "ana", "document", "a1"),
        ("allowed", "read", "ana", "documents"),
        ("allowed", "read", "ana", "documents"),
        ("allowed", "ask", "ana", "question"),
        ("allowed", "write", "ana", "deletion", "a1"),
        ("allowed", "erase", "ana", "everything"),
    ]
    assert {line["principal"] for line in audited.lines()} == {"local"}
    assert audited.lines()[6]["request_id"] == "job-7"
    written = audited.file.read_text("utf-8")
    for text in ("pears", "fruit", "ripe", "Dentist", "calm"):
        assert text not in written


async def test_what_is_refused_is_noted(make_service: MakeService, audited: Audited) -> None:
    service = make_service(token="s3cret", identity={"user": "ana"})
    async with api_of(service) as api:
        api.client.headers["Authorization"] = "Bearer s3cret"
        assert (await api.client.get("/v1/users/ben/documents/b1")).status_code == 403
        assert (await api.client.put("/v1/users/ben/documents", json=ANA)).status_code == 403
    assert audited.notes() == [("refused", "read", "ben"), ("refused", "write", "ben")]
    assert audited.lines()[0]["principal"] == "the token"


async def test_the_file_is_its_owners_and_may_be_moved_away(api: Api, audited: Audited) -> None:
    await api.put("ana", ANA)
    assert audited.file.stat().st_mode & 0o777 == 0o600
    moved = audited.file.rename(audited.file.with_suffix(".1"))
    await api.client.delete("/v1/users/ana")
    assert [note[1] for note in audited.notes()] == ["erase"]
    assert moved.read_text("utf-8").count("\n") == 1
    assert audited.file.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_written_is_named_before_the_server_starts(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "audit.log"
    with pytest.raises(BadInput, match=r"audit_log: .*missing"):
        _log_config(Settings(data=tmp_path, audit_log=missing))
    file = tmp_path / "audit.log"
    assert _log_config(Settings(data=tmp_path, audit_log=file))["loggers"][AUDIT]["handlers"] == ["audit"]
    assert file.stat().st_mode & 0o777 == 0o600
