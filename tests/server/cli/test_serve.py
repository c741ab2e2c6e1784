"""`pr2 serve`: its printed commands work, and its errors are one line."""

import dataclasses
import json
import os
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from index.encoding.encoders import SentenceTransformerEncoder
from index.storage.opening import REVISION
from index.storage.store import Store
from server import demo
from server.access.exposure import missing_for
from server.cli import app
from server.cli.errors import BadInput
from server.cli.serve import address_of, bound, curl, listen
from server.settings import Settings

PR2 = [sys.executable, "-m", "server.cli"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Lines that a server with the demo prints before it serves; it is stopped at the end."""
    folder = tmp_path_factory.mktemp("serve")
    command = [*PR2, "serve", "--demo", "--port", "0", "--data", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield [server.stdout.readline().strip() for _ in range(5)]
        finally:
            server.send_signal(signal.SIGINT)
            _, errors = server.communicate(timeout=60)
    assert server.returncode == 0, errors
    assert "Traceback" not in errors


def test_the_demo_is_added_and_what_is_printed_can_be_tried(printed: list[str]) -> None:
    added, address, page, curl, ask = printed
    assert added == f"added {', '.join(demo.users())}"
    assert "policy extractive" in address
    url = page.removeprefix("open ").rstrip("/")
    question = demo.questions()[0]
    assert ask == f"pr2 ask {question.user} '{question.question}' --server {url}"
    asked = CliRunner().invoke(app, ["ask", question.user, question.question, "--server", url])
    assert asked.exit_code == 0, asked.stderr
    assert question.evidence[0] in asked.stdout
    listed = {model["id"] for model in httpx.get(f"{url}/v1/models").json()["data"]}
    assert {f"pr2:{user}" for user in demo.users()} <= listed
    if shutil.which("curl"):
        done = subprocess.run(f"{curl} --silent --fail", shell=True, capture_output=True, text=True)
        assert json.loads(done.stdout)["finish_reason"] == "answered", done.stderr


def test_a_taken_port_is_said_before_anything_is_loaded(tmp_path: Path) -> None:
    with bound("127.0.0.1", 0) as taken:
        listen(taken)
        port = taken.getsockname()[1]
        result = CliRunner().invoke(app, ["serve", "--port", str(port), "--data", str(tmp_path)])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"pr2: cannot listen at 127.0.0.1 port {port}: Address already in use")
    assert len(result.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_of_two_that_start_at_a_time_one_says_that_the_port_is_taken() -> None:
    with bound("127.0.0.1", 0) as first, bound("127.0.0.1", first.getsockname()[1]) as second:
        listen(first)
        with pytest.raises(BadInput, match=r"cannot listen at 127.0.0.1 port \d+: Address already in use"):
            listen(second)


def test_a_store_of_another_encoder_is_refused_in_one_line(
    tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    other = Store(Settings(data=tmp_path).url, dataclasses.replace(minilm.manifest, name="other"))
    other.open()
    other.close()
    for command in (["serve", "--port", "0"], ["ask", "ana", "Why?"], ["profile", "search", "ana", "tea"]):
        result = CliRunner().invoke(app, [*command, "--data", str(tmp_path)])
        assert result.exit_code == 2
        assert "made with the encoder other" in result.stderr
        assert len(result.stderr.splitlines()) == 1
    # To look at what is stored takes no encoder.
    assert CliRunner().invoke(app, ["profile", "list", "--data", str(tmp_path)]).exit_code == 0


NEWER = str(int(REVISION) + 1)


def test_a_store_of_another_schema_is_refused_in_one_line(
    tmp_path: Path, minilm: SentenceTransformerEncoder
) -> None:
    settings = Settings(data=tmp_path)
    made = Store(settings.url, minilm.manifest)
    made.open()
    made.close()
    with closing(sqlite3.connect(settings.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [NEWER])
    for command in (["serve", "--port", "0"], ["ask", "ana", "Why?"], ["profile", "list"]):
        result = CliRunner().invoke(app, [*command, "--data", str(tmp_path)])
        assert result.exit_code == 2
        assert result.stderr.startswith(
            f"pr2: this store has schema {NEWER}, and this version of pr2 supports schemas up to {REVISION}"
        )
        assert len(result.stderr.splitlines()) == 1


def test_settings_that_do_not_fit_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def complaint(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["serve", *arguments])
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) == 1
        return str(result.stderr)

    monkeypatch.chdir(tmp_path)
    assert "port: Input should be less than or equal to 65535" in complaint("--port", "70000")
    assert "root_path: String should match" in complaint("--root-path", "pr2")
    assert "policy.base_url: Input should be a valid URL" in complaint("--base-url", "nowhere")
    assert "cannot listen at 'no.such.host.invalid'" in complaint("--host", "no.such.host.invalid")
    (tmp_path / "pr2.toml").write_text("prot = 1\n")
    assert "prot: field is not permitted" in complaint()
    (tmp_path / "pr2.toml").write_text("port =\n")
    assert "pr2.toml: Invalid value" in complaint()


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_beyond_this_machine_names_and_a_token_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    def complaint(*arguments: str) -> str:
        command = ["serve", "--host", host, "--port", "0", "--data", str(tmp_path / "data"), *arguments]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        *before, line = result.stderr.splitlines()
        configuration = tmp_path / "pr2.toml"
        assert before == ([f"settings from {configuration}"] if configuration.exists() else [])
        assert not (tmp_path / "data").exists()
        return str(line)

    monkeypatch.chdir(tmp_path)
    both = complaint()
    assert f'pr2.toml: allowed_hosts = ["{socket.gethostname()}"]' in both
    assert "PR2_TOKEN" in both
    assert "--insecure" in both
    names = complaint("--insecure")
    assert "allowed_hosts" in names
    assert "PR2_TOKEN" not in names
    Path("pr2.toml").write_text('allowed_hosts = ["pr2.example"]\n')
    token = complaint()
    assert "PR2_TOKEN" in token
    assert "allowed_hosts" not in token


@pytest.mark.parametrize(
    ("address", "names", "token", "insecure", "missing"),
    [
        ("127.0.0.1", [], False, False, 0),
        ("127.8.0.1", [], False, False, 0),
        ("::1", [], False, False, 0),
        ("192.168.1.7", [], False, False, 2),
        ("192.168.1.7", [], False, True, 1),
        ("fe80::1%eth0", [], True, False, 1),
        ("192.168.1.7", ["pr2.example"], False, False, 1),
        ("192.168.1.7", ["pr2.example"], True, False, 0),
        ("0.0.0.0", ["pr2.example"], False, True, 0),
    ],
)
def test_only_an_address_of_this_machine_needs_nothing(
    address: str, names: list[str], token: bool, insecure: bool, missing: int
) -> None:
    advice = missing_for(address, allowed_hosts=names, has_token=token, insecure=insecure)
    assert len(advice) == missing


def test_with_a_token_what_is_printed_sends_it() -> None:
    command = shlex.split(curl("http://127.0.0.1:1", "ana", "Why?", with_token=True))
    assert "authorization: Bearer $PR2_TOKEN" in command


def test_flags_win_over_the_environment_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from server.cli.options import flags

    monkeypatch.setenv("PR2_POLICY__ENGINE", "openai")
    monkeypatch.setenv("PR2_POLICY__MODEL", "small")
    settings = Settings(**flags(model="large", port=None, root_path="/pr2/"))
    assert (settings.policy.engine, settings.policy.model, settings.port) == ("openai", "large", 8000)
    assert settings.root_path == "/pr2"


def test_the_address_is_one_that_can_be_opened() -> None:
    assert address_of("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert address_of("::", 1) == "http://[::1]:1"
    assert address_of("pr2.example", 1) == "http://pr2.example:1"


def test_the_demo_questions_rest_on_documents_that_there_are() -> None:
    written = {user: {document.id for document in demo.documents(user)} for user in demo.users()}
    assert len(written) == 5
    for question in demo.questions():
        assert set(question.evidence) <= written[question.user]
