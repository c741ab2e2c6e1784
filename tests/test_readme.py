"""The README's session is what the program prints, and its commands are commands."""

import asyncio
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from index.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.store import Store
from server import demo
from server.cli import app
from server.service import Service, make_policy
from server.settings import Settings

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SECONDS = re.compile(r"\d+\.\d+ s$", re.MULTILINE)


def test_the_session_is_what_the_program_prints(minilm: SentenceTransformerEncoder, tmp_path: Path) -> None:
    match = re.search(r"```console\n\$ \S*pr2 (.*)\n((?:.*\n)*?)```", README)
    assert match is not None
    settings = Settings(data=tmp_path)
    profiles = Profiles(Store(settings.url, minilm.manifest), minilm)

    async def load() -> None:
        service = Service(profiles, make_policy(settings.policy), settings)
        await demo.load(service)
        await service.aclose()

    asyncio.run(load())
    arguments = shlex.split(match.group(1))
    # Without the server, which says the same (tests/server/test_cli_ask.py).
    del arguments[arguments.index("--server") :]
    result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert SECONDS.sub("", result.stdout) == SECONDS.sub("", match.group(2))


@pytest.mark.parametrize("line", re.findall(r"^\$? ?\S*bin/pr2 (.*?)(?:  +#.*)?$", README, re.MULTILINE))
def test_every_command_is_one(line: str) -> None:
    words = shlex.split(line)
    command = words[:2] if words[0] == "profile" else words[:1]
    help_text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    assert "Usage" in help_text
    options = [word for word in words if word.startswith("--")]
    assert all(option in help_text for option in options)
