"""The house's rules: who may import whom, what is declared, and what must not load at start."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("index", "agent", "server", "training")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PROVIDED = {"openrlhf", "vllm", "ray", "deepspeed"}
"""Distributions that are not installed here; they are named like their packages."""


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (ROOT / package).rglob("*.py")


def test_no_import_leads_from_a_lower_room_to_a_higher_one() -> None:
    # In a process of its own: it configures logging, which silences every logger that other tests listen to.
    lint = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def declared() -> set[str]:
    extras = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    names = [re.split(r"[\[<>=]", line)[0] for line in [*PROJECT["dependencies"], *extras]]
    return {normalized(name) for name in names}


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_declared() -> None:
    imported: dict[str, Path] = {}
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0]: file for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported[node.module.partition(".")[0]] = file
    installed = packages_distributions()
    undeclared = {
        name: str(file)
        for name, file in imported.items()
        if name not in sys.stdlib_module_names
        and name not in PACKAGES
        and not {normalized(found) for found in installed.get(name, [name])} & declared()
        and name not in PROVIDED & declared()
    }
    assert not undeclared


@pytest.mark.parametrize("line", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["train"]])
def test_every_dependency_has_a_lower_bound(line: str) -> None:
    assert ">=" in line


def test_no_docstring_begins_with_what() -> None:
    """A docstring starts with a verb or its subject."""
    found = [
        f"{file.relative_to(ROOT)}: {text.splitlines()[0]}"
        for folder in (*PACKAGES, "tests", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
        for text in docstrings(ast.parse(file.read_text("utf-8")))
        if text.startswith("What")
    ]
    assert not found


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Docstrings of modules, classes and functions, and the strings that document what precedes them."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield text.strip()
