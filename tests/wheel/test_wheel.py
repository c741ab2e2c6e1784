"""The wheel, used in an empty environment outside of the checkout: what it forgot to pack is missing here.

Installs every dependency, which takes minutes: `make test-wheel`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel

ROOT = Path(__file__).parents[2]
PACKED = ("agent", "index", "server", "training")
PIP = ("pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"))


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, which the commands run in."""
    return tmp_path_factory.mktemp("outside")


@pytest.fixture(scope="module")
def pr2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of the installed wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    # A copy: leftovers of earlier builds in the checkout would hide what is not packed.
    for name in PACKED:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder))
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    shutil.rmtree(source)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    python = str(folder / "venv" / "bin" / "python")
    # By itself, so that an index with a CPU build can provide it.
    for what in ("torch", str(wheel)):
        subprocess.run([python, "-m", *PIP, what], check=True)
    return folder / "venv" / "bin" / "pr2"


def environment() -> dict[str, str]:
    hidden = ("PYTHONPATH", "PR2_")
    return {name: value for name, value in os.environ.items() if not name.startswith(hidden)}


def run(pr2: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [pr2, *words], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def url(pr2: Path, outside: Path) -> Iterator[str]:
    """The address of a server with the demo profiles."""
    with subprocess.Popen(
        [pr2, "serve", "--demo", "--port", "0", "--data", "data"],
        cwd=outside,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        try:
            addresses = (re.search(r"http://[\d.]+:\d+", line) for line in server.stdout)
            yield next(found.group() for found in addresses if found)
        finally:
            server.terminate()


def test_it_serves_the_demo(url: str) -> None:
    request = urllib.request.Request(
        f"{url}/v1/users/jonas/answers",
        json.dumps({"question": "What should I build for my eldest grandchild's birthday?"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        answer = json.load(reply)
    assert answer["finish_reason"] == "answered"
    assert answer["citations"]


def test_its_documentation_needs_no_other_host(url: str) -> None:
    with urllib.request.urlopen(f"{url}/docs", timeout=20) as reply:
        page = reply.read().decode()
    assets = re.findall(r'(?:src|href)="([^"]+\.(?:js|css))"', page)
    assert assets
    for asset in assets:
        with urllib.request.urlopen(f"{url}{asset}", timeout=20) as reply:
            assert reply.status == 200


def test_it_evaluates_on_the_sample_and_writes_a_report(pr2: Path, outside: Path) -> None:
    evaluated = run(
        pr2, outside, "evaluate", "--dataset", "sample", "--method", "none", "--limit", "3", "--out", "run"
    )
    assert evaluated.returncode == 0, evaluated.stderr
    reported = run(pr2, outside, "evaluate", "report", "run")
    assert reported.returncode == 0, reported.stderr
    assert "<svg" in next(outside.rglob("report.html")).read_text("utf-8")


def test_it_lists_presets(pr2: Path, outside: Path) -> None:
    refused = run(pr2, outside, "train", "policy", "prepared", "--out", "out", "--preset", "none-such")
    assert refused.returncode == 2
    assert "gemma-2-9b, " in refused.stderr
    assert "qwen2.5-7b, tiny) nor a file" in refused.stderr
