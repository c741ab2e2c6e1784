"""`pr2 profile import`: stores a file's documents, with a progress bar and a report."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import typer

from index.formats import FORMATS, Source
from index.values import PutReport, Tally
from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import bar
from server.cli.sources import AUTO, opened

_FORMATS = (AUTO, *FORMATS)


def _known_format(name: str) -> str:
    if name not in _FORMATS:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(_FORMATS)}")
    return name


def import_(
    user: Annotated[
        str,
        typer.Argument(
            metavar="USER",
            help="Id of the user to import for. For several LoCoMo conversations: a sample_id, or 'all'.",
            show_default=False,
        ),
    ],
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="File in UTF-8; - for stdin.", show_default=False)
    ],
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar=f"[{'|'.join(_FORMATS)}]",
            callback=_known_format,
            help="Format of the file; auto recognizes it by its name and first character.",
        ),
    ] = AUTO,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="FIELD=COLUMN", help="CSV: column of a field, like text=BODY. Repeatable."
        ),
    ] = None,
    on_error: Annotated[
        Literal["fail", "skip"],
        typer.Option(help="For an invalid document: store nothing, or leave it out."),
    ] = "fail",
    server: options.Server = None,
    data: options.Data = None,
    encoder: options.Encoder = None,
    space: options.Space = None,
) -> None:
    """Store the documents of a file. Documents with a known id are replaced.

    NDJSON and JSON take objects with text and, optionally, id, created_at, title, source, metadata. Without
    an id, one is made from the contents.
    """
    flags = options.flags(data=data, encoder=encoder, space=space)
    with as_cli_errors(), opened(user, file, form, _mapping(columns or [])) as sources:
        asyncio.run(_import(server, flags, sources, on_error))


async def _import(
    server: str | None, flags: Mapping[str, Any], sources: Sequence[Source], on_error: str
) -> None:
    from server.cli.backend import open_backend

    async with open_backend(server, flags) as backend:
        for source in sources:
            with bar(source.user, source.total) as (progress, task):
                report = await backend.put(
                    source.user, source.documents, on_error=on_error, progress=partial(progress.advance, task)
                )
            _print(source.user, report)


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
        typer.echo(f"skipped line {skipped.line}: {one_line(str(skipped))}")
    if report.skipped_count > len(report.skipped):
        typer.echo(f"and skipped {report.skipped_count - len(report.skipped)} more lines")


def _named(tally: Tally[str]) -> str:
    more = f" and {tally.count - len(tally.first)} more" if tally.count > len(tally.first) else ""
    return one_line(", ".join(tally.first)) + more
