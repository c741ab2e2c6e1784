"""The golden trajectories through every interface: the API, its stream, and the command line."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from agent.policies.scripted import ScriptedPolicy
from index.documents import parse_document
from server.cli import app
from server.http.app import create_app
from server.service import Service
from tests.engine import Engine, turns, writes
from tests.golden.cases import CASES, OPENED, RETRIEVER, Case, comparable, expected
from tests.server.live import serving

USER = "ana"


@pytest.fixture(params=[*CASES, *OPENED], ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    chosen: Case = request.param
    return chosen


@pytest.fixture
def service(case: Case, make_service: Callable[..., Service]) -> Service:
    made = make_service(ScriptedPolicy(case.turns))
    # Everybody has a document: of a person without any, nothing is known.
    documents = case.documents or ({"id": "other", "text": "Nothing to do with it."},)
    made.profiles.put(USER, [parse_document(document) for document in documents])
    return made


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    with serving(create_app(service.settings, service)) as address:
        yield address


def flags(case: Case) -> list[str]:
    limits = asdict(case.limits).items()
    return [
        "--retriever",
        RETRIEVER,
        "--method",
        case.method,
        "--as-of",
        case.as_of,
        *(f"--{name.replace('_', '-')}={value}" for name, value in limits),
    ]


def asked(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["ask", USER, *arguments, "--json"])
    record: dict[str, Any] = json.loads(result.stdout)
    return comparable(record["trajectory"])


def test_through_the_api(case: Case, url: str) -> None:
    body = {
        "question": case.question,
        "method": case.method,
        "retriever": RETRIEVER,
        "limits": asdict(case.limits),
        "as_of": case.as_of,
    }
    record = httpx.post(f"{url}/v1/users/{USER}/answers", json=body).json()
    assert comparable(record["trajectory"]) == expected(case)
    streamed = httpx.post(f"{url}/v1/users/{USER}/answers", json=body | {"stream": True}).text
    last = streamed.rstrip().rpartition("event: done\ndata: ")[2]
    assert comparable(json.loads(last)["trajectory"]) == expected(case)


def test_through_the_command_line_and_a_server(case: Case, url: str) -> None:
    assert asked(case.question, "--server", url, *flags(case)) == expected(case)


def test_through_the_command_line_and_an_engine(case: Case, service: Service, tmp_path: Path) -> None:
    asyncio.run(service.aclose())
    with Engine(turns(*map(writes, case.turns))) as engine:
        policy = ["--policy", "openai", "--base-url", engine.base_url, "--model", "tiny"]
        assert asked(case.question, "--data", str(tmp_path), *policy, *flags(case)) == expected(case)
