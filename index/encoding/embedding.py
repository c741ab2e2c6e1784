"""Embeds documents in bulk: for an import, or for a whole store that changes its encoder."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from index.documents import Document
from index.encoding.encoders import Encoder, Vectors
from index.encoding.spool import Spool
from index.errors import UnknownUser
from index.ranking.profile import encoded_text
from index.storage.profiles import EncodedDocument, EncodedPassage
from index.storage.store import Store
from index.text.passages import split
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

    def encoded(self, vectors: Vectors) -> list[EncodedDocument]:
        """The documents with their passages' vectors, shape (texts, dimension)."""
        each = iter(vectors.astype(np.float16))
        return [
            EncodedDocument(document, tuple(EncodedPassage(start, end, next(each)) for start, end in spans))
            for document, spans in zip(self.documents, self.spans, strict=True)
        ]


def split_documents(encoder: Encoder, documents: Sequence[Document]) -> Split:
    """Split documents into passages that fit the encoder's window and the manifest's passages."""
    window = min(encoder.manifest.window, encoder.manifest.passage_tokens)
    count = encoder.count_tokens
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
    return Split(documents, spans, texts)


def reembed(store: Store, encoder: Encoder, progress: Progress | None = None) -> int:
    """Replace a store's vectors by those of another encoder. Returns the number of documents.

    Everything is encoded first and swapped in one transaction, so the store stays unchanged if this is
    interrupted. Users whose documents change meanwhile are encoded again. `progress` is called with the
    number of documents just done. Raises StoreUnavailable.
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
                for batch in batched(stored.documents):
                    passages = split_documents(encoder, batch)
                    vectors = encoder.encode_documents(passages.texts)
                    spool.add((user, stored.version, passages.encoded(vectors)))
                    done += len(batch)
                    if progress:
                        progress(len(batch))
            owed = store.swap_vectors(encoder.manifest, versions, spool)
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
