"""`pr2 profile import --users`: imports a folder of many users into the local store, side by side."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import typer

from index.bulk.users import Outcome, Reading, Target, UserFiles, total, users_in
from server.cli.errors import BadInput
from server.cli.printable import one_line
from server.cli.progress import bar
from server.settings import Settings

ALL = "all"


def import_crowd(
    user: str, folder: str, reading: Reading, settings: Settings, workers: int, ray: str | None
) -> None:
    """Import the entries of a folder, each named after its user, or the one of `user` unless that is ALL.

    Names each user who failed on stderr. Raises typer.Exit with code 1 if there is one, BadInput, and what
    concerns all users.
    """
    files = _chosen(user, folder)
    if settings.database_url is None:
        settings.data.mkdir(0o700, parents=True, exist_ok=True)
    outcomes = []
    with bar("importing users", len(files)) as (progress, task):
        for outcome in _imported(files, _target(settings), reading, workers, ray):
            outcomes.append(outcome)
            if outcome.error:
                progress.console.print(one_line(f"pr2: {outcome.user}: {outcome.error}"), highlight=False)
            progress.advance(task)
    failures = sum(bool(outcome.error) for outcome in outcomes)
    _print(outcomes, failures)
    if failures:
        raise typer.Exit(1)


def _chosen(user: str, folder: str) -> Sequence[UserFiles]:
    try:
        found = users_in(Path(folder))
    except OSError as error:
        raise BadInput(f"cannot read {folder}: {error.strerror}") from None
    files = found if user == ALL else [each for each in found if each.user == user]
    if not files:
        raise BadInput(f"{folder} has no entry for {user!r}" if found else f"{folder} is empty")
    return files


def _target(settings: Settings) -> Target:
    from index.encoding.encoders import load_encoder, load_space
    from index.storage.location import file_url

    return Target(
        # A worker of Ray may be in another folder.
        settings.database_url or file_url(settings.data.absolute()),
        partial(load_encoder, settings.encoder, settings.passage_tokens, options=settings.encoding),
        {name: partial(load_space, spec) for name, spec in settings.spaces.items()},
        settings.document_mb * 2**20,
    )


def _imported(
    files: Sequence[UserFiles], target: Target, reading: Reading, workers: int, ray: str | None
) -> Iterator[Outcome]:
    if ray is None:
        from index.bulk.workers import import_users

        return import_users(files, target, reading, workers)
    from index.bulk.pipeline import import_on_ray

    return import_on_ray(files, target, reading, workers, ray)


def _print(outcomes: Sequence[Outcome], failures: int) -> None:
    whole = total(outcomes)
    typer.echo(
        f"stored {whole.put} documents of {len(outcomes) - failures} users: {whole.added} added, "
        f"{whole.unchanged} unchanged, {whole.replaced} replaced; {whole.left_out} items left out"
    )
    if failures:
        typer.echo(f"{failures} of {len(outcomes)} users failed, and nothing of them was stored", err=True)
