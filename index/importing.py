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
from index.storage.profiles import EncodedDocument, NotStored
from index.storage.store import Store
from index.threads import Run, to_end
from index.values import Changes, Progress, PutItems, PutReport, Tally

T = TypeVar("T")


class Import:
    """One put: all documents are read, then encoded, then written, or none of them is.

    Reading and encoding go part by part. An invalid last document is found before anything is encoded. What
    is stored already with the same contents is not encoded again.
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
        self._part: list[Document] = []
        """The part in progress, with the documents that are stored already."""
        self._compares = True
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
        while True:
            while (part := self._split_more()) is not None:
                vectors = self._encoder.encoded("imports", self._user, part.texts)
                further = {
                    name: self._spaces[name].encoded("imports", self._user, texts)
                    for name, texts in part.space_texts.items()
                }
                self._take(part, vectors, further)
            if (report := self._write()) is not None:
                return report

    async def finish_in(self, run: Run) -> PutReport:
        """Import everything. Each step waits for its turn in a thread, each part for its turn at the encoder.

        If this is cancelled, nothing is encoded after the batch in progress, and nothing is stored unless all
        was stored already. Then it returns, and no thread uses the documents any more.
        """

        async def step(work: Callable[[], T]) -> T:
            return await to_end(run(self._user, work), self.stop)

        while await step(self._read_more):
            pass
        while True:
            while (part := await step(self._split_more)) is not None:
                vectors = await asyncio.wrap_future(self._encoder.encode("imports", self._user, part.texts))
                further = {
                    name: await asyncio.wrap_future(self._spaces[name].encode("imports", self._user, texts))
                    for name, texts in part.space_texts.items()
                }
                await step(partial(self._take, part, vectors, further))
            if (report := await step(self._write)) is not None:
                return report

    def _read_more(self) -> bool:
        """Read and check the next documents. False after the last one."""
        part = next(self._unread, None)
        if part is not None:
            self._read.add(part)
        return part is not None

    def _split_more(self) -> Split | None:
        """The next documents that are not stored as they are, in passages; None after the last part."""
        self._go_on()
        part = next(self._unencoded, None)
        if part is None:
            return None
        same = self._store.unchanged(self._user, part) if self._compares else set()
        # Of two documents with one id the last counts: it may be the one that is stored, after another one.
        same -= self._repeated
        self._part = part
        new = [document for document in part if document.id not in same]
        spaces = {name: shared.encoder for name, shared in self._spaces.items()}
        return split_documents(self._encoder.encoder, new, spaces)

    def _take(self, part: Split, vectors: Vectors, further: Mapping[str, Vectors]) -> None:
        """Keep a part with the vectors of its texts until all can be written."""
        encoded: dict[int, EncodedDocument] = {
            id(new.document): new for new in part.encoded(vectors, further)
        }
        self._encoded.add([encoded.get(id(each)) or EncodedDocument(each, None) for each in self._part])
        if self._progress:
            self._progress(len(self._part))

    def _write(self) -> PutReport | None:
        """Write all parts in one transaction. None if everything has to be encoded first.

        This is so when another writer has just changed a document that was found to be stored already.
        """
        changes = Changes()
        if self._seen:
            try:
                self._store.put(self._user, self._spooled(), changes, replace=self._replace)
            except NotStored:
                self._compares = False
                self._encoded.clear()
                self._unencoded = iter(self._read)
                return None
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
