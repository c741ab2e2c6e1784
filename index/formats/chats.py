"""Makes documents of chat messages: one for each, so that an answer can cite it.

The text begins with the author, as in a transcript. The source is the chat, so that messages beside each
other serve as context.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

from index.documents import LABEL_CHARACTERS, Document
from index.errors import InvalidDocument
from index.formats.items import parsed
from index.formats.source import Options

ME = "Me"
"""Author of the owner's messages in exports that do not name them."""


def identity(app: str, *parts: str | int | None) -> str:
    """Return an id of 24 hexadecimal digits made from what identifies an item in its app."""
    return hashlib.sha256(json.dumps([app, *parts]).encode()).hexdigest()[:24]


class Occurrences:
    """Tells apart messages that nothing in the export tells apart, by counting them.

    Equal messages, of the same minute, stand near each other. It forgets those farther away than `most`
    distinct messages, so that a chat of any length fits into memory; equal ones that far apart are one.
    """

    def __init__(self, most: int = 2**15) -> None:
        self._most = most
        self._recent: dict[bytes, int] = {}
        self._older: dict[bytes, int] = {}

    def __call__(self, *parts: str | None) -> int:
        """Return how often these parts were counted before."""
        key = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).digest()
        before = self._recent.get(key, self._older.get(key, 0))
        self._recent[key] = before + 1
        if len(self._recent) >= self._most:
            self._older, self._recent = self._recent, {}
        return before


def message(
    document_id: str,
    text: str,
    *,
    author: str | None,
    when: datetime | None,
    source: str,
    number: int,
    title: str | None = None,
    **metadata: Any,
) -> Document | InvalidDocument:
    """Return the document of one message, or the error with its `number` in the file."""
    author = (author or "").strip()
    named = {"author": author} if author else {}
    return parsed(
        {
            "id": document_id,
            "text": f"{author}: {text}" if author else text,
            "created_at": when,
            "title": title and title[:LABEL_CHARACTERS],
            "source": source[:LABEL_CHARACTERS],
            "metadata": named | {key: value for key, value in metadata.items() if value},
        },
        number,
    )


def iso_time(value: Any, options: Options) -> datetime:
    """Read ISO 8601 as apps write it; without an offset, it is a time in the zone. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"not a time: {value!r:.60}")
    moment = datetime.fromisoformat(value.strip())
    return options.local(moment) if moment.tzinfo is None else moment
