"""`pr2 profile reembed` and `pr2 profile spaces`: the embedding spaces of a whole store."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from server.cli import options
from server.cli.errors import as_cli_errors
from server.cli.printable import one_line
from server.cli.progress import bar

if TYPE_CHECKING:
    from index.encoding.encoders import Encoder
    from index.storage.store import Store


def reembed(data: options.Data = None, encoder: options.Encoder = None, space: options.Space = None) -> None:
    """Give the local store the vectors of another encoder, in one swap at the end.

    With --space, only that space gets vectors, of its encoder: those that are missing, or all of them anew.
    If interrupted before the end, nothing has changed. Restart a running server with the new encoder or
    space: until then it refuses the store as made with another encoder.
    """
    with as_cli_errors():
        from index.encoding.encoders import load_encoder, load_space
        from index.ranking.retrievers import Retrievers, SpaceRetriever
        from server.assembly import open_to_look

        settings = options.settings_of(options.flags(data=data, encoder=encoder, space=space))
        named, retrievers = options.spaces_of(space), Retrievers()
        for name in named:
            retrievers.register(SpaceRetriever(name))  # Refused if the name is taken.
        store = open_to_look(settings).profiles.store
        try:
            if encoder is not None or not named:
                further = list(store.spaces())
                _embed(
                    store, load_encoder(settings.encoder, settings.passage_tokens, options=settings.encoding)
                )
                for name in sorted(set(further) - set(named)):
                    typer.echo(f"dropped the space {one_line(name)}, whose passages have changed")
            for name, spec in named.items():
                _embed(store, load_space(spec), name)
        finally:
            store.close()


def _embed(store: "Store", encoder: "Encoder", space: str | None = None) -> None:
    from index.encoding.embedding import reembed as embed_again

    total = sum(store.count(user) for user in store.users())
    with bar("embedding", total) as (progress, task):
        count = embed_again(store, encoder, partial(progress.advance, task), space)
    where = f" in the space {one_line(space)}" if space else ""
    typer.echo(f"embedded {count} documents{where} with {encoder.manifest}")


def spaces(
    data: options.Data = None,
    drop: Annotated[
        str | None, typer.Option("--drop", metavar="NAME", help="Delete this space and its vectors.")
    ] = None,
) -> None:
    """List the embedding spaces of the local store: its own encoder, and further ones with theirs."""
    with as_cli_errors():
        from server.assembly import open_to_look

        store = open_to_look(options.settings_of(options.flags(data=data))).profiles.store
        try:
            if drop is not None:
                store.drop_space(drop)
                typer.echo(one_line(f"deleted the space {drop}"))
                return
            typer.echo(f"the store's own: {store.encoder()}")
            for name, encoder in store.spaces().items():
                typer.echo(one_line(f"{name}: {encoder}"))
        finally:
            store.close()
