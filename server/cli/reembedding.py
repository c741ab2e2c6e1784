"""`pr2 profile reembed`: the vectors of another encoder for a whole store."""

from functools import partial

import typer

from server.cli import options
from server.cli.errors import as_cli_errors
from server.cli.progress import bar


def reembed(data: options.Data = None, encoder: options.Encoder = None) -> None:
    """Give the local store the vectors of another encoder, all at once at the end.

    Stopped before the end, it has changed nothing. A server that is running has to be started anew with
    the new encoder: until then it answers that the store is another encoder's.
    """
    with as_cli_errors():
        from index.encoding.embedding import reembed as embed_again
        from index.encoding.encoders import load_encoder
        from server.assembly import open_to_look
        from server.settings import Settings

        settings = Settings(**options.flags(data=data, encoder=encoder))
        store = open_to_look(settings).profiles.store
        try:
            made_by = load_encoder(settings.encoder, settings.passage_tokens)
            total = sum(store.count(user) for user in store.users())
            with bar("embedding", total) as (progress, task):
                count = embed_again(store, made_by, partial(progress.advance, task))
            typer.echo(f"embedded {count} documents with {made_by.manifest}")
        finally:
            store.close()
