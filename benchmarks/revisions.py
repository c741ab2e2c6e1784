"""Compares the speed of this source tree with that of an earlier revision, in one run.

    python -m benchmarks.revisions REVISION --data FILE... [--questions 40] [--rounds 3] [--json OUT]

For one person of each file (see evidence.py), the one with the most documents, both trees take turns: they
store the first documents with MiniLM, all of them with vectors that are known, search with questions that
are encoded already, and answer them with the extractive policy. Shown is the processor time on one core and,
over the rounds, the median and the range of this tree's time divided by the earlier one's. The earlier tree
comes from git, so the command needs a clone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.evidence import History, UnusableData, profiles_of, read_histories
from index.documents import encoded_text
from index.encoding.encoders import Encoder, load_encoder

ROOT = Path(__file__).resolve().parents[1]
WORKLOAD = ROOT / "benchmarks" / "workload.py"
ENCODED = 400
"""Documents that are stored with their encoding."""

Times = Mapping[str, float]
"""Seconds of each part of the workload, for one document or one question."""


class NoSuchRevision(ValueError):
    """Git does not have the revision, or there is no git."""


def unpack(revision: str, folder: Path) -> None:
    """Write the tree of a revision to a folder. Raises NoSuchRevision."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision]
    try:
        done = subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"").decode("utf-8", "replace").strip()
        raise NoSuchRevision(f"{revision}: {said or error}") from None
    with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")


def prepare(history: History, questions: int, encoder: Encoder, folder: Path) -> tuple[Path, Path]:
    """Write what both trees work on: the history with its questions, and the vectors of its documents."""
    asked, vectors = folder / f"{history.user}.json", folder / f"{history.user}.npz"
    every = max(1, len(history.questions) // questions)
    texts = [one.text for one in history.questions[::every]][:questions]
    documents = [document.to_dict() for document in history.documents]
    asked.write_text(json.dumps({"documents": documents, "questions": texts, "encoded": ENCODED}), "utf-8")
    known: list[str] = []
    with profiles_of([history], encoder) as profiles:
        profile = profiles.get(history.user)
        for position in range(len(profile)):
            known.append(encoded_text(profile.document(position), profile.text(position)))
        stored = np.array([profile.vectors.vector(position) for position in range(len(profile))])
    np.savez(vectors, texts=np.array(known), vectors=stored)
    return asked, vectors


def timed(tree: Path, history: Path, vectors: Path) -> Times:
    """Run the workload in a tree. Raises CalledProcessError."""
    environment = os.environ | {
        "PYTHONPATH": str(tree),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-P", str(WORKLOAD), str(history), str(vectors)]
    done = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, check=True)
    found: Times = json.loads(done.stdout)
    return found


def table_of(name: str, now: Sequence[Times], earlier: Sequence[Times]) -> Table:
    """The medians of both trees, and their ratio round by round."""
    table = Table(title=f"{name}: milliseconds of processor time, one core")
    for column in ("for each document or question", "earlier", "now", "now / earlier"):
        table.add_column(column, justify="left" if len(table.columns) == 0 else "right")
    for part in now[0]:
        ratios = [new[part] / old[part] for new, old in zip(now, earlier, strict=True)]
        cells = [f"{statistics.median(times[part] for times in tree) * 1e3:.2f}" for tree in (earlier, now)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        table.add_row(part, *cells, spread)
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Speed of this source tree against an earlier revision.")
    parser.add_argument("revision", help="what git calls the earlier one: a commit or a tag")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE", help="histories")
    parser.add_argument("--questions", type=int, default=40, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write all times to this file")
    given = parser.parse_args(arguments)
    written: dict[str, dict[str, list[Times]]] = {}
    try:
        named = {
            file.stem: max(read_histories(file), key=lambda one: len(one.documents)) for file in given.data
        }
        with tempfile.TemporaryDirectory() as scratch, Progress(console=Console(file=sys.stderr)) as progress:
            folder = Path(scratch)
            unpack(given.revision, folder / "earlier")
            encoder = load_encoder("minilm")
            for name, history in named.items():
                task = progress.add_task(f"{name}: encoding", total=given.rounds)
                prepared = prepare(history, given.questions, encoder, folder)
                now: list[Times] = []
                earlier: list[Times] = []
                turns = [(ROOT, now), (folder / "earlier", earlier)]
                for number in range(given.rounds):
                    progress.update(task, description=name, completed=number)
                    for tree, times in turns if number % 2 else turns[::-1]:
                        times.append(timed(tree, *prepared))
                progress.remove_task(task)
                Console(width=100).print(table_of(name, now, earlier))
                written[name] = {"now": now, "earlier": earlier}
    except (UnusableData, NoSuchRevision) as error:
        parser.error(str(error))
    except subprocess.CalledProcessError as error:
        sys.exit(f"the workload ended with exit code {error.returncode} in {error.cmd[-3]}")
    if given.json:
        given.json.write_text(json.dumps(written, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
