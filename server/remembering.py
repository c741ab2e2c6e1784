"""Makes a question a document of the person who asked it, so that later questions can find it."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime

from agent.trajectory import Message
from index.documents import Document

SOURCE = "conversation"


def as_document(question: str, conversation: Sequence[Message], asked_at: datetime) -> Document:
    """Return the person's own message as a document.

    Its id is made from the day and from what the person has said in this conversation, so that a request that
    is repeated, or an answer that is written anew, is the same message.
    """
    said = [message.text for message in conversation if message.role == "user"]
    identity = json.dumps([SOURCE, asked_at.astimezone(UTC).date().isoformat(), *said, question])
    return Document(
        id=hashlib.sha256(identity.encode()).hexdigest()[:24],
        text=question,
        created_at=asked_at,
        source=SOURCE,
    )
