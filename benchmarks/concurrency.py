"""Runs 16 writers and 16 readers on the same users and on different ones, and looks for lost updates.

    python -m benchmarks.concurrency [--seconds 60]

Once on SQLite and once on PostgreSQL, with two services on that one database. Documents have hashed vectors,
and the built-in policy answers: the store is under test, not an encoder. Prints operations, errors, lost
updates, and passages and citations that differ from the version that was read. Exit code 1 if there is any.
"""

import argparse
import asyncio
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from agent.policies.extractive import ExtractivePolicy
from agent.trajectory import Information
from index.documents import Document
from index.errors import UnknownUser
from index.profiles import Profiles
from index.storage.store import Store
from server.answers import AnswerRecord
from server.service import Service
from server.settings import Settings

WRITERS = 16
READERS = 16
SHARED = "shared"
"""Every other writer and reader works on this user, each of the rest on a user of its own."""
CONTESTED = "contested"
"""A document that all writers of a user write."""
OWN = 4
"""Documents of each writer that nobody else writes."""
_VERSION = re.compile(r"Version (\d+) of writer (\d+) ")


def text_of(document_id: str, writer: int, version: int) -> str:
    """The text of one version of a document. Its sentences can be told from those of every other version."""
    return (
        f"Version {version} of writer {writer} is about {document_id}. "
        f"The tea v{version}w{writer} of {document_id} is kept in the garden."
    )


@dataclass
class Outcome:
    """Counts of one run, and what went wrong, a sentence each."""

    writes: int = 0
    searches: int = 0
    answers: int = 0
    citations: int = 0
    errors: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    """Acknowledged writes that a later reader did not see, or that are missing at the end."""
    misquoted: list[str] = field(default_factory=list)
    """Passages and citations that are not of one version, as it was written."""

    @property
    def faults(self) -> list[str]:
        return [*self.errors, *self.lost, *self.misquoted]


@dataclass
class _Written:
    """Versions of a writer's document: the last one that began, and the last one that was acknowledged."""

    begun: int
    acknowledged: int
    deleted: bool
    """Whether the acknowledged version is a deletion."""


def _own(writer: int) -> list[str]:
    return [f"w{writer}d{i}" for i in range(OWN)]


class Load:
    """Writers and readers on one database, each through one of the services."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._services = services
        self._written: dict[tuple[str, str, int], _Written] = {}
        """By user, document and writer. Only the contested document has several writers."""
        self._changes: dict[str, int] = {}
        """Acknowledged changes by user."""
        self.outcome = Outcome()

    async def run(self, go_on: Callable[[int], bool]) -> Outcome:
        """Run all of them. Each goes on while `go_on`, called with the number of its operations, is true."""
        first = self._services[0]
        users = {self._user(number) for number in range(max(WRITERS, READERS))}
        for number in range(WRITERS):
            await self._begin(first, self._user(number), number)
        before = {user: await first.run(first.profiles.store.version, user) for user in users}
        self._changes = dict.fromkeys(users, 0)
        work = [self._write(number, go_on) for number in range(WRITERS)]
        work += [self._read(number, go_on) for number in range(READERS)]
        await asyncio.gather(*work)
        for user in users:
            await self._verify(user, before[user])
        return self.outcome

    def _user(self, number: int) -> str:
        return SHARED if number % 2 else f"user{number}"

    def _service(self, number: int) -> Service:
        return self._services[number // 2 % len(self._services)]

    async def _begin(self, service: Service, user: str, writer: int) -> None:
        """Store the first version of a writer's documents, so that no reader finds nothing."""
        names = [*_own(writer), CONTESTED]
        await service.put(user, [Document(id=name, text=text_of(name, writer, 1)) for name in names])
        for name in names:
            self._written[user, name, writer] = _Written(1, 1, deleted=False)

    async def _write(self, number: int, go_on: Callable[[int], bool]) -> None:
        service, user, dice = self._service(number), self._user(number), random.Random(number)
        own = _own(number)
        done = 0
        while go_on(done):
            done += 1
            some = dice.sample([*own, CONTESTED], dice.randint(1, 3))
            state = self._written[user, some[0], number]
            delete = dice.random() < 0.2 and some[0] != CONTESTED and not state.deleted
            changed = {name: self._written[user, name, number] for name in (some[:1] if delete else some)}
            for each in changed.values():
                each.begun += 1
            try:
                if delete:
                    await service.delete_document(user, some[0])
                else:
                    texts = {name: text_of(name, number, each.begun) for name, each in changed.items()}
                    await service.put(user, [Document(id=name, text=text) for name, text in texts.items()])
            except Exception as error:
                self.outcome.errors.append(f"a write of {user}: {error!r}")
                return  # Its documents are in either state from here on.
            self.outcome.writes += 1
            self._changes[user] += 1
            for each in changed.values():
                each.acknowledged, each.deleted = each.begun, delete

    async def _read(self, number: int, go_on: Callable[[int], bool]) -> None:
        service, user, dice = self._service(number), self._user(number), random.Random(-1 - number)
        done = 0
        while go_on(done):
            done += 1
            floor = {
                (name, writer): (each.acknowledged, each.deleted)
                for (whose, name, writer), each in self._written.items()
                if whose == user
            }
            writers = sorted({writer for _, writer in floor})
            asked = f"w{dice.choice(writers)}d{dice.randrange(OWN)}"
            try:
                if done % 2:
                    (found,) = await service.search(user, [f"tea of {asked}"], 10)
                    self.outcome.searches += 1
                    for passage in found:
                        end = passage.start + len(passage.text)
                        self._check(user, passage.document_id, passage.text, (passage.start, end), floor)
                else:
                    await self._ask(service, user, f"Where is the tea of {asked} kept?", floor)
            except Exception as error:
                self.outcome.errors.append(f"a read of {user}: {error!r}")

    async def _ask(
        self, service: Service, user: str, question: str, floor: dict[tuple[str, int], tuple[int, bool]]
    ) -> None:
        request = await service.prepare(user, question)
        trajectory = None
        async for event in service.answer(request):
            if isinstance(event, AnswerRecord):
                trajectory = event.trajectory
        if trajectory is None or trajectory.answer is None:
            self.outcome.errors.append(f"no answer for {user}: {trajectory and trajectory.fault}")
            return
        self.outcome.answers += 1
        for citation in trajectory.answer.citations:
            step = trajectory.steps[citation.step]
            assert isinstance(step, Information)
            (read,) = [read.passage for read in step.passages if read.number == citation.number]
            end = read.start + len(read.text)
            self._check(user, read.document_id, read.text, (read.start, end), floor)
            quoted = read.text[citation.start - read.start : citation.end - read.start]
            if (citation.document_id, citation.quote) != (read.document_id, quoted):
                self.outcome.misquoted.append(f"{citation.quote!r} instead of {quoted!r}")
            self.outcome.citations += 1

    def _check(
        self,
        user: str,
        document_id: str,
        text: str,
        span: tuple[int, int],
        floor: dict[tuple[str, int], tuple[int, bool]],
    ) -> None:
        """Compare a passage with the version of the document that it is of."""
        named = _VERSION.match(text)
        version, writer = (int(named[1]), int(named[2])) if named else (0, -1)
        state = self._written.get((user, document_id, writer))
        whole = text_of(document_id, writer, version)
        if state is None or version > state.begun or whole[slice(*span)] != text:
            self.outcome.misquoted.append(f"{document_id} of {user} was never {text!r}")
            return
        seen, deleted = floor[document_id, writer]
        if document_id != CONTESTED and (version < seen or (version == seen and deleted)):
            self.outcome.lost.append(f"{document_id} of {user}: version {version} was read after {seen}")

    async def _verify(self, user: str, before: int) -> None:
        """Compare what is stored at the end with everything that was acknowledged."""
        for service in self._services:
            store = service.profiles.store
            try:
                profile = await service.run(store.load, user)
            except UnknownUser:
                self.outcome.lost.append(f"{user} is gone")
                continue
            stored = {document.id: document.text for document in profile.documents}
            if profile.version != before + self._changes[user]:
                self.outcome.lost.append(
                    f"{user} has version {profile.version} after {self._changes[user]} changes from {before}"
                )
            contested = set()
            for (whose, name, writer), each in self._written.items():
                if whose != user:
                    continue
                if name == CONTESTED:
                    contested.add(text_of(name, writer, each.acknowledged))
                    continue
                wanted = None if each.deleted else text_of(name, writer, each.acknowledged)
                if stored.get(name) != wanted:
                    self.outcome.lost.append(f"{name} of {user} is {stored.get(name)!r}, not {wanted!r}")
            if stored.get(CONTESTED) not in contested:
                self.outcome.lost.append(f"{CONTESTED} of {user} is {stored.get(CONTESTED)!r}")


def services_at(url: str, count: int) -> list[Service]:
    """Services on one database, with hashed vectors and the built-in policy."""
    from tests.index.fakes import HashEncoder

    encoder = HashEncoder()
    return [
        Service(
            Profiles(Store(url, encoder.manifest), encoder), ExtractivePolicy(), Settings(database_url=url)
        )
        for _ in range(count)
    ]


async def measured(url: str, count: int, go_on: Callable[[int], bool]) -> Outcome:
    """Run the load on `count` services on the database at `url`."""
    services = services_at(url, count)
    try:
        return await Load(services).run(go_on)
    finally:
        for service in services:
            await service.aclose()


def lasting(seconds: float) -> Callable[[int], bool]:
    """True until so many seconds have passed."""
    end = time.monotonic() + seconds
    return lambda _: time.monotonic() < end


@contextmanager
def databases() -> Iterator[dict[str, tuple[str, int]]]:
    """Empty databases by name: the URL, and the number of services on it."""
    from tests.postgresql import Cluster, binaries

    programs = binaries()
    with tempfile.TemporaryDirectory() as folder:
        found = {"SQLite": (f"sqlite:///{Path(folder, 'pr2.db')}", 1)}
        cluster = Cluster(programs) if programs else None
        try:
            if cluster:
                found["PostgreSQL"] = (cluster.create("concurrency"), 2)
            yield found
        finally:
            if cluster:
                cluster.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the run on each database")
    seconds = parser.parse_args().seconds
    table = Table(title=f"{WRITERS} writers and {READERS} readers, {seconds:g} s on each database")
    columns = (
        "services",
        "writes",
        "searches",
        "answers",
        "citations",
        "errors",
        "lost updates",
        "misquoted",
    )
    for column in ("database", *columns):
        table.add_column(column, justify="right" if column in columns else "left")
    faults: list[str] = []
    with databases() as found:
        for name, (url, count) in found.items():
            done = asyncio.run(measured(url, count, lasting(seconds)))
            counts = (done.writes, done.searches, done.answers, done.citations)
            wrong = (len(done.errors), len(done.lost), len(done.misquoted))
            table.add_row(name, str(count), *map(str, (*counts, *wrong)))
            faults += [f"{name}: {fault}" for fault in done.faults]
        if "PostgreSQL" not in found:
            faults.append("PostgreSQL is not installed on this machine, and was not measured")
    console = Console()
    console.print(table)
    for fault in faults[:20]:
        console.print(fault, highlight=False)
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
