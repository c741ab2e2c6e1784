"""What the rankings need of one document, read once when it is put and kept beside it in the store."""

import hashlib
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from index.documents import Document, encoded_text
from index.ranking.duplicates import normalized
from index.ranking.people import Turn, turns
from index.text.words import split

VERSION = 1
"""Raise it with every change to what words.split, people.turns or duplicates.normalized return, or to the
format. A stored reading of another version is ignored, and the document is read again."""
_HEAD = f"{VERSION} {unicodedata.unidata_version}\n".encode()
"""Begins every stored reading: what a letter is depends on the version of Unicode, too."""


@dataclass(frozen=True)
class Reading:
    """What the passages of a document say to the rankings, in no particular language."""

    words: tuple[str, ...]
    """The words of each passage with its title (see words.split), joined by spaces."""
    hashes: tuple[int, ...]
    """Hash of each passage's normalized text, 64 bits."""
    turns: tuple[Turn, ...]
    """Turns of a conversation, each with the names that may address somebody."""

    def to_bytes(self) -> bytes:
        spoken = [[turn.speaker, *sorted(turn.names)] for turn in self.turns]
        return _HEAD + json.dumps([self.words, self.hashes, spoken], ensure_ascii=False).encode()


def read(document: Document, spans: Sequence[tuple[int, int]]) -> Reading:
    """Read a document with its passages, as (start, end)."""
    return Reading(
        words_of(document, spans),
        tuple(hash_of(document.text[start:end]) for start, end in spans),
        tuple(turns(document)),
    )


def words_of(document: Document, spans: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """Return the words of each passage, as a reading has them."""
    texts = (encoded_text(document, document.text[start:end]) for start, end in spans)
    return tuple(" ".join(split(text)) for text in texts)


def stored(reading: bytes | None, document: Document, spans: Sequence[tuple[int, int]]) -> Reading:
    """Return the reading that `to_bytes` made of the document, or read it if that is of another version."""
    if reading is None or not reading.startswith(_HEAD):
        return read(document, spans)
    words, hashes, spoken = json.loads(reading[len(_HEAD) :])
    source = document.source
    said = tuple(Turn(source, speaker, frozenset(names)) for speaker, *names in spoken)
    return Reading(tuple(words), tuple(hashes), said)


def hash_of(text: str) -> int:
    """Return 64 bits of BLAKE2b of a normalized text, the same in every process."""
    content = hashlib.blake2b(normalized(text).encode(), digest_size=8)
    return int.from_bytes(content.digest(), signed=True)


def authors(document: Document, turns: Sequence[Turn]) -> frozenset[str]:
    """Authors and speakers in lower case: from the metadata, and from the beginnings of lines in a
    transcript ("Ana: see you there")."""
    own = document.author
    return frozenset([*(turn.speaker for turn in turns), *([own.lower()] if own else [])])
