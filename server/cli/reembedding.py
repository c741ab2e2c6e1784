"""`pr2 profile reembed`: gives a whole store the vectors of another encoder."""

from functools import partial

import typer

from server.cli import options
from server.cli.errors import as_cli_errors
from server.cli.progress import bar


def reembed(data: options.Data = None, encoder: options.Encoder = None) -> None:
    """Give the local store the vectors of another encoder, in one swap at the end.

    If interrupted before the end, nothing has changed. Restart a running server with the new encoder: until
    then it refuses the store as made with another encoder.
    """
    with as_cli_errors():
        from index.encoding.embedding import reembed as embed_again
        from index.encoding.encoders import load_encoder
        from server.assembly import open_to_look

        settings = options.settings_of(options.flags(data=data, encoder=encoder))
        store = open_to_look(settings).profiles.store
        try:
            made_by = load_encoder(settings.encoder, settings.passage_tokens)
            total = sum(store.count(user) for user in store.users())
            with bar("embedding", total) as (progress, task):
                count = embed_again(store, made_by, partial(progress.advance, task))
            typer.echo(f"embedded {count} documents with {made_by.manifest}")
        finally:
            store.close()
