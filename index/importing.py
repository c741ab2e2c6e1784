"""Imports in short steps, so that others go first between them, and one that nobody waits for ends early."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from index.documents import Document, check_name
from index.encoding.embedding import Split, batched, split_documents
from index.encoding.encoders import Vectors
from index.encoding.shared import SharedEncoder
from index.encoding.spool import Spool
from index.errors import Abandoned, InvalidDocument
from index.storage.profiles import EncodedDocument
from index.storage.store import Store
from index.threads import Run, to_end
from index.values import Changes, Progress, PutItems, PutReport, Tally

T = TypeVar("T")


class Import:
    """One put: all documents are read, then encoded, then written, or none of them is.

    Reading and encoding go part by part. An invalid last document is found before anything is encoded.
    Close it, best by a `with` block. After `stop`, which may be called at any time, it raises Abandoned as
    soon as it can, and nothing is written.
    """

    def __init__(
        self,
        store: Store,
        encoder: SharedEncoder,
        user: str,
        documents: PutItems,
        *,
        spaces: Mapping[str, SharedEncoder] | None = None,
        on_error: str = "fail",
        replace: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._spaces = spaces or {}
        """Encoders of further spaces, by the space's name."""
        self._user = check_name(user)
        self._skips = on_error == "skip"
        self._replace = replace
        self._progress = progress
        self._unread = batched(self._valid(documents))
        self._seen: set[str] = set()
        self._repeated: set[str] = set()
        self._duplicates: Tally[str] = Tally()
        self._skipped: Tally[InvalidDocument] = Tally()
        self._read = Spool()
        self._encoded = Spool()
        self._unencoded: Iterator[list[Document]] = iter(self._read)
        self._stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._read.__exit__(kind, error, trace)
        self._encoded.__exit__(kind, error, trace)

    def stop(self) -> None:
        """Make the step in progress, or else the next one, raise Abandoned."""
        self._stopped = True

    def finish(self) -> PutReport:
        """Import everything. Raises InvalidDocument and what Store.put raises."""
        while self._read_more():
            pass
        while (part := self._split_more()) is not None:
            vectors = self._encoder.encoded("imports", self._user, part.texts)
            further = {
                name: self._spaces[name].encoded("imports", self._user, texts)
                for name, texts in part.space_texts.items()
            }
            self._take(part, vectors, further)
        return self._write()

    async def finish_in(self, run: Run) -> PutReport:
        """Import everything. Each step waits for its turn in a thread, each part for its turn at the encoder.

        If this is cancelled, nothing is encoded after the batch in progress, and nothing is stored unless all
        was stored already. Then it returns, and no thread uses the documents any more.
        """

        async def step(work: Callable[[], T]) -> T:
            return await to_end(run(self._user, work), self.stop)

        while await step(self._read_more):
            pass
        while (part := await step(self._split_more)) is not None:
            vectors = await asyncio.wrap_future(self._encoder.encode("imports", self._user, part.texts))
            further = {
                name: await asyncio.wrap_future(self._spaces[name].encode("imports", self._user, texts))
                for name, texts in part.space_texts.items()
            }
            await step(partial(self._take, part, vectors, further))
        return await step(self._write)

    def _read_more(self) -> bool:
        """Read and check the next documents. False after the last one."""
        part = next(self._unread, None)
        if part is not None:
            self._read.add(part)
        return part is not None

    def _split_more(self) -> Split | None:
        """The next documents, split into passages; None after the last one."""
        self._go_on()
        part = next(self._unencoded, None)
        spaces = {name: shared.encoder for name, shared in self._spaces.items()}
        return None if part is None else split_documents(self._encoder.encoder, part, spaces)

    def _take(self, part: Split, vectors: Vectors, further: Mapping[str, Vectors]) -> None:
        """Keep a part with the vectors of its texts until all can be written."""
        self._encoded.add(part.encoded(vectors, further))
        if self._progress:
            self._progress(len(part.documents))

    def _write(self) -> PutReport:
        """Write all parts in one transaction."""
        changes = Changes()
        if self._seen:
            self._store.put(self._user, self._spooled(), changes, replace=self._replace)
        return PutReport(
            len(self._seen),
            self._duplicates.first,
            self._skipped.first,
            self._duplicates.count,
            self._skipped.count,
            changes,
        )

    def _valid(self, documents: PutItems) -> Iterator[Document | None]:
        """The documents, with None for each that is skipped."""
        for document in documents:
            self._go_on()
            if isinstance(document, InvalidDocument):
                if not self._skips:
                    raise document
                # Its context may hold the whole line.
                document.__context__ = document.__traceback__ = None
                self._skipped.add(document)
                yield None
                continue
            if document.id in self._seen and document.id not in self._repeated:
                self._repeated.add(document.id)
                self._duplicates.add(document.id)
            self._seen.add(document.id)
            yield document

    def _spooled(self) -> Iterator[Sequence[EncodedDocument]]:
        for part in self._encoded:
            self._go_on()
            yield part
        self._go_on()

    def _go_on(self) -> None:
        if self._stopped:
            raise Abandoned("nobody waits for this import any more; nothing was stored")
