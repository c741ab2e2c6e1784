"""Digests of stored documents with their passages, by which a check finds what has changed on the disk."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from struct import pack
from typing import Any

_FIELDS = ("id", "text", "created_at", "title", "source", "metadata")


def digest(row: Mapping[str, Any], passages: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Return 16 bytes of BLAKE2b of a document's row and its passages (start, end, vector), in any order."""
    content = hashlib.blake2b(json.dumps([row[field] for field in _FIELDS]).encode(), digest_size=16)
    for start, end, vector in sorted(passages):
        content.update(pack(">III", start, end, len(vector)))
        content.update(vector)
    return content.digest()
