"""`pr2 profile watch`: keeps a folder of notes or mail in step with a profile, until it is interrupted."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Protocol, Unpack

import typer

from index.documents import Document
from index.errors import InvalidDocument, NotFound, UnreadableImport
from index.formats import FORMATS, Format, Member, Members, Options, Skipped, opened_members, read, recognize
from index.values import PutItems, PutOptions, PutReport
from server.cli import options
from server.cli.errors import BadInput, as_cli_errors
from server.cli.printable import one_line

WATCHED: Mapping[str, Format] = {name: FORMATS[name] for name in ("markdown", "mbox", "mail")}
STATE = ".pr2-watch.json"
"""File in the folder with the documents that each file gave, so that files deleted meanwhile are noticed."""
_QUIET_MS = 500
"""Milliseconds without a change after which the first pass begins. The watch has begun before it."""


class Target(Protocol):
    """Where the documents are kept: a store or a server."""

    async def put(self, user: str, documents: PutItems, **options: Unpack[PutOptions]) -> PutReport: ...

    async def delete_document(self, user: str, document_id: str) -> None: ...


@dataclass(frozen=True)
class Synced:
    """Documents that one pass added, replaced and deleted, and what it could not read."""

    added: int = 0
    replaced: int = 0
    deleted: int = 0
    faults: tuple[str, ...] = ()


@dataclass
class FolderWatch:
    """A folder whose files become documents of a user, with the identities that an import gives them."""

    backend: Target
    options: Options
    folder: Path
    _ids: dict[str, list[str]] = field(default_factory=dict)
    """Ids of the documents of each file."""
    _states: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Size and time of the last change of each file that was read."""

    async def run(self, changes: AsyncGenerator[Any, None], report: Callable[[Synced], None]) -> None:
        """Make a pass at the first of `changes` and at each later one that is not empty, and report it."""
        self._ids = await asyncio.to_thread(_loaded, self.folder, self.options.user)
        first = True
        async with aclosing(changes):
            async for change in changes:
                if first or change:
                    report(await self.sync())
                first = False

    async def sync(self) -> Synced:
        """Store what is new or changed, and delete what is gone."""
        with opened_members(self.folder) as members:
            states = {member.name: _state(self.folder / member.name) for member in members.members}
            states.pop(STATE, None)
            if self._ids and not states:
                raise BadInput(f"{self.folder} is empty: is it mounted? Nothing was deleted")
            changed = [
                member
                for member in members.members
                if member.name in states and states[member.name] != self._states.get(member.name)
            ]
            before = {one for ids in self._ids.values() for one in ids}
            for gone in self._ids.keys() - states.keys():
                del self._ids[gone]
            faults: list[str] = []
            documents = self._documents(members, changed, faults)
            report = await self.backend.put(self.options.user, documents, on_error="skip")
        deleted = 0
        for one in before - {one for ids in self._ids.values() for one in ids}:
            deleted += await self._deleted(one)
        self._states = states
        await asyncio.to_thread(_save, self.folder, self.options.user, self._ids)
        return Synced(report.changes.added.count, report.changes.replaced.count, deleted, tuple(faults))

    def _documents(self, members: Members, changed: list[Member], faults: list[str]) -> PutItems:
        for member in changed:
            ids: list[str] = []
            failed = False
            for item in _read(replace(members, members=(member,)), self.options):
                if isinstance(item, Document):
                    ids.append(item.id)
                    yield item
                elif isinstance(item, InvalidDocument):
                    failed = True
                    faults.append(f"{member.name}: {item}")
            # Of a file that could not be read whole, nothing is deleted.
            self._ids[member.name] = [*self._ids.get(member.name, []), *ids] if failed else ids

    async def _deleted(self, document_id: str) -> bool:
        from server.client import ApiError

        try:
            await self.backend.delete_document(self.options.user, document_id)
        except NotFound:
            return False
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True


def _read(members: Members, options_: Options) -> Iterator[Document | InvalidDocument | Skipped]:
    """Yield what one file gives; nothing for a file that is neither a note nor mail."""
    try:
        recognition = recognize(members, WATCHED)
    except UnreadableImport:
        return
    except FileNotFoundError:
        return  # Deleted since it was listed: the next pass sees it.
    try:
        for _, source in read(recognition, members, options_):
            yield from source.documents
    except (InvalidDocument, OSError) as error:
        yield error if isinstance(error, InvalidDocument) else InvalidDocument(str(error.strerror))


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _loaded(folder: Path, user: str) -> dict[str, list[str]]:
    try:
        found = json.loads((folder / STATE).read_text(encoding="utf-8"))
        return {str(name): list(map(str, ids)) for name, ids in found.get(user, {}).items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, TypeError):
        raise BadInput(f"{folder / STATE} is damaged: delete it to watch the folder anew") from None


def _save(folder: Path, user: str, ids: Mapping[str, list[str]]) -> None:
    path = folder / STATE
    try:
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        part = path.with_suffix(".part")
        part.write_text(json.dumps(known | {user: ids}), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from None


def changes_of(folder: Path) -> AsyncGenerator[Any, None]:
    """Yield the changes below a folder as they happen, and an empty set whenever it is quiet."""
    try:
        from watchfiles import DefaultFilter, awatch
    except ImportError:
        raise BadInput("watching a folder needs an extra: pip install 'pr2[files]'") from None

    class Foreign(DefaultFilter):
        """Leaves out what this command writes itself."""

        def __call__(self, change: Any, path: str) -> bool:
            return Path(path).stem != Path(STATE).stem and super().__call__(change, path)

    return awatch(
        folder, watch_filter=Foreign(), yield_on_timeout=True, rust_timeout=_QUIET_MS, debounce=_QUIET_MS
    )


def watch(
    user: options.User,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder of Markdown notes or mail (Maildir, mbox, .eml).")
    ],
    zone: options.Zone = None,
    day_first: options.DayFirst = None,
    server: options.Server = None,
    data: options.Data = None,
    encoder: options.Encoder = None,
    space: options.Space = None,
) -> None:
    """Keep a folder of notes or mail in step: what is new, changed or deleted there. Ctrl-C ends it.

    The first pass is an import, and the documents have the same ids. A file .pr2-watch.json in the folder
    holds which documents came from it, so that files deleted between two watches are noticed.
    """
    flags = options.flags(data=data, encoder=encoder, space=space)
    with as_cli_errors():
        if not folder.is_dir():
            raise BadInput(f"{folder} is not a folder")
        read_as = Options(user, zone=options.zone_of(zone), day_first=day_first)
        try:
            asyncio.run(_watch(server, flags, folder, read_as))
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)


async def _watch(server: str | None, flags: Mapping[str, Any], folder: Path, read_as: Options) -> None:
    from server.cli.backend import open_backend

    async with open_backend(server, flags) as backend:
        typer.echo(one_line(f"watching {folder} for {read_as.user}"), err=True)
        await FolderWatch(backend, read_as, folder).run(changes_of(folder), _print)


def _print(synced: Synced) -> None:
    typer.echo(f"added {synced.added}, replaced {synced.replaced}, deleted {synced.deleted}")
    for fault in synced.faults:
        typer.echo(f"skipped: {one_line(fault)}")
