"""Stores and searches the same histories here and with mem0's open-source library, side by side in one run.

    python -m benchmarks.mem0 --data LOCOMO.json --python VENV/bin/python [--users 5 50 250] [--out DIR]

VENV is an environment of its own with benchmarks/mem0-requirements.txt; PyTorch, sentence-transformers and
FAISS are this environment's, so that both sides run the same MiniLM on the same threads. mem0 stores texts as
they are (`infer=False`), calls no LLM, and sends no telemetry. Its vector stores are FAISS, with cosine
similarity, and Qdrant in its local mode; it gets the filter by user that its documentation asks for, and a
threshold of 0, so that nothing found is cut off. Its keyword search needs models from a hub, and is off.

The people of the file are stored under more and more user names, each name with a whole history. These
documents go straight into the stores, with vectors that are encoded once. Then every way to search takes
turns, ten questions each. A search is timed in the process that makes it, from the text of the question to
the documents, with the encoding of the question. `first` is the first search for a user name. Up to 30,000
documents, a new user's are added as well, in turns of one call each that encodes and stores. Recall is the
share of a question's evidence among the first ten documents. Absolute times depend on the machine.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from rich.console import Console

from benchmarks.evidence import Asked, History, UnusableData, profiles_of, read_histories
from benchmarks.mem0_report import OURS, Added, Searched, write
from benchmarks.workload import KnownVectors
from index.documents import Document, encoded_text
from index.encoding.embedding import split_documents
from index.encoding.encoders import Encoder, Vectors, load_encoder
from index.encoding.models import packaged_minilm
from index.encoding.shared import SharedEncoder
from index.profiles import Profiles
from index.threads import cores
from index.when.scope import Scope

K = 10
"""Documents read."""
TURN = 10
"""Questions that one way to search is asked before it is the next one's turn."""
ADDED_UP_TO = 30_000
"""Documents stored, up to which adding is measured: mem0's FAISS store writes all of them with each one."""
ADDING_TURNS = 3
STORES = {"faiss": "mem0, FAISS", "qdrant": "mem0, Qdrant"}
SEED = 0


class SideFailed(RuntimeError):
    """The process of another side ended, or replied with something else."""


class Search(Protocol):
    """Searches for a user's question. Returns the seconds that it took and the ids of the documents found."""

    def __call__(self, user: str, asked: Asked) -> tuple[float, Sequence[str]]: ...


class Side(Protocol):
    """A store with the ways to search it."""

    name: str
    searches: Mapping[str, Search]

    def load(self, histories: Mapping[str, Sequence[Document]]) -> None:
        """Store the documents of users, whose vectors are known."""
        ...

    def add(self, user: str, documents: Sequence[Document]) -> float:
        """Encode and store documents in one call. Returns the seconds."""
        ...


class Ours:
    """Profiles in a SQLite database, as the service has them."""

    name = OURS

    def __init__(self, profiles: Profiles) -> None:
        self._profiles = profiles
        self.searches: Mapping[str, Search] = {
            OURS: partial(self._search, "hybrid"),
            f"{OURS}, dense": partial(self._search, "dense"),
        }

    def load(self, histories: Mapping[str, Sequence[Document]]) -> None:
        for user, documents in histories.items():
            self._profiles.put(user, documents)

    def add(self, user: str, documents: Sequence[Document]) -> float:
        began = time.perf_counter()
        self._profiles.put(user, documents)
        return time.perf_counter() - began

    def _search(self, retriever: str, user: str, asked: Asked) -> tuple[float, Sequence[str]]:
        scope = Scope(asked.today)
        began = time.perf_counter()
        [found] = self._profiles.search(user, [asked.text], K, retriever, scope=scope)
        return time.perf_counter() - began, [passage.document_id for passage in found]


class Theirs:
    """A side in a process of its own, asked by lines of JSON; see mem0_store.py."""

    def __init__(
        self, name: str, command: Sequence[str], rows: Mapping[str, int], vectors: Path, log: IO[str]
    ) -> None:
        """`rows` has the row of each text in the array saved at `vectors`. Raises SideFailed."""
        self.name = name
        self.searches: Mapping[str, Search] = {name: self._search}
        self._rows = rows
        self._vectors = vectors
        self._log = log
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        folder = str(vectors.parent)
        environment |= {"MEM0_TELEMETRY": "False", "MEM0_DIR": folder, "HF_HUB_OFFLINE": "1"}
        environment |= {"OMP_NUM_THREADS": str(cores()), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
            )
        except OSError as error:
            raise SideFailed(f"{name}: {error}") from None
        try:
            self.versions: Mapping[str, str] = self._reply()["versions"]
        except SideFailed:
            self.close()
            raise

    def load(self, histories: Mapping[str, Sequence[Document]]) -> None:
        texts = ((user, each.id, _text(each)) for user, documents in histories.items() for each in documents)
        rows = [[user, document_id, text, self._rows[text]] for user, document_id, text in texts]
        self._ask({"load": rows, "vectors": str(self._vectors)})

    def add(self, user: str, documents: Sequence[Document]) -> float:
        return float(
            self._ask({"add": [[each.id, _text(each)] for each in documents], "user": user})["seconds"]
        )

    def _search(self, user: str, asked: Asked) -> tuple[float, Sequence[str]]:
        reply = self._ask({"search": asked.text, "user": user, "k": K})
        return float(reply["seconds"]), reply["found"]

    def _ask(self, request: Mapping[str, Any]) -> Any:
        assert self.process.stdin is not None
        with suppress(OSError):  # The reply is missing, too.
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        return self._reply()

    def _reply(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            self._log.seek(0)
            said = self._log.read().strip().splitlines()[-3:]
            raise SideFailed(f"{self.name} replied {line!r}: {' | '.join(said)}") from None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                # A request that nobody read is written once more.
                with suppress(OSError):
                    pipe.close()


def _text(document: Document) -> str:
    return encoded_text(document, document.text)


def known_vectors(encoder: Encoder, documents: Sequence[Document]) -> tuple[list[str], Vectors]:
    """The texts that either side stores a vector of, and their vectors, shape (texts, dimension)."""
    whole = [_text(document) for document in documents]
    texts = list(dict.fromkeys([*whole, *split_documents(encoder, documents).texts]))
    return texts, SharedEncoder(encoder).encoded("imports", "mem0", texts)


@dataclass
class Comparison:
    """Measures all sides with the same documents and questions, in turns."""

    sides: Sequence[Side]
    histories: Sequence[History]
    questions: int
    """Number of questions of each round, drawn from those of all people."""
    added: int
    """Documents added where adding is measured."""
    say: Callable[[str], None]
    searched: list[Searched] = field(default_factory=list)
    adding: list[Added] = field(default_factory=list)
    _copies: int = 0

    def round(self, users: int) -> None:
        """Store the histories under at least so many names in all, and measure."""
        copies = -(-users // len(self.histories))
        documents = sum(len(history.documents) for history in self.histories) * copies
        new = {
            _name(history, copy): history.documents
            for copy in range(self._copies, copies)
            for history in self.histories
        }
        self._copies = copies
        for side in self.sides:
            self.say(f"{documents} documents: loading {side.name}")
            side.load(new)
        self._search(copies, documents)
        if documents <= ADDED_UP_TO:
            self._add(documents)

    def _search(self, copies: int, documents: int) -> None:
        draw = random.Random(SEED)
        pool = [(history, asked) for history in self.histories for asked in history.questions]
        drawn = draw.sample(pool, min(self.questions, len(pool)))
        asked = [(_name(history, draw.randrange(copies)), each) for history, each in drawn]
        ways = {name: search for side in self.sides for name, search in side.searches.items()}
        self.say(f"{documents} documents: first searches")
        first = {name: [search(*each)[0] for each in dict(asked).items()] for name, search in ways.items()}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        recall: dict[str, list[float]] = {name: [] for name in ways}
        for start in range(0, len(asked), TURN):
            self.say(f"{documents} documents: question {start} of {len(asked)}")
            for name, search in ways.items():
                for user, question in asked[start : start + TURN]:
                    took, found = search(user, question)
                    seconds[name].append(took)
                    recall[name].append(len(set(question.evidence) & set(found)) / len(question.evidence))
        for name in ways:
            p50, p99 = (float(1e3 * np.percentile(seconds[name], share)) for share in (50, 99))
            self.searched.append(
                Searched(
                    name,
                    users=copies * len(self.histories),
                    documents=documents,
                    first_ms=1e3 * statistics.median(first[name]),
                    p50_ms=p50,
                    p99_ms=p99,
                    recall=statistics.fmean(recall[name]),
                )
            )

    def _add(self, documents: int) -> None:
        draw = random.Random(SEED + documents)
        pool = [document for history in self.histories for document in history.documents]
        seconds = dict.fromkeys((side.name for side in self.sides), 0.0)
        each = self.added // ADDING_TURNS
        for turn in range(ADDING_TURNS):
            # Texts that no side has seen.
            new = [
                Document(id=f"{turn}-{number}", text=f"{_text(draw.choice(pool))} Note {turn}-{number}.")
                for number in range(each)
            ]
            for side in self.sides:
                self.say(f"{documents} documents: adding to {side.name}, turn {turn + 1} of {ADDING_TURNS}")
                seconds[side.name] += side.add(f"newcomer-{documents}", new)
        for name, took in seconds.items():
            self.adding.append(Added(name, documents, each * ADDING_TURNS / took))


def _name(history: History, copy: int) -> str:
    return f"{history.user}-{copy}"


@contextmanager
def sides_of(
    histories: Sequence[History], encoder: Encoder, commands: Mapping[str, Sequence[str]], folder: Path
) -> Iterator[list[Side]]:
    """Ours and a side for each command, by its name, on empty stores. Raises SideFailed."""
    documents = [document for history in histories for document in history.documents]
    texts, vectors = known_vectors(encoder, documents)
    np.save(folder / "vectors.npy", vectors)
    rows = {text: row for row, text in enumerate(texts)}
    known: Any = KnownVectors(encoder, {"texts": np.array(texts), "vectors": vectors})
    with ExitStack() as stack:
        sides: list[Side] = [Ours(stack.enter_context(profiles_of((), known)))]
        for name, command in commands.items():
            log = stack.enter_context((folder / f"{name}.log").open("w+"))
            side = Theirs(name, command, rows, folder / "vectors.npy", log)
            stack.callback(side.close)
            sides.append(side)
        yield sides


def commands_of(python: Path, dimension: int, folder: Path) -> dict[str, list[str]]:
    """How mem0 is run with each of its stores."""
    script = Path(__file__).with_name("mem0_store.py")
    packages = sysconfig.get_paths()["purelib"]
    made = {}
    for store, name in STORES.items():
        own = folder / store
        own.mkdir()
        arguments = (store, packaged_minilm(), dimension, own, packages)
        made[name] = [str(python), "-P", str(script), *map(str, arguments)]
    return made


def versions_of(sides: Sequence[Side]) -> dict[str, str]:
    """Versions of packages by name: those that both sides use, and those of the other side."""
    shared = ("faiss-cpu", "sentence-transformers", "torch")
    theirs = {
        name: each for side in sides if isinstance(side, Theirs) for name, each in side.versions.items()
    }
    return theirs | {name: version(name) for name in shared}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="This project's store and search beside mem0's.")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="histories")
    parser.add_argument("--python", type=Path, required=True, help="of an environment with mem0")
    parser.add_argument("--users", type=int, nargs="+", default=[5, 50, 250], help="user names, ascending")
    parser.add_argument("--questions", type=int, default=200, metavar="N")
    parser.add_argument("--added", type=int, default=300, metavar="N", help="documents to add")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a table, a chart and all figures here")
    given = parser.parse_args(arguments)
    errors = Console(stderr=True, highlight=False)
    try:
        histories = read_histories(given.data)
        encoder = load_encoder("minilm")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            commands = commands_of(given.python, encoder.manifest.dimension, folder)
            errors.print("encoding the histories")
            with sides_of(histories, encoder, commands, folder) as sides:
                comparison = Comparison(sides, histories, given.questions, given.added, errors.print)
                versions = versions_of(sides)
                shown = ""
                for users in sorted(given.users):
                    comparison.round(users)
                    # After each round: a later one may take long.
                    shown = write(comparison.searched, comparison.adding, versions, given.out)
    except (UnusableData, SideFailed) as error:
        sys.exit(str(error))
    print(shown)


if __name__ == "__main__":
    main()
