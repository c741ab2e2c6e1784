"""Embeds documents in bulk: for an import, or for a whole store that changes its encoder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

import numpy as np

from index.documents import Document, encoded_text
from index.encoding.encoders import Encoder, Vectors
from index.encoding.spool import Spool
from index.errors import UnknownUser
from index.ranking.reading import read
from index.storage.profiles import EncodedDocument, EncodedPassage
from index.storage.store import Store
from index.text.passages import bounded, split
from index.values import Progress

MOST_DOCUMENTS = 1_024
MOST_CHARACTERS = 32_768
"""Documents, and characters of them, that are embedded at a time: a few seconds of one core. That is enough
to sort by length, and little to hold in memory for each import in progress."""


@dataclass(frozen=True)
class Split:
    """Documents whose passages are to be encoded."""

    documents: Sequence[Document]
    spans: Sequence[Sequence[tuple[int, int]]]
    """(start, end) of each document's passages, in characters."""
    texts: Sequence[str]
    """Texts to encode, one for each passage."""
    space_texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Texts of the same passages to encode in further spaces, by the space's name."""

    def encoded(
        self, vectors: Vectors, space_vectors: Mapping[str, Vectors] | None = None
    ) -> list[EncodedDocument]:
        """The documents with their passages' vectors, of shape (texts, dimension) in each space."""
        each = iter(vectors.astype(np.float16))
        further = {name: iter(found.astype(np.float16)) for name, found in (space_vectors or {}).items()}

        def passage(start: int, end: int) -> EncodedPassage:
            return EncodedPassage(start, end, next(each), {name: next(v) for name, v in further.items()})

        return [
            EncodedDocument(
                document,
                tuple(passage(start, end) for start, end in spans),
                read(document, spans),
            )
            for document, spans in zip(self.documents, self.spans, strict=True)
        ]


def split_documents(
    encoder: Encoder, documents: Sequence[Document], spaces: Mapping[str, Encoder] | None = None
) -> Split:
    """Split documents into passages that fit the encoder's window and the manifest's passages.

    `spaces` are the encoders of further spaces, by the space's name; they encode the same passages.
    """
    window = min(encoder.manifest.window, encoder.manifest.passage_tokens)
    count = bounded(encoder.count_tokens)
    spans: list[list[tuple[int, int]]] = []
    texts: list[str] = []
    lengths = count([encoded_text(document, document.text) for document in documents])
    for document, length in zip(documents, lengths, strict=True):
        titled = True
        if length <= window:
            parts = [(0, len(document.text))]
        else:
            head = count([encoded_text(document, "")])[0] if document.title else 0
            # A very long title would leave no room for the text: only the lexical index gets it.
            titled = head <= window // 2
            parts = split(document.text, window - head if titled else window, count)
        spans.append(parts)
        for start, end in parts:
            piece = document.text[start:end]
            texts.append(encoded_text(document, piece) if titled else piece)
    further = {name: passage_texts(other, documents, spans) for name, other in (spaces or {}).items()}
    return Split(documents, spans, texts, further)


def passage_texts(
    encoder: Encoder, documents: Sequence[Document], spans: Sequence[Sequence[tuple[int, int]]]
) -> list[str]:
    """Texts to encode for passages that were split for another encoder; a longer one is cut off by it.

    A title that takes more than half of the window is left out.
    """
    heads = encoder.count_tokens([encoded_text(document, "") for document in documents])
    texts: list[str] = []
    for document, head, parts in zip(documents, heads, spans, strict=True):
        pieces = [document.text[start:end] for start, end in parts]
        titled = head <= encoder.manifest.window // 2
        texts += [encoded_text(document, piece) for piece in pieces] if titled else pieces
    return texts


def reembed(
    store: Store, encoder: Encoder, progress: Progress | None = None, space: str | None = None
) -> int:
    """Replace a store's vectors by those of another encoder. Returns the number of documents.

    With `space`, its vectors are made or replaced, and nothing else changes; without, further spaces are
    dropped, because their passages change. Everything is encoded first and swapped in one transaction, so the
    store stays unchanged if this is interrupted. Users whose documents change meanwhile are encoded again.
    `progress` is called with the number of documents just done. Raises StoreUnavailable.
    """
    versions: dict[str, int] = {}
    done = 0
    with Spool() as spool:
        owed = store.users()
        while owed:
            for user in owed:
                try:
                    stored = store.load(user)
                except UnknownUser:  # erased meanwhile
                    continue
                versions[user] = stored.version
                each = map(stored.parts, count())
                for batch in batched(stored.documents):
                    parts = list(islice(each, len(batch)))
                    if space is None:
                        passages = split_documents(encoder, batch)
                    else:
                        passages = Split(batch, parts, passage_texts(encoder, batch, parts))
                    vectors = encoder.encode_documents(passages.texts)
                    further = {space: vectors} if space else None
                    spool.add((user, stored.version, passages.encoded(vectors, further)))
                    done += len(batch)
                    if progress:
                        progress(len(batch))
            owed = store.swap_vectors(encoder.manifest, versions, spool, space)
        return done


def batched(documents: Iterable[Document | None]) -> Iterator[list[Document]]:
    """Parts of at most MOST_DOCUMENTS; one ends with the document that reaches MOST_CHARACTERS.

    None stands for a document that was left out. It counts, so that a part never takes long to read.
    """
    batch: list[Document] = []
    read = characters = 0
    for document in documents:
        read += 1
        if document is not None:
            batch.append(document)
            characters += len(document.text)
        if read == MOST_DOCUMENTS or characters >= MOST_CHARACTERS:
            yield batch
            batch, read, characters = [], 0, 0
    if read:
        yield batch
