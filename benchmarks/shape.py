"""Measures the size of the code, and how many of its files one question enters.

    python -m benchmarks.shape [--root CHECKOUT]

Starts `pr2 serve` on the demo profiles and asks one question over HTTP. With --root it measures another
checkout, such as that of an earlier commit.
"""

import argparse
import ast
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("index", "agent", "server", "training", "benchmarks", "tests")
OURS = PACKAGES[:4]
QUESTION = {"question": "What should I build for my eldest grandchild's birthday?"}

_TRACED = """
import os, runpy, signal, sys, threading

out = sys.argv.pop(1)
seen, recording = set(), False

def note(frame, event, argument):
    if recording and event == "call":
        seen.add(frame.f_code.co_filename)

def switch(number, frame):
    global recording
    recording = not recording
    if not recording:
        with open(out + ".part", "w") as file:
            file.write("\\n".join(seen))
        os.replace(out + ".part", out)

signal.signal(signal.SIGUSR1, switch)
threading.setprofile(note)
sys.setprofile(note)
runpy.run_module("server.cli", run_name="__main__")
"""


def main() -> None:
    """Print the table of sizes, the longest file and the files of one question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="a checkout")
    root = parser.parse_args().root.resolve()
    sizes = {
        package: {file: lines(file) for file in sorted((root / package).rglob("*.py"))}
        for package in PACKAGES
    }
    print("| package | files | lines |\n|---|---:|---:|")
    for package, files in sizes.items():
        print(f"| {package} | {len(files)} | {sum(files.values()):,} |")
    ours = {file: size for package in OURS for file, size in sizes[package].items()}
    print(f"| {', '.join(OURS)} | {len(ours)} | {sum(ours.values()):,} |\n")
    longest = max(ours, key=lambda file: ours[file])
    print(f"longest file: {longest.relative_to(root)}, {ours[longest]} lines")
    print(f"files over 400 lines: {sum(size > 400 for size in ours.values())}")
    print(f'docstrings that begin with "What": {sum(map(whats, ours))}')
    entered = sorted(path.relative_to(root) for path in files_of_a_question(root) if path in ours)
    print(f"files that one HTTP question enters: {len(entered)}")
    for path in entered:
        print(f"  {path}")


def lines(file: Path) -> int:
    """Number of lines in the file."""
    return len(file.read_text("utf-8").splitlines())


def whats(file: Path) -> int:
    """Number of docstrings that begin with "What", those of attributes included."""
    return sum(
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and str(node.value.value).strip().startswith("What")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
    )


def files_of_a_question(root: Path) -> set[Path]:
    """Files whose functions run between a question's request and its reply. Raises TimeoutError."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "files"
        serve = ("serve", "--demo", "--data", folder, "--port", address.rpartition(":")[2])
        server = subprocess.Popen(
            [sys.executable, "-c", _TRACED, str(out), *serve],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _until(lambda: _get(f"http://{address}/readyz"), "the server is not ready")
            server.send_signal(signal.SIGUSR1)
            request = urllib.request.Request(
                f"http://{address}/v1/users/jonas/answers",
                json.dumps(QUESTION).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as reply:
                reply.read()
            server.send_signal(signal.SIGUSR1)
            _until(out.exists, "the list of files did not come")
            return {Path(line) for line in out.read_text("utf-8").splitlines()}
        finally:
            server.kill()
            server.wait()


def _get(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def _until(happened: Callable[[], bool], otherwise: str, timeout_s: float = 240) -> None:
    deadline = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.1)


if __name__ == "__main__":
    main()
