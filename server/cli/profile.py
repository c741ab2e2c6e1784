"""`pr2 profile`: imports, exports, shows, searches and deletes what is stored for a person."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from index.values import Period
from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.forgetting import forget
from server.cli.importing import import_
from server.cli.printable import one_line, to_json
from server.cli.reembedding import reembed, spaces
from server.cli.watching import watch

if TYPE_CHECKING:
    from index.documents import Document
    from server.answers import AnswerRecord

profile = typer.Typer(help="Import, export, show, search and delete what is stored for a person.")
profile.command("import")(import_)
profile.command()(watch)
profile.command()(forget)
profile.command()(reembed)
profile.command()(spaces)

Flags = Mapping[str, Any]


@profile.command()
def export(
    user: options.User,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="File to write; default stdout.")
    ] = None,
    answers: Annotated[
        bool,
        typer.Option("--answers", help="The stored answers with their trajectories and ratings instead."),
    ] = False,
    server: options.Server = None,
    data: options.Data = None,
) -> None:
    """Write all documents as NDJSON, which import accepts, or all answers."""
    with as_cli_errors():
        asyncio.run(_export(server, options.flags(data=data), user, output, answers))


async def _export(server: str | None, flags: Flags, user: str, output: Path | None, of_answers: bool) -> None:
    from server.cli.backend import open_backend

    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(open_backend(server, flags, to_look=True))
        found = backend.stored_answers(user) if of_answers else backend.documents(user)
        items: AsyncGenerator[Document | AnswerRecord, None] = await stack.enter_async_context(
            aclosing(found)
        )
        if output is None:
            async for item in items:
                sys.stdout.write(to_json(item.to_dict()) + "\n")
            return
        # An existing file is replaced only by a complete one.
        part = output.with_name(output.name + ".part")
        count = 0
        try:
            with part.open("w", encoding="utf-8") as stream:
                async for item in items:
                    stream.write(to_json(item.to_dict()) + "\n")
                    count += 1
            os.replace(part, output)
        except OSError as error:
            raise BadInput(f"cannot write {output}: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)
    what = "answers" if of_answers else "documents"
    typer.echo(f"{count} {what} of {one_line(user)} in {output}", err=True)


@profile.command()
def show(
    user: options.User,
    document: Annotated[
        str | None, typer.Argument(metavar="DOCUMENT", help="Id of one document, to show it whole.")
    ] = None,
    server: options.Server = None,
    data: options.Data = None,
    no_color: options.NoColor = False,
) -> None:
    """Show an overview of a profile, or one document of it."""
    with as_cli_errors():
        asyncio.run(_show(server, options.flags(data=data), user, document, no_color))


async def _show(server: str | None, flags: Flags, user: str, document_id: str | None, no_color: bool) -> None:
    from server.cli.backend import open_backend
    from server.cli.profile_view import Overview, document_view
    from server.cli.render import console

    out = console(no_color=no_color)
    async with open_backend(server, flags, to_look=True) as backend:
        if document_id is not None:
            out.print(document_view(await backend.document(user, document_id)))
            return
        overview = Overview()
        async with aclosing(backend.documents(user)) as documents:
            async for document in documents:
                overview.add(document)
    out.print(overview.view(user))


@profile.command()
def search(
    user: options.User,
    queries: Annotated[
        list[str], typer.Argument(metavar="QUERY...", help="Text to search for; each is a separate search.")
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Passages for each query.")] = 5,
    retriever: options.Retriever = None,
    after: options.After = None,
    before: options.Before = None,
    last: options.Last = None,
    as_of: options.AsOf = None,
    time_zone: options.TimeZone = None,
    server: options.Server = None,
    data: options.Data = None,
    encoder: options.Encoder = None,
    space: options.Space = None,
    as_json: options.AsJson = False,
    no_color: options.NoColor = False,
) -> None:
    """Search a profile as the policy would."""
    with as_cli_errors():
        asyncio.run(
            _search(
                server,
                options.flags(data=data, encoder=encoder, space=space),
                user,
                queries,
                k,
                retriever,
                options.period(after, before, last, as_of, time_zone),
                as_json,
                no_color,
            )
        )


async def _search(
    server: str | None,
    flags: Flags,
    user: str,
    queries: Sequence[str],
    k: int,
    retriever: str | None,
    period: Period,
    as_json: bool,
    no_color: bool,
) -> None:
    from server.cli.backend import open_backend
    from server.cli.render import console, line, passage_row

    async with open_backend(server, flags) as backend:
        results = await backend.search(user, queries, k, retriever, period)
    if as_json:
        found = [[asdict(passage) for passage in passages] for passages in results]
        typer.echo(to_json({"results": found}, indent=2))
        return
    out = console(no_color=no_color)
    for query, passages in zip(queries, results, strict=True):
        out.print(line(("search ", "bold cyan"), (query, "cyan")))
        for passage in passages:
            out.print(passage_row(passage.rank, passage))
        if not passages:
            out.print(line(("  nothing found", "dim")))


@profile.command()
def delete(
    user: options.User,
    document: Annotated[
        str | None, typer.Option("--document", metavar="ID", help="Delete only this document.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    server: options.Server = None,
    data: options.Data = None,
) -> None:
    """Delete everything of a person (documents, vectors, answers), or one document. Prints the receipt."""
    what = f"document {document!r} of {user!r}" if document else f"everything that is stored of {user!r}"
    if not yes:
        typer.confirm(f"Delete {what}? This cannot be undone", abort=True, err=True)
    with as_cli_errors():
        asyncio.run(_delete(server, options.flags(data=data), user, document))


async def _delete(server: str | None, flags: Flags, user: str, document_id: str | None) -> None:
    from server.cli.backend import open_backend

    async with open_backend(server, flags, to_look=True) as backend:
        if document_id is not None:
            await backend.delete_document(user, document_id)
            typer.echo(one_line(f"deleted document {document_id} of {user}"))
            return
        receipt = await backend.erase(user)
    typer.echo(to_json(asdict(receipt), indent=2))


@profile.command("list")
def list_(
    data: options.Data = None,
) -> None:
    """List the users of the local store and their numbers of documents."""
    with as_cli_errors():
        asyncio.run(_list(options.flags(data=data)))


async def _list(flags: Flags) -> None:
    from server.cli.backend import open_local

    async with open_local(flags, to_look=True) as local:
        store = local.service.profiles.store
        users = await local.service.run(store.users)
        for user in users:
            typer.echo(f"{await local.service.run(store.count, user):>8}  {one_line(user)}")
    if not users:
        typer.echo("the store is empty: try pr2 profile import USER PATH, or pr2 serve --demo", err=True)
