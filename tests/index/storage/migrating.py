"""Migrates a store half-way, until it is killed. Run as `python -m tests.index.storage.migrating URL`."""

import sys
from typing import Any

from sqlalchemy import event

from index.storage.store import Store
from tests.index.fakes import HashEncoder


def main() -> None:
    store = Store(sys.argv[1], HashEncoder().manifest)

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def stop(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "DROP TABLE answers_before_3" in statement:
            print("half-way", flush=True)
            sys.stdin.read()

    store.open(migrate=True)


if __name__ == "__main__":
    main()
