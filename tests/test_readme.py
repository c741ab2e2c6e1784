"""The README's session is what the program prints, and its commands are commands."""

import asyncio
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agent.engines.factory import make_policy
from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from server import demo
from server.cli import app
from server.service import Service
from server.settings import Settings

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
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
    # Without the server, which says the same (tests/server/cli/test_ask.py).
    del arguments[arguments.index("--server") :]
    result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert SECONDS.sub("", result.stdout) == SECONDS.sub("", match.group(2))


@pytest.mark.usefixtures("minilm")
def test_the_notebook_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code] = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "evaluation.md").read_text("utf-8"), re.DOTALL
    )
    monkeypatch.chdir(tmp_path)
    values: dict[str, Any] = {}
    exec(code, values)
    values["profiles"].store.close()
    assert 0 <= values["outcome"].summary.macro.score <= 1


def commands() -> list[str]:
    """Every command of ours in the README and the guides."""
    guides = [ROOT / "docs" / name for name in ("evaluation.md", "training.md")]
    texts = [README, *(guide.read_text("utf-8").replace("\\\n", " ") for guide in guides)]
    found = (re.findall(r"^\$? ?(?:\S*bin/)?pr2 (.*?)(?:  +#.*)?$", text, re.MULTILINE) for text in texts)
    return [line for lines in found for line in lines]


@pytest.mark.parametrize("line", commands())
def test_every_command_is_one(line: str) -> None:
    words = shlex.split(line)
    deep = words[0] in ("profile", "train") or words[1] in ("report", "form", "agreement", "exhibits", "pool")
    command = words[:2] if deep else words[:1]
    help_text = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).output
    assert "Usage" in help_text
    options = [word for word in words if word.startswith("--")]
    assert all(option in help_text for option in options)
