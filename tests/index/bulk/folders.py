"""Folders with files of several users, and the import of each by itself to compare with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from index.bulk.users import Reading, Target
from index.formats import Options
from index.storage import schema
from index.storage.store import Store
from tests.index.fakes import HashEncoder

READING = Reading(Options(""))
HISTORIES: dict[str, list[dict[str, Any]]] = {
    "ana": [{"id": "a", "text": "Ripe pears from the garden."}, {"id": "b", "text": "A walk by the river."}],
    "ben": [{"id": str(n), "text": f"Octopus number {n}, " + "grilled slowly " * n} for n in range(40)],
    "çelik": [
        {"text": "Without an id."},
        {"id": "a", "text": "old"},
        {"id": "a", "text": "new", "title": "T"},
    ],
}


def write(folder: Path, histories: Mapping[str, Sequence[dict[str, Any]]] = HISTORIES) -> Path:
    """Write an NDJSON file for each user."""
    folder.mkdir(exist_ok=True)
    for user, documents in histories.items():
        lines = "".join(json.dumps(document) + "\n" for document in documents)
        (folder / f"{user}.ndjson").write_text(lines)
    return folder


def target(folder: Path) -> Target:
    return Target(f"sqlite:///{folder / 'pr2.db'}", HashEncoder)


def rows(url: str) -> dict[str, list[Any]]:
    """All rows of users, by table. Versions begin with a random number, and are left out."""
    store = Store(url, None)
    store.open()
    try:
        with store.database.read() as connection:
            return {
                table.name: [
                    {name: value for name, value in row._mapping.items() if name != "version"}
                    for row in connection.execute(table.select().order_by(*table.primary_key))
                ]
                for table in schema.PER_USER
            }
    finally:
        store.close()
