"""`pr2 ask`, on a local store and through a server: the same steps, whoever brings them."""

import asyncio
import dataclasses
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agent.policy import PolicyError
from agent.trajectory import Trajectory
from index.documents import parse_document
from index.encoders import SentenceTransformerEncoder
from index.store import Store
from server.app import create_app
from server.cli import app
from server.cli.backend import Backend, LocalBackend
from server.cli.render import StepPrinter
from server.client import AsyncClient
from server.service import AnswerRecord, Service
from tests.scripted import ScriptedPolicy
from tests.server.live import ANA, serving

run = CliRunner().invoke

STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31mred\u202e"
HOSTILE = {"id": "evil", "text": f"My pears {STEERING} [bold]are[/bold] [link=http://x]ripe[/link]."}
SEARCH = f"<think>Hm {STEERING}[red]x[/red]</think><search>pears</search>"
ANSWER = "<think>So.</think><answer>She likes pears [1], not figs [9].</answer>"


@pytest.fixture
def live(make_service: Callable[..., Service]) -> Iterator[tuple[Service, str]]:
    service = make_service(ScriptedPolicy([SEARCH, ANSWER]))
    asyncio.run(service.put("ana", [parse_document(item) for item in [*ANA, HOSTILE]]))
    with serving(create_app(service.settings, service)) as url:
        yield service, url


def timeless(value: Any) -> Any:
    """`value` without what differs between two runs."""
    if isinstance(value, dict):
        return {
            k: timeless(v)
            for k, v in value.items()
            if not k.endswith("_ms") and k not in ("id", "created_at")
        }
    return [timeless(item) for item in value] if isinstance(value, list | tuple) else value


async def collected(backend: Backend) -> list[Any]:
    return [event async for event in backend.answer("ana", "What do I like?", limits={"top_k": 2})]


async def through(url: str) -> list[Any]:
    async with AsyncClient(url) as client:
        return await collected(client)


def shown(events: list[Any]) -> str:
    out = io.StringIO()
    printer = StepPrinter(Console(file=out, width=200, highlight=False, markup=False))
    with printer:
        for event in events:
            if isinstance(event, AnswerRecord):
                printer.footer(event)
            else:
                printer.show(event)
    return out.getvalue()


def test_the_steps_are_the_same_here_and_through_a_server(live: tuple[Service, str]) -> None:
    service, url = live
    local, remote = asyncio.run(collected(LocalBackend(service))), asyncio.run(through(url))
    assert [type(event) for event in local] == [type(event) for event in remote]
    for here, there in zip(local, remote, strict=True):
        assert timeless(dataclasses.asdict(here)) == timeless(dataclasses.asdict(there))
    assert re.sub(r"\d\.\d\d s", "", shown(local)) == re.sub(r"\d\.\d\d s", "", shown(remote))


def test_an_answer_shows_its_steps_its_evidence_and_what_it_took(live: tuple[Service, str]) -> None:
    result = run(app, ["ask", "ana", "What do I like?", "--server", live[1]])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert any(line.startswith("search pears") for line in lines)
    assert any(re.match(r"  \[\d\] 2024-05-01 \d\.\d\d a1  I love ripe pears", line) for line in lines)
    assert "She likes pears [1], not figs." in lines
    assert any(re.match(r"  \[1\] \w+ · .*characters 0 to \d+", line) for line in lines)
    assert "1 mark that pointed at no passage" in result.stdout
    assert re.fullmatch(r"policy scripted · answered · 1 search · \d documents read · \d\.\d\d s", lines[-1])


def test_nothing_that_is_stored_or_written_can_steer_the_terminal(live: tuple[Service, str]) -> None:
    _, url = live
    for command in (
        ["ask", "ana", "What do I like?"],
        ["ask", "ana", "What do I like?", "--json"],
        ["profile", "show", "ana"],
        ["profile", "show", "ana", "evil"],
        ["profile", "search", "ana", f"pears {STEERING}"],
        ["profile", "export", "ana"],
    ):
        result = run(app, [*command, "--server", url])
        assert result.exit_code == 0, (command, result.stderr)
        assert not set("\x1b\x07\x9b\u202e") & set(result.stdout), command
        assert "[bold]are[/bold]" in result.stdout, command


def test_on_a_terminal_there_are_colours_and_only_ours(live: tuple[Service, str]) -> None:
    events = asyncio.run(through(live[1]))
    out = io.StringIO()
    terminal = Console(file=out, force_terminal=True, width=60, markup=False, highlight=False)
    with StepPrinter(terminal) as printer:
        for event in events[:-1]:
            printer.show(event)
    assert "\x1b[" in out.getvalue()
    assert not set("\x07\x9b\u202e") & set(out.getvalue())
    assert "owned" in out.getvalue()
    assert "\x1b]" not in out.getvalue()


def test_json_is_the_stored_record_and_nothing_else(
    tmp_path: Path, minilm: SentenceTransformerEncoder, live: tuple[Service, str]
) -> None:
    service, url = live
    for place in (["--server", url], ["--data", str(tmp_path)]):
        result = run(app, ["ask", "ana", "What do I like?", "--json", "--top-k", "2", *place])
        assert result.exit_code == 0, result.stderr
        record = json.loads(result.stdout)
        store = Store(service.settings.url, minilm.manifest)
        assert record == store.answer("ana", record["id"])
        store.close()
        assert Trajectory.from_dict(record["trajectory"]).limits.top_k == 2


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ("<think>Hm</think>", "invalid"),
        ([PolicyError("unavailable", "nobody is there")], "policy_error: nobody is there"),
    ],
)
def test_no_answer_is_exit_code_1_with_the_reason(
    make_service: Callable[..., Service], turn: Any, reason: str
) -> None:
    service = make_service(ScriptedPolicy([turn]))
    asyncio.run(service.put("ana", [parse_document(item) for item in ANA]))
    with serving(create_app(service.settings, service)) as url:
        result = run(app, ["ask", "ana", "Why?", "--server", url])
    assert result.exit_code == 1
    assert f"pr2: no answer: {reason}" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nobody", "Why?"], "nothing is stored for the user 'nobody'"),
        (["ana", " "], "the question is empty"),
        (["ana", "Why?", "--retriever", "oracle"], "oracle"),
        (["ana", "Why?", "--top-k", "0"], "top_k: Input should be greater than or equal to 1"),
        (["a/b", "Why?"], "'a/b' cannot be an id"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    live: tuple[Service, str], arguments: list[str], message: str
) -> None:
    service, url = live
    for place in (["--server", url], ["--data", str(service.settings.data)]):
        result = run(app, ["ask", *arguments, *place])
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    result = run(app, ["ask", "ana", "Why?", "--server", "http://127.0.0.1:9"])
    assert result.exit_code == 2
    assert "cannot reach the server at http://127.0.0.1:9" in result.stderr


def test_options_of_the_local_store_do_not_go_with_a_server(tmp_path: Path) -> None:
    result = run(app, ["ask", "ana", "Why?", "--server", "http://127.0.0.1:9", "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert "for the server to set: data" in result.stderr
