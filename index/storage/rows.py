"""A document as a row of the database, and back."""

import json
from datetime import datetime
from typing import Any

from index.documents import Document, iso
from index.storage.schema import owner


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
    # Stored documents were validated when they were put.
    return Document.model_construct(
        id=row.id,
        text=row.text,
        created_at=datetime.fromisoformat(row.created_at) if row.created_at else None,
        title=row.title,
        source=row.source,
        metadata=json.loads(row.metadata) if row.metadata else {},
    )
