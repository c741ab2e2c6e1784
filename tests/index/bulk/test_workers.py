"""Many users are imported side by side as each would be alone, and whatever happens, whole or not at all."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from index.bulk.users import Outcome, Target, UserFiles, users_in
from index.bulk.workers import import_users
from index.documents import parse_document
from index.errors import EncoderMismatch, UnknownUser, UnreadableImport, WorkerLost
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.bulk.folders import HISTORIES, READING, rows, target, write
from tests.index.fakes import HashEncoder

ROOT = Path(__file__).parents[3]


def by_user(outcomes: list[Outcome]) -> dict[str, Outcome]:
    assert len({outcome.user for outcome in outcomes}) == len(outcomes)
    return {outcome.user: outcome for outcome in outcomes}


def test_rows_are_those_of_imports_one_by_one_and_a_broken_file_stays_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "users")
    (folder / "dora.ndjson").write_text('{"id": "d1", "text": "fine"}\n{"id": "d2"}\n')
    (folder / "eve").symlink_to(folder / "ana.ndjson")
    place = target(tmp_path)
    found = by_user(list(import_users(users_in(folder), place, READING, workers=2)))
    assert found["ana"] == Outcome("ana", put=2, added=2)
    assert found["ben"] == Outcome("ben", put=40, added=40)
    assert found["çelik"] == Outcome("çelik", put=2, added=2)
    assert found["dora"] == Outcome("dora", error="dora.ndjson: line 2: text: Field required")
    assert found["eve"].error == "eve: it is a symbolic link, and those are not followed"

    alone = tmp_path / "alone"
    alone.mkdir()
    for user, documents in HISTORIES.items():
        with closing(target(alone).open().store) as store:
            Profiles(store, HashEncoder()).put(user, [parse_document(each) for each in documents])
    assert rows(place.url) == rows(target(alone).url)

    # Again: nothing is encoded, and what changed is counted.
    changed = {**HISTORIES, "ana": [*HISTORIES["ana"], {"id": "c", "text": "new"}, {"id": "a", "text": "x"}]}
    again = by_user(list(import_users(users_in(write(tmp_path / "good", changed)), place, READING, 1)))
    assert again["ana"] == Outcome("ana", put=3, added=1, unchanged=1, replaced=1)
    assert again["ben"] == Outcome("ben", put=40, unchanged=40)


def test_an_error_that_concerns_all_ends_the_import(tmp_path: Path) -> None:
    place = target(tmp_path)
    Store(place.url, HashEncoder("another").manifest).open()
    with pytest.raises(EncoderMismatch):
        list(import_users(users_in(write(tmp_path / "users")), place, READING, workers=1))


def test_an_interrupted_import_leaves_every_user_whole_or_absent(tmp_path: Path) -> None:
    folder = write(tmp_path / "users", {f"user{n:04}": HISTORIES["ben"] for n in range(2_000)})
    command = [sys.executable, "-m", "tests.index.bulk.side_by_side", str(folder), str(tmp_path)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        # Ctrl-C goes to all processes of the terminal.
        os.killpg(process.pid, signal.SIGINT)
        rest, errors = process.communicate()
    *reported, last = rest.split()
    assert (last, errors) == ("interrupted", "")
    store = store_of(target(tmp_path))
    counts = {user: store.count(user) for user in store.users()}
    assert {first, *reported} <= counts.keys()
    assert set(counts.values()) == {40}
    assert len(counts) < 2_000


class Killed(HashEncoder):
    """Its process is killed, as by a system without memory."""

    def count_tokens(self, texts: object) -> list[int]:
        os.kill(os.getpid(), signal.SIGKILL)
        return []


def test_a_worker_that_is_killed_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    place = Target(target(tmp_path).url, Killed)
    with pytest.raises(WorkerLost, match="import again"):
        list(import_users(users_in(write(tmp_path / "users")), place, READING, workers=1))
    with pytest.raises(UnknownUser):
        store_of(target(tmp_path)).load("ana")


def test_two_entries_of_one_user_are_refused_and_hidden_ones_passed_over(tmp_path: Path) -> None:
    (tmp_path / "ana").mkdir()
    (tmp_path / "ben.v2.json").touch()
    (tmp_path / ".DS_Store").touch()
    ana, ben = tmp_path / "ana", tmp_path / "ben.v2.json"
    assert users_in(tmp_path) == [UserFiles("ana", ana), UserFiles("ben.v2", ben)]
    (tmp_path / "ana.zip").touch()
    with pytest.raises(UnreadableImport, match="2 entries for 'ana'"):
        users_in(tmp_path)


def store_of(place: Target) -> Store:
    return Store(place.url, HashEncoder().manifest)
