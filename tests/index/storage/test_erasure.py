"""The receipt of an erasure, and the files that it and the documented commands leave."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from sqlalchemy import select

from index.storage import schema
from index.storage.answers import StoredAnswer
from index.storage.checking import faults
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.index.storage.test_store import encoded
from tests.postgresql import Cluster

ENCODER = HashEncoder()
STORAGE = Path(__file__).parents[3] / "docs" / "storage.md"


def test_a_receipt_counts_vectors_in_further_spaces(url: str) -> None:
    store = Store(url, ENCODER.manifest, {"other": HashEncoder("other", 8).manifest})
    row = encoded("a", passages=2)
    vector = np.ones(8, np.float16)
    assert row.passages is not None
    passages = tuple(replace(part, spaces={"other": vector}) for part in row.passages)
    store.put("ana", [[replace(row, passages=passages)]])
    receipt = store.erase("ana")
    assert (receipt.documents, receipt.passages, receipt.space_vectors) == (1, 2, 2)
    store.drop_space("other")
    store.close()


def test_a_receipt_says_that_postgresql_keeps_dead_rows_until_vacuum(emptied: str) -> None:
    store = Store(emptied, ENCODER.manifest)
    store.put("ana", [[encoded("a")]])
    receipt = store.erase("ana")
    assert not receipt.scrubbed
    named = " ".join(receipt.remains)
    for place in ("VACUUM FULL", "write-ahead log", "replicas", "other pr2 servers", "backups", "logs"):
        assert place in named
    store.close()


def test_a_receipt_names_copies_of_migrations_and_a_log_that_is_still_read(store: Store, path: Path) -> None:
    store.put("ana", [[encoded("a")]])
    store.put("bo", [[encoded("a")]])
    path.with_name("store.db-schema-2").touch()
    path.with_name("store.db-schema-1.part").touch()
    with store.database.read() as reading:
        reading.execute(select(schema.users)).all()
        first = store.erase("ana").remains
    assert [place.partition(" ")[0] for place in first[:3]] == [
        "store.db-wal,",
        "store.db-schema-1.part",
        "store.db-schema-2",
    ]
    second = store.erase("bo").remains
    assert second == first[1:]
    assert all(word in " ".join(second) for word in ("backups", "pr2 evaluate", "logs"))


def test_a_user_who_returns_has_no_version_of_before_whatever_the_clock_says(store: Store) -> None:
    before = {store.put("ana", [[encoded(f"d{i}")]]) for i in range(3)}
    store.erase("ana")
    after = {store.put("ana", [[encoded(f"d{i}")]]) for i in range(3)}
    assert before.isdisjoint(after)
    # Versions are not read from a clock, which may be set back: a later one may be smaller.
    starts = []
    for _ in range(20):
        store.erase("ana")
        starts.append(store.put("ana", [[encoded("a")]]))
    assert starts != sorted(starts)


def test_nothing_of_an_erased_user_is_in_the_servers_files_after_the_documented_vacuum(
    postgresql: Cluster,
) -> None:
    import psycopg

    url = postgresql.create("erased")
    store = Store(url, ENCODER.manifest)
    store.put("bo", [[encoded("kept", "a kept text")]])
    store.put("zanzibar-user", [[encoded(f"zanzibar-{i}", "zanzibar " * 50) for i in range(20)]])
    store.save_answers([StoredAnswer("zanzibar-user", "zanzibar-answer", {"text": "zanzibar"})])
    commands = re.findall(r"```sql\n(.+?)```", STORAGE.read_text("utf-8"), re.DOTALL)
    once, each_time = (command.strip().splitlines() for command in commands)
    with psycopg.connect(url, autocommit=True) as connection:

        def run(statements: list[str]) -> None:
            for statement in statements:
                connection.execute(statement.encode())

        run(once)
        # As autovacuum does now and then: its statistics hold samples of the rows.
        run(["ANALYZE", "CHECKPOINT"])
        assert mentions(postgresql) & {"base", "pg_wal"} == {"base", "pg_wal"}
        receipt = store.erase("zanzibar-user")
        assert (receipt.documents, receipt.answers, receipt.scrubbed) == (20, 1, False)
        assert mentions(postgresql)
        run(each_time)
    assert mentions(postgresql) == set()
    assert store.users() == ["bo"]
    assert list(faults(store)) == []
    store.close()


def mentions(cluster: Cluster) -> set[str]:
    """The folders of the server's data that have a file with the canary."""
    found = set()
    for file in cluster.data.rglob("*"):
        try:
            if file.is_file() and b"zanzibar" in file.read_bytes():
                found.add(file.relative_to(cluster.data).parts[0])
        except FileNotFoundError:  # The server has removed it.
            continue
    return found
