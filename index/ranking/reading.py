"""Reads one document for the rankings, once when it is put; the store keeps the result beside it."""

import hashlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from index.documents import Document, encoded_text
from index.ranking.duplicates import normalized
from index.ranking.people import Turn, turns
from index.text.words import split

VERSION = 1
"""Raise it with every change to what words.split, people.turns or duplicates.normalized return, or to the
format. A stored reading of another version is ignored, and the document is read again."""
_HEAD = f"{VERSION} {unicodedata.unidata_version}\n".encode()
"""Begins every stored reading: what a letter is depends on the version of Unicode, too."""


_FIELD, _PASSAGE, _NAME = "\x1d", "\n", "\t"
"""Separate the parts of a stored reading, the passages or turns in a part, and the names in a turn. No
word and no name has any of them."""
_NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """The words, copies and people of a document and its passages, in no particular language."""

    words: list[str]
    """The words of each passage with its title (see words.split), joined by spaces, shape (passages,)."""
    hashes: NDArray[np.int64]
    """Hash of each passage's normalized text, shape (passages,)."""
    authors: list[str]
    """Authors and speakers of each document as `names_in` reads them, shape (documents,)."""
    turns: list[str]
    """Turns of each document as `turns_in` reads them, shape (documents,)."""


def read(document: Document, spans: Sequence[tuple[int, int]]) -> bytes:
    """Read a document with its passages, as (start, end); return what is stored with it."""
    words = words_of(document, spans)
    hashes = np.array([hash_of(document.text[start:end]) for start, end in spans], ">i8")
    said = list(turns(document))
    # From the metadata, and from the beginnings of lines in a transcript ("Ana: see you there").
    authors = {*(turn.speaker for turn in said), *([document.author] if document.author else [])}
    parts = (
        _PASSAGE.join(words),
        hashes.tobytes().hex(),
        _NAME.join(sorted({_named(author) for author in authors})),
        _PASSAGE.join(_NAME.join(map(_named, (turn.speaker, *sorted(turn.names)))) for turn in said),
    )
    return _HEAD + _FIELD.join(parts).encode()


def found_in(stored: Sequence[bytes | None], again: Callable[[int], bytes]) -> Found:
    """Return what `read` returned for documents, all together.

    Where that is missing, or of another version, `again` reads the document with this index.
    """
    known = [
        reading if reading is not None and reading.startswith(_HEAD) else again(index)
        for index, reading in enumerate(stored)
    ]
    # One string is split far faster than many.
    joined = _FIELD.encode().join([reading[len(_HEAD) :] for reading in known]).decode()
    parts = joined.split(_FIELD) if known else []
    hashes = bytes.fromhex("".join(parts[1::4]))
    # A document has passages if it has hashes; a passage may be without words.
    words = [part for part, own in zip(parts[::4], parts[1::4], strict=True) if own]
    return Found(
        _PASSAGE.join(words).split(_PASSAGE) if words else [],
        np.frombuffer(hashes, ">i8").astype(np.int64),
        parts[2::4],
        parts[3::4],
    )


def names_in(authors: str) -> frozenset[str]:
    """Return authors and speakers in lower case."""
    return frozenset(authors.split(_NAME)) if authors else frozenset()


def turns_in(said: str, source: int) -> Iterator[Turn]:
    """Yield the turns of a document, each with the names that may address somebody. `source` is its code."""
    for line in said.split(_PASSAGE) if said else ():
        speaker, *names = line.split(_NAME)
        yield Turn(source, speaker, frozenset(names) if names else _NOBODY)


def _named(name: str) -> str:
    """Return a name in lower case, without tabs and ends of lines."""
    return " ".join(name.lower().split())


def words_of(document: Document, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Return the words of each passage, as a reading has them."""
    texts = (encoded_text(document, document.text[start:end]) for start, end in spans)
    return [" ".join(split(text)) for text in texts]


def hash_of(text: str) -> int:
    """Return 64 bits of BLAKE2b of a normalized text, the same in every process."""
    content = hashlib.blake2b(normalized(text).encode(), digest_size=8)
    return int.from_bytes(content.digest(), signed=True)
