"""`pr2 profile import`: stores a file, folder or archive, with a progress bar and a report."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

import typer

from index.documents import Document
from index.errors import InvalidDocument
from index.formats import FORMATS, Claim, Format, Options, Skipped, Source
from index.values import PutItems, PutReport, Tally
from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import bar
from server.cli.sources import AUTO, opened

_FORMATS = (AUTO, *FORMATS)
_NAMED = 3
"""Files that the report names for each reason."""


def _known_format(name: str) -> str:
    if name not in _FORMATS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(_FORMATS)}")
    return name


def import_(
    user: Annotated[
        str,
        typer.Argument(
            metavar="USER",
            help="Id of the user to import for. For several LoCoMo conversations: a sample_id, or 'all'. "
            "With --users: one of them, or 'all'.",
            show_default=False,
        ),
    ],
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH",
            help="File, folder, or .zip as an app exported it; - for stdin.",
            show_default=False,
        ),
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar=f"[{'|'.join(_FORMATS)}]",
            callback=_known_format,
            help="Format of the file; auto recognizes it by its content.",
        ),
    ] = AUTO,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FIELD=COLUMN",
            help="Tables and JSON: column or key of a field, like text=BODY. Repeatable.",
        ),
    ] = None,
    zone: options.Zone = None,
    day_first: options.DayFirst = None,
    on_error: Annotated[
        Literal["fail", "skip"] | None,
        typer.Option(
            help="For an invalid document: store nothing, or leave it out. By default, broken items of an "
            "app's export are left out, and other files are stored as a whole."
        ),
    ] = None,
    users: Annotated[
        bool,
        typer.Option(
            "--users",
            help="PATH is a folder with a file, folder or .zip for each user, named after them. Users are "
            "imported side by side, each whole or not at all.",
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="With --users: processes that import users at the same time; by default 1."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="With --users: use a Ray cluster, or 'local' for one on this machine; --workers is its "
            "number of encoders. Needs the extra [ray].",
        ),
    ] = None,
    server: options.Server = None,
    data: options.Data = None,
    encoder: options.Encoder = None,
    space: options.Space = None,
) -> None:
    """Store the documents of a file, a folder, or an app's export. Documents with a known id are replaced.

    An export of the same account that is imported later adds what is new. NDJSON and JSON take objects with
    text and, optionally, id, created_at, title, source, metadata. Without an id, one is made from the
    contents.
    """
    flags = options.flags(data=data, encoder=encoder, space=space)
    with as_cli_errors():
        read_as = Options(user, _mapping(columns or []), options.zone_of(zone), day_first)
        if users:
            from index.bulk.users import Reading
            from server.cli.crowds import import_crowd

            if server:
                raise BadInput("--users imports into a local store or database, not through a --server")
            reading = Reading(read_as, None if form == AUTO else form, on_error)
            import_crowd(user, path, reading, options.settings_of(flags), workers or 1, ray)
            return
        if workers or ray:
            raise BadInput("--workers and --ray go with --users: one user is written by one process")
        with opened(path, form, read_as) as (recognition, sources):
            for claim in recognition.claims:
                typer.echo(_recognized(path, claim, zone), err=True)
            asyncio.run(_import(server, flags, sources, on_error))
            LeftOut(recognition.left_out).print()


async def _import(
    server: str | None,
    flags: Mapping[str, Any],
    sources: Sequence[tuple[Format, Source]],
    on_error: str | None,
) -> None:
    from server.cli.backend import open_backend

    async with open_backend(server, flags) as backend:
        for form, source in sources:
            left_out = LeftOut()
            with bar(source.user, source.total) as (progress, task):
                report = await backend.put(
                    source.user,
                    left_out.without(source.documents),
                    on_error=on_error or ("skip" if form.exported else "fail"),
                    progress=partial(progress.advance, task),
                )
            _print(source.user, report)
            left_out.print()


def _recognized(path: str, claim: Claim, zone: str | None) -> str:
    """Say which format was recognized and, for an app's export, the zone of times that name none."""
    files = "" if len(claim.members) == 1 else f" in {len(claim.members)} files"
    place = zone or f"this machine's time zone, {datetime.now().astimezone().tzname()}"
    zoned = f"; times without a zone are in {place}" if claim.form.exported else ""
    return one_line(f"{path}: {claim.form.title}{files}{zoned}")


class LeftOut:
    """Counts what is left out, by reason."""

    def __init__(self, skipped: Iterable[Skipped] = ()) -> None:
        self._reasons: dict[str, Tally[str]] = {}
        for item in skipped:
            self._add(item)

    def without(self, items: Iterable[Document | InvalidDocument | Skipped]) -> PutItems:
        """Yield the documents and faults; the others are counted."""
        for item in items:
            if isinstance(item, Skipped):
                self._add(item)
            else:
                yield item

    def print(self) -> None:
        for reason, tally in self._reasons.items():
            named = ", ".join(tally.first[:_NAMED])
            more = f" and {tally.count - _NAMED} more" if tally.count > _NAMED and named else ""
            typer.echo(one_line(f"left out {tally.count}: {reason}{f' ({named}{more})' if named else ''}"))

    def _add(self, item: Skipped) -> None:
        tally = self._reasons.setdefault(item.reason, Tally())
        tally.count += 1
        if item.where and len(tally.first) < _NAMED:
            tally.first.append(item.where)


def _mapping(pairs: Sequence[str]) -> dict[str, str]:
    mapping = {}
    for pair in pairs:
        field, separator, column = pair.partition("=")
        if not field or not separator or not column:
            raise BadInput(f"--map takes FIELD=COLUMN, not {pair!r}")
        mapping[field] = column
    return mapping


def _print(user: str, report: PutReport) -> None:
    documents = "1 document" if report.put == 1 else f"{report.put} documents"
    typer.echo(f"stored {documents} for {one_line(user)}")
    changes = report.changes
    if changes.unchanged.count or changes.replaced.count:
        kinds = {
            "added": changes.added,
            "left unchanged": changes.unchanged,
            "replaced": changes.replaced,
        }
        for verb, tally in kinds.items():
            typer.echo(f"{verb} {tally.count}{': ' if tally.count else ''}{_named(tally)}")
    if report.duplicates:
        named = _named(Tally(report.duplicate_count, report.duplicates))
        typer.echo(f"came more than once, the last one counts: {named}")
    for skipped in report.skipped:
        where = "" if skipped.line is None else f" line {skipped.line}"
        typer.echo(f"skipped{where}: {one_line(str(skipped))}")
    if report.skipped_count > len(report.skipped):
        typer.echo(f"and skipped {report.skipped_count - len(report.skipped)} more lines")


def _named(tally: Tally[str]) -> str:
    more = f" and {tally.count - len(tally.first)} more" if tally.count > len(tally.first) else ""
    return one_line(", ".join(tally.first)) + more
