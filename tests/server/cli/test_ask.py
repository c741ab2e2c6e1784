"""`pr2 ask` on a local store and through a server: the same steps."""

import asyncio
import dataclasses
import io
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk
from agent.trajectory import Trajectory
from index.documents import parse_document
from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server.answers import AnswerRecord
from server.cli import app
from server.cli.backend import Backend, LocalBackend
from server.cli.render import StepPrinter
from server.client import AsyncClient
from server.http.app import create_app
from server.service import Service
from server.settings import Settings
from tests.server.live import ANA, serving

run = CliRunner().invoke

STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31mred\u202e"
HOSTILE = {"id": "evil", "text": f"My pears {STEERING} [bold]are[/bold] [link=http://x]ripe[/link]."}
SEARCH = f"<think>Hm {STEERING}[red]x[/red]</think><search>pears</search>"
ANSWER = "<think>So.</think><answer>She likes pears [1], not figs [9].</answer>"


ALONE = "<think>Nothing to look at.</think><answer>Most people like apples.</answer>"


class Told(ScriptedPolicy):
    """Respects a limit of no searches, and answers differently if it has read nothing."""

    def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        if episode.limits.max_searches:
            return super().generate(episode, max_tokens)
        return ScriptedPolicy([ANSWER if episode.reads else ALONE]).generate(episode, max_tokens)


@pytest.fixture(scope="module")
def live(
    tmp_path_factory: pytest.TempPathFactory, minilm: SentenceTransformerEncoder
) -> Iterator[tuple[Service, str]]:
    """One server for all tests: they only ask."""
    settings = Settings(data=tmp_path_factory.mktemp("live"))
    profiles = Profiles(Store(settings.url, minilm.manifest), minilm)
    profiles.put("ana", [parse_document(item) for item in [*ANA, HOSTILE]])
    service = Service(profiles, Told([SEARCH, ANSWER]), settings)
    with serving(create_app(settings, service)) as url:
        yield service, url
    asyncio.run(service.aclose())


def timeless(value: Any) -> Any:
    """`value` without ids and times, which differ between runs."""
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
    # Only a request has a path that names the user.
    assert (local[-1].named_by, remote[-1].named_by) == (None, "path")
    local[-1] = dataclasses.replace(local[-1], named_by="path")
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
    assert "1 mark without a passage removed" in result.stdout
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
    minilm: SentenceTransformerEncoder, live: tuple[Service, str]
) -> None:
    service, url = live
    for place in (["--server", url], ["--data", str(service.settings.data)]):
        asked = ["ask", "ana", "What do I like?", "--json", "--compare", "--top-k", "2", *place]
        result = run(app, asked)
        assert result.exit_code == 0, result.stderr
        record = json.loads(result.stdout)
        other = record["without_profile"]
        assert other["finish_reason"] == record["finish_reason"] == "answered"
        assert (other["usage"]["documents_read"], record["usage"]["documents_read"] > 0) == (0, True)
        store = Store(service.settings.url, minilm.manifest)
        assert record == store.answer("ana", record["id"])
        store.close()
        assert Trajectory.from_dict(record["trajectory"]).limits.top_k == 2


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ("<think>Hm</think>", "invalid"),
        ([EngineError("unavailable", "nobody is there")], "policy_error: nobody is there"),
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
        (
            ["ana", "Why?", "--method", "magic"],
            "there is no method 'magic'; there are pr2, rag, planpers, prlm, none",
        ),
        (["ana", "Why?", "--top-k", "0"], "top_k: Input should be greater than or equal to 1"),
        (["..", "Why?"], "'..' cannot be an id"),
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


@pytest.mark.parametrize(
    ("method", "steps"), [("rag", ["information", "thought", "answer"]), ("none", ["thought", "answer"])]
)
def test_another_method_is_named_below_its_answer(
    live: tuple[Service, str], method: str, steps: list[str]
) -> None:
    asked = ["ask", "ana", "What do I like?", "--method", method, "--server", live[1]]
    result = run(app, asked)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    words = {"rag": "She likes pears [1], not figs.", "none": "Most people like apples."}
    assert words[method] in lines
    assert ("My pears" in result.stdout) == (method == "rag")
    assert not any(line.startswith("search ") for line in lines)
    found = r"\d documents" if method == "rag" else "0 documents"
    assert re.fullmatch(
        rf"policy scripted · method {method} · answered · 0 searches · {found} read · \d\.\d\d s", lines[-1]
    )
    assert "Without the history" not in result.stdout
    whole = run(app, [*asked, "--json"])
    assert whole.exit_code == 0, whole.stderr
    record = json.loads(whole.stdout)
    assert [step["kind"] for step in record["trajectory"]["steps"]] == steps
    assert (record["method"], record["without_profile"]) == (method, None)


def test_a_comparison_is_shown_after_the_answer(live: tuple[Service, str]) -> None:
    result = run(app, ["ask", "ana", "What do I like?", "--compare", "--server", live[1]])
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    heading = lines.index("Without the history:")
    assert lines[heading + 1] == "Most people like apples."
    assert lines.index("She likes pears [1], not figs.") < heading
    assert re.match(r"policy scripted · answered · 1 search", lines[-1])


def test_methods_and_comparisons_of_the_local_store_need_no_model(live: tuple[Service, str]) -> None:
    place = ["--data", str(live[0].settings.data), "--policy", "extractive"]
    result = run(app, ["ask", "ana", "What do I love?", "--method", "rag", "--compare", *place])
    assert result.exit_code == 0, result.stderr
    answer, _, other = result.stdout.partition("Without the history:\n")
    assert "I love ripe pears from our garden." in answer
    assert other.startswith("Your history")
    assert "pears" not in other
    assert "policy extractive · method rag · answered · 0 searches" in other


def test_a_comparison_that_failed_says_so(live: tuple[Service, str]) -> None:
    [*_, record] = asyncio.run(collected(LocalBackend(live[0])))
    other = dataclasses.replace(record.trajectory, steps=(), finish_reason="deadline")
    assert "Without the history:\nno answer: deadline\n" in shown(
        [dataclasses.replace(record, without_profile=other)]
    )


def test_tools_without_a_chat_model_are_a_fault_of_the_settings(live: tuple[Service, str]) -> None:
    data = ["--data", str(live[0].settings.data)]
    for policy in ([], ["--policy", "extractive"], ["--policy", "vllm", "--model", "some/model"]):
        result = run(app, ["ask", "ana", "Why?", "--protocol", "tools", *policy, *data])
        assert (result.exit_code, result.stdout) == (2, "")
        [line] = result.stderr.splitlines()
        assert line.startswith("pr2: settings: policy: ")
        assert "tools" in line
        assert "needs the engine openai" in line


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    result = run(app, ["ask", "ana", "Why?", "--server", "http://127.0.0.1:9"])
    assert result.exit_code == 2
    assert "cannot reach the server at http://127.0.0.1:9" in result.stderr


def test_options_of_the_local_store_do_not_go_with_a_server(tmp_path: Path) -> None:
    for given, named in ((["--data", str(tmp_path)], "data"), (["--protocol", "tools"], "policy")):
        result = run(app, ["ask", "ana", "Why?", "--server", "http://127.0.0.1:9", *given])
        assert result.exit_code == 2
        assert f"for the server to set: {named}" in result.stderr
