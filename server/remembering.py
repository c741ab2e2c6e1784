"""Makes a question a document of the person who asked it, so that later questions can find it."""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from agent.trajectory import Message
from index.documents import Document
from index.errors import ProfileError, WouldReplace
from index.values import PutReport
from server.answers import AnswerRecord
from server.queue import Busy

_log = logging.getLogger(__name__)

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


class Put(Protocol):
    """Stores documents. See Service.put."""

    async def __call__(self, user: str, documents: Sequence[Document], *, replace: bool) -> PutReport: ...


async def remembered(put: Put, message: Document, record: AnswerRecord) -> AnswerRecord:
    """Store the person's own message. The record says under which id, or why it is not stored."""
    answer = record.trajectory.answer
    if not (answer and answer.text):
        return replace(record, not_remembered="there is no answer")
    try:
        await put(record.user, [message], replace=False)
    except WouldReplace:
        pass  # The same message, at an earlier time of the day.
    except (ProfileError, Busy) as error:
        _log.error("a question is not remembered: %s", error)
        return replace(record, not_remembered=str(error))
    except Exception:
        # As with an answer that cannot be stored: withholding it would help nobody.
        _log.exception("a question is not remembered")
        return replace(record, not_remembered="an error of the server")
    return replace(record, remembered=message.id)
