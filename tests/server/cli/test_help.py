"""Help is instant, and every command and option has a text."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from server.cli import app


def commands(command: Any, name: str = "pr2") -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, below in getattr(command, "commands", {}).items():
        yield from commands(below, f"{name} {child}")


ALL = dict(commands(typer.main.get_command(app)))


def test_the_commands_are_those_that_work() -> None:
    assert sorted(ALL) == [
        "pr2",
        "pr2 ask",
        "pr2 evaluate",
        "pr2 evaluate agreement",
        "pr2 evaluate exhibits",
        "pr2 evaluate form",
        "pr2 evaluate pool",
        "pr2 evaluate predictions",
        "pr2 evaluate report",
        "pr2 evaluate sweep",
        "pr2 mcp",
        "pr2 profile",
        "pr2 profile delete",
        "pr2 profile export",
        "pr2 profile forget",
        "pr2 profile import",
        "pr2 profile list",
        "pr2 profile reembed",
        "pr2 profile search",
        "pr2 profile show",
        "pr2 profile spaces",
        "pr2 profile watch",
        "pr2 rank",
        "pr2 serve",
        "pr2 store",
        "pr2 store check",
        "pr2 store copy",
        "pr2 store export",
        "pr2 store import",
        "pr2 store migrate",
        "pr2 train",
        "pr2 train feedback",
        "pr2 train pairs",
        "pr2 train planner",
        "pr2 train policy",
        "pr2 train prepare",
        "pr2 train retriever",
        "pr2 train reward-model",
        "pr2 train reward-server",
        "pr2 train selector",
        "pr2 train warmstart",
    ]


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_every_parameter_has_a_help_text(name: str) -> None:
    command = ALL[name]
    assert command.help, name
    for parameter in command.params:
        assert parameter.help, f"{name} {parameter.name}"
    shown = CliRunner().invoke(app, [*name.split()[1:], "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.stdout


def test_version() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("pr2 ")


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom server.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([name for name in ('torch', 'faiss', 'numpy', 'fastapi', 'trl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
