"""A document as a row of the database, and back."""

import json
from datetime import datetime
from typing import Any, NamedTuple

from index.documents import Document, iso
from index.storage.schema import owner


class Record(NamedTuple):
    """A document as it is stored. It takes a fraction of a Document's memory, and of the time to make one."""

    position: int
    id: str
    text: str
    created_at: str | None
    title: str | None
    source: str | None
    metadata: str | None
    """JSON."""


def row_of(user: str, position: int, document: Document) -> dict[str, Any]:
    """The columns of a document, without its digest."""
    return owner(user) | {
        "id": document.id,
        "position": position,
        "text": document.text,
        "created_at": iso(document.created_at) if document.created_at else None,
        "title": document.title,
        "source": document.source,
        "metadata": json.dumps(document.metadata) if document.metadata else None,
    }


def document_of(row: Any) -> Document:
    """Make a document of a row, or of a Record; return one that is a document already."""
    if isinstance(row, Document):
        return row
    # Stored documents were validated when they were put.
    return Document.model_construct(
        id=row.id,
        text=row.text,
        created_at=moment_of(row.created_at),
        title=row.title,
        source=row.source,
        metadata=json.loads(row.metadata) if row.metadata else {},
    )


def moment_of(stored: str | datetime | None) -> datetime | None:
    """Return the time of a record or a document."""
    return datetime.fromisoformat(stored) if isinstance(stored, str) else stored
