"""Imports many users as a Ray Data pipeline: tasks read files, actors encode, and tasks write.

Rows are partitioned by user between encoding and writing, so each user has one writer and one transaction,
and encoders fill their batches from the files of several users.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import make_url

from index.bulk.users import (
    OF_THE_USER,
    Outcome,
    Reading,
    Target,
    UserFiles,
    UserItems,
    failed,
    stored,
)
from index.documents import Document, within_size
from index.encoding.embedding import split_documents
from index.encoding.encoders import EncoderManifest
from index.errors import InvalidDocument, ProfileError, StoreUnavailable, WorkerLost
from index.ranking.columns import objects
from index.storage.profiles import EncodedDocument, NotStored
from index.storage.store import Store
from index.threads import cores, share_cores
from index.values import Changes, PutReport

LOCAL = "local"
"""Address that starts a Ray on this machine, for this import alone."""
_BATCH = 256
"""Documents that an actor takes at a time."""

Row = dict[str, Any]
"""`user`, the `place` of the item among the user's, and the `item`: a Document, an EncodedDocument or, at the
end, an Outcome with what the reader counted."""


def import_on_ray(
    users: Sequence[UserFiles], target: Target, reading: Reading, actors: int, address: str = LOCAL
) -> Iterator[Outcome]:
    """Import the users with `actors` encoders on the Ray cluster at `address`, and yield the outcomes.

    Every machine of the cluster needs the files under the same paths, and the database. A user whose files
    cannot be read is an outcome with an error. Raises StoreUnavailable without the extra, for a SQLite file
    and several machines, and like the store; EncoderUnavailable; WorkerLost if the cluster fails.
    """
    if find_spec("ray") is None:
        raise StoreUnavailable("an import on Ray needs an extra that is missing: pip install 'pr2[ray]'")
    with _connected(address, actors):
        import ray
        from ray.data import ActorPoolStrategy

        if make_url(target.url).get_backend_name() == "sqlite" and len(ray.nodes()) > 1:
            raise StoreUnavailable("machines of a cluster cannot share a SQLite file: use PostgreSQL")
        profiles = target.open()
        with closing(profiles.store) as store:
            store.open()
        further = {name: shared.encoder.manifest for name, shared in profiles.spaces.items()}
        gpus = 1 if ray.cluster_resources().get("GPU") else 0
        files = [{"user": each.user, "path": str(each.path.absolute())} for each in users]
        written = (
            ray.data.from_items(files, override_num_blocks=max(1, min(len(files), 4 * actors)))
            .flat_map(partial(_read, reading=reading, document_bytes=target.document_bytes))
            .map_batches(
                _Encoding,
                fn_constructor_args=(target,),
                batch_size=_BATCH,
                batch_format="numpy",
                compute=ActorPoolStrategy(size=actors),
                num_cpus=0 if gpus else 1,
                num_gpus=gpus,
            )
            .groupby("user", num_partitions=max(1, min(len(files), 16 * actors)))
            .map_groups(
                _Writing,
                fn_constructor_args=(target.url, profiles.encoder.manifest, further),
                batch_format="numpy",
                compute=ActorPoolStrategy(size=actors),
                num_cpus=0,  # They wait for the database.
            )
        )
        with _as_errors():
            for row in written.iter_rows():
                yield Outcome(**row)


@contextmanager
def _connected(address: str, actors: int) -> Iterator[None]:
    """A connection to Ray, closed at the end. Nothing about its use is reported to anybody."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    started: dict[str, Any] = {}
    if address == LOCAL:
        # Besides the actors, room for a task that reads or writes.
        started = {"include_dashboard": False, "num_cpus": max(actors + 1, cores())}
    try:
        ray.init(address, log_to_driver=False, logging_level="WARNING", **started)
    except Exception as error:  # Of many kinds, some of them bare.
        raise WorkerLost(f"Ray ({address}) cannot be used: {str(error).strip().splitlines()[0]}") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
    finally:
        ray.shutdown()


@contextmanager
def _as_errors() -> Iterator[None]:
    """Raise our own error that a task has raised in its place."""
    from ray.exceptions import RayError

    try:
        yield
    except RayError as error:
        found: BaseException | None = error
        while found is not None:
            if isinstance(found, ProfileError):
                raise found from None
            found = getattr(found, "cause", None) or found.__cause__
        raise WorkerLost(f"Ray: {str(error).strip().splitlines()[-1]}") from error


def _read(row: Row, reading: Reading, document_bytes: int) -> list[Row]:
    """One row for each document of a user and, last, an Outcome with the error or with what was left out."""
    files = UserFiles(row["user"], Path(row["path"]))
    items = UserItems(files, reading)
    # Of documents with one id, the last one counts, in the place of the first.
    documents: dict[str, Document] = {}
    invalid = 0
    try:
        for item in within_size(items, document_bytes):
            if isinstance(item, InvalidDocument):
                invalid += 1
            else:
                documents[item.id] = item
        last = Outcome(files.user, left_out=items.left_out + invalid)
    except OF_THE_USER as error:
        documents, last = {}, failed(files, error)
    found = [*documents.values(), last]
    return [{"user": files.user, "place": place, "item": item} for place, item in enumerate(found)]


class _Encoding:
    """Encodes the documents of rows that are not stored as they are. One for each actor."""

    def __init__(self, target: Target) -> None:
        share_cores(os.cpu_count() or 1)
        self._profiles = target.open()

    def __call__(self, batch: Row) -> Row:
        items = list(batch["item"])
        for user in dict.fromkeys(batch["user"]):
            own = [
                place
                for place, item in enumerate(items)
                if batch["user"][place] == user and isinstance(item, Document)
            ]
            same = self._profiles.store.unchanged(user, [items[place] for place in own])
            for place in own:
                if items[place].id in same:
                    items[place] = EncodedDocument(items[place], None)
        new = [place for place, item in enumerate(items) if isinstance(item, Document)]
        for place, encoded in zip(new, self._encoded([items[place] for place in new]), strict=True):
            items[place] = encoded
        return {**batch, "item": objects(items)}

    def _encoded(self, documents: Sequence[Document]) -> list[EncodedDocument]:
        shared, further = self._profiles.shared, self._profiles.spaces
        split = split_documents(
            shared.encoder, documents, {name: other.encoder for name, other in further.items()}
        )
        vectors = shared.encoded("imports", "", split.texts)
        return split.encoded(
            vectors,
            {name: further[name].encoded("imports", "", texts) for name, texts in split.space_texts.items()},
        )


class _Writing:
    """Stores the documents of one user at a time. One for each actor."""

    def __init__(self, url: str, manifest: EncoderManifest, spaces: Mapping[str, EncoderManifest]) -> None:
        self._store = Store(url, manifest, spaces)

    def __call__(self, group: Row) -> Row:
        *encoded, outcome = (group["item"][place] for place in np.argsort(group["place"]))
        if encoded:
            changes = Changes()
            try:
                self._store.put(outcome.user, [encoded], changes)
                outcome = stored(outcome.user, PutReport(len(encoded), changes=changes), outcome.left_out)
            except NotStored:
                outcome = replace(outcome, error="the user's documents were changed meanwhile: import again")
        return {name: [value] for name, value in asdict(outcome).items()}
