"""`pr2 profile forget`: deletes the documents about something, whole, after showing them."""

import asyncio
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

import typer

from index.documents import Document
from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.printable import one_line

FOUND = 10
"""Documents that `--semantic` finds unless -k says otherwise."""


def forget(
    user: options.User,
    matching: Annotated[
        str,
        typer.Option(
            "--matching",
            metavar="TEXT",
            help="Text that the documents contain, in any field; upper and lower case are the same.",
        ),
    ],
    semantic: Annotated[
        bool, typer.Option("--semantic", help="Delete what a search for TEXT finds instead.")
    ] = False,
    k: Annotated[
        int | None,
        typer.Option("-k", min=1, help=f"Documents that --semantic finds at most; default {FOUND}."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    server: options.Server = None,
    data: options.Data = None,
    encoder: options.Encoder = None,
    no_color: options.NoColor = False,
) -> None:
    """Delete the documents that contain a text, or that a search finds, and their text from stored answers.

    Lists them first, and asks. Documents are deleted whole. If it breaks off, it can be repeated.
    """
    flags = options.flags(data=data)
    with as_cli_errors():
        folded = _folded(matching)
        if not folded:
            raise BadInput("--matching needs a text")
        if semantic:
            searching = options.flags(data=data, encoder=encoder)
            found = asyncio.run(_found(server, searching, user, matching, FOUND if k is None else k))
        elif k is not None or encoder is not None:
            raise BadInput("-k and --encoder are for a search: add --semantic")
        else:
            found = asyncio.run(_containing(server, flags, user, folded))
    if not found:
        typer.echo(f"no document of {one_line(user)} matches", err=True)
        return
    _show(found, no_color=no_color)
    if not yes:
        several = "this document" if len(found) == 1 else f"these {len(found)} documents"
        typer.confirm(f"Delete {several} of {user!r}? This cannot be undone", abort=True, err=True)
    with as_cli_errors():
        asyncio.run(_delete(server, flags, user, found))


async def _containing(server: str | None, flags: Mapping[str, Any], user: str, folded: str) -> list[Document]:
    from server.cli.backend import open_backend

    async with (
        open_backend(server, flags, to_look=True) as backend,
        aclosing(backend.documents(user)) as documents,
    ):
        return [
            document
            async for document in documents
            if any(folded in _folded(text) for text in _texts(document.to_dict()))
        ]


async def _found(
    server: str | None, flags: Mapping[str, Any], user: str, query: str, k: int
) -> list[Document]:
    from server.cli.backend import open_backend

    async with open_backend(server, flags) as backend:
        # Not the default, which shows documents with the same text once.
        (passages,) = await backend.search(user, [query], k, "dense")
        return [await backend.document(user, passage.document_id) for passage in passages]


async def _delete(server: str | None, flags: Mapping[str, Any], user: str, documents: list[Document]) -> None:
    from server.cli.backend import open_backend

    async with open_backend(server, flags, to_look=True) as backend:
        for document in documents:
            await backend.delete_document(user, document.id)
            typer.echo(one_line(f"deleted document {document.id} of {user}"))


def _show(documents: list[Document], *, no_color: bool) -> None:
    from server.cli.profile_view import listed
    from server.cli.render import console

    console(no_color=no_color).print(listed(documents))


def _texts(value: Any) -> Iterator[str]:
    """All texts and numbers in a document, those of its metadata too."""
    match value:
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case _:
            yield str(value)


def _folded(text: str) -> str:
    """The text without differences of case, of compatible characters, and of white space."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
