"""`pr2 store`: check, copy, export, import and migrate a whole store."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from index.storage.store import Store

store = typer.Typer(help="Check, copy, export, import or migrate a whole store.")


@store.command()
def check(data: options.Data = None) -> None:
    """Verify that every document has its vectors, as they were written, and that nothing is left over.

    Names what is wrong, one line each, with exit code 1. Changes nothing, except for the schema of an older
    SQLite store.
    """
    with as_cli_errors(), closing(_store(_of_settings(data))) as opened:
        found = _faults(opened)
    if found:
        raise typer.Exit(1)


@store.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="SRC", help="Folder or URL of a store; it may be in use.")],
    target: Annotated[
        str, typer.Argument(metavar="DST", help="Folder or URL of the new store: a backup, or a new home.")
    ],
) -> None:
    """Copy a store, also from SQLite to PostgreSQL or back, and verify the copy.

    A URL is postgresql://USER@HOST/DATABASE or sqlite:///FILE. The copy has one state of the store, whoever
    writes meanwhile. To restore a backup, copy it back to a new place. Exit code 1 if the copy has faults,
    which the source has, too.
    """
    with as_cli_errors():
        from index.storage.copying import copy as copy_store
        from index.storage.copying import size

        with closing(_store(_existing(source))) as opened:
            url = _new(target)
            with bar("copying", size(opened)) as (progress, task):
                copied = copy_store(opened, url, lambda rows: progress.advance(task, rows))
        typer.echo(_counts("copied", {name: contents.rows for name, contents in copied.items()}))
        with closing(_store(url)) as verified:
            found = _faults(verified)
    if found:
        raise typer.Exit(1)


Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of Parquet files.", show_default=False)]


@store.command()
def export(folder: Folder, data: options.Data = None) -> None:
    """Write all users with their vectors and answers to a new folder of Parquet files, and verify them.

    The export has one state of the store, whoever writes meanwhile. Needs the extra [parquet].
    """
    with as_cli_errors():
        from index.storage.copying import size
        from index.storage.parquet import export as export_store

        with (
            closing(_store(_of_settings(data))) as opened,
            bar("exporting", size(opened)) as (progress, task),
        ):
            written = export_store(opened, folder, lambda rows: progress.advance(task, rows))
        typer.echo(_counts("exported", {name: contents.rows for name, contents in written.items()}))


@store.command("import")
def import_(folder: Folder, data: options.Data = None) -> None:
    """Make a new store of a folder that export wrote, and verify it.

    Exit code 1 if the store has faults, which the exported one has, too. Needs the extra [parquet].
    """
    with as_cli_errors():
        from index.storage.parquet import import_ as import_store
        from index.storage.parquet import summary

        rows = {name: contents.rows for name, contents in summary(folder).items()}
        settings = options.settings_of(options.flags(data=data))
        url = settings.database_url or _new(str(settings.data))
        with bar("importing", sum(rows.values())) as (progress, task):
            import_store(folder, url, lambda rows: progress.advance(task, rows))
        typer.echo(_counts("imported", rows))
        with closing(_store(url)) as verified:
            found = _faults(verified)
    if found:
        raise typer.Exit(1)


@store.command()
def migrate(data: options.Data = None) -> None:
    """Give a store of an older version the tables of this one.

    A SQLite file is copied aside first, and is also migrated by any other command. On PostgreSQL this command
    alone migrates: make a backup, and stop the servers of the older version first.
    """
    with as_cli_errors():
        from index.storage.opening import REVISION

        with closing(_store(_of_settings(data))) as opened:
            opened.open(migrate=True)
        typer.echo(f"the store has schema {REVISION}")


def _counts(done: str, rows: Mapping[str, int]) -> str:
    counts = [f"{rows[name]} {name}" for name in ("users", "documents", "passages")]
    return f"{done} {', '.join(counts)} and {rows['answers']} answers"


def _store(url: str) -> "Store":
    from index.storage.store import Store

    return Store(url, None)


def _faults(opened: "Store") -> int:
    """Print what is wrong with a store. Returns the number of faults."""
    from index.errors import StoreCorrupted, StoreDamaged
    from index.storage.checking import faults

    count = 0
    try:
        with bar("checking users", None) as (progress, task):
            for fault in faults(opened, lambda users: progress.advance(task, users)):
                typer.echo(one_line(fault))
                count += 1
    except (StoreCorrupted, StoreDamaged) as error:
        typer.echo(one_line(str(error)))
        count += 1
    typer.echo(
        f"{count} faults in {opened.database.name}" if count else f"no fault in {opened.database.name}"
    )
    return count


def _of_settings(data: Path | None) -> str:
    settings = options.settings_of(options.flags(data=data))
    return settings.database_url or _existing(str(settings.data))


def _existing(place: str) -> str:
    """The URL of the store at a place. Raises BadInput if there can be none."""
    from index.storage.location import FILE, file_url

    if "://" in place:
        return place
    if not Path(place, FILE).exists():
        raise BadInput(f"there is no store in {place}")
    return file_url(Path(place))


def _new(place: str) -> str:
    """The URL of a new store at a place, whose folder is made. Raises BadInput."""
    from index.storage.location import file_url

    if "://" in place:
        return place
    try:
        Path(place).mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot make {place}: {error.strerror}") from None
    return file_url(Path(place))
