"""Embeds documents in bulk: for an import, or for a whole store that changes its encoder."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from index.documents import Document
from index.encoding.encoders import Encoder
from index.encoding.spool import Spool
from index.errors import UnknownUser
from index.ranking.profile import encoded_text
from index.storage.profiles import EncodedDocument, EncodedPassage
from index.storage.store import Store
from index.text.passages import split
from index.values import Progress

_BATCH = 1_024
"""Documents encoded at a time: enough to sort by length, few enough to hold in memory."""


def embedded(
    encoder: Encoder, documents: Iterable[Document], progress: Progress | None = None
) -> Iterator[list[EncodedDocument]]:
    """Split and encode documents in batches. `progress` is called with the number of documents just done."""
    source = iter(documents)
    while batch := list(islice(source, _BATCH)):
        yield _embed(encoder, batch, progress)


def reembed(store: Store, encoder: Encoder, progress: Progress | None = None) -> int:
    """Replace a store's vectors by those of another encoder. Returns the number of documents.

    Everything is encoded first and swapped in one transaction, so the store stays unchanged if this is
    interrupted. Users whose documents change meanwhile are encoded again. Raises StoreUnavailable.
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
                for batch in embedded(encoder, stored.documents, progress):
                    spool.add((user, stored.version, batch))
                    done += len(batch)
            owed = store.swap_vectors(encoder.manifest, versions, spool)
        return done


def _embed(
    encoder: Encoder, documents: Sequence[Document], progress: Progress | None
) -> list[EncodedDocument]:
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
    report = _per_document(progress, len(documents), len(texts)) if progress else None
    vectors = iter(encoder.encode_documents(texts, report).astype(np.float16))
    return [
        EncodedDocument(document, tuple(EncodedPassage(start, end, next(vectors)) for start, end in parts))
        for document, parts in zip(documents, spans, strict=True)
    ]


def _per_document(progress: Progress, documents: int, texts: int) -> Progress:
    """Convert progress in texts to progress in documents; a long document has several texts."""
    done = 0

    def report(more: int) -> None:
        nonlocal done
        before = done * documents // texts
        done += more
        progress(done * documents // texts - before)

    return report
