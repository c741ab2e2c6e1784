"""Reads histories with questions whose evidence is known, to measure what a search finds of it.

Two shapes, of one person or a list: LoCoMo's, with a `conversation` and `qa`, and
`{user, documents: [document], questions: [{question, gold: [document id]}]}`. Of the second shape, a question
may have a `type` and the time when it was asked: a day (`asked_at`) or a month (`ask_time`), of which the
last day counts. Where nothing says when, it was asked on the day of the last document. `session` is the
document in which it was asked: it is never evidence.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from index.documents import Document, parse_document
from index.encoding.encoders import Encoder
from index.errors import InvalidDocument
from index.formats import read_locomo
from index.profiles import Profiles
from index.ranking.retrievers import Retrievers
from index.storage.location import file_url
from index.storage.store import Store

CATEGORIES = (1, 2, 3, 4)
"""LoCoMo's categories that count: multi-hop, temporal, open-domain, single-hop."""
ADVERSARIAL = 5
"""LoCoMo's category of questions about what somebody else did."""


class UnusableData(ValueError):
    """A file is not in one of the shapes; the message names the file and the place."""


@dataclass(frozen=True)
class Asked:
    """A question and the ids of the documents that hold its evidence, at least one."""

    text: str
    evidence: tuple[str, ...]
    today: date
    """Local day on which it was asked."""
    type: str = ""
    session: str | None = None
    """Document in which it was asked."""


@dataclass(frozen=True)
class History:
    """One person's documents, and the questions that count."""

    user: str
    documents: Sequence[Document]
    questions: Sequence[Asked]
    without_evidence: int
    """Questions that were left out because they name no evidence."""
    invalid: int
    """Documents that were left out because they do not fit the schema: LoCoMo has turns without words."""
    unanswerable: Sequence[str] = ()
    """Questions that the history does not answer: those of LoCoMo's category 5."""


def read_histories(file: Path) -> list[History]:
    """Raises UnusableData."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnusableData(f"{file} cannot be read: {error}") from None
    histories = []
    for number, item in enumerate(found if isinstance(found, list) else [found], 1):
        try:
            histories.append(_locomo(item, number) if "conversation" in item else _history(item))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else error
            raise UnusableData(f"{file}, person {number}: {why}") from None
    users = [history.user for history in histories]
    if len(set(users)) < len(users):
        raise UnusableData(f"{file}: two people have the same name")
    return histories


def counted(sample: Mapping[str, Any], ids: Collection[str]) -> list[tuple[str, int, list[str]]]:
    """(question, category, evidence) of every question of a LoCoMo conversation that counts."""
    questions = [(q["question"], int(q.get("category", 4)), _turns(q, ids)) for q in sample["qa"]]
    return [
        (text, category, turns) for text, category, turns in questions if category in CATEGORIES and turns
    ]


def _locomo(sample: Mapping[str, Any], number: int) -> History:
    items = list(read_locomo(sample))
    documents = [item for item in items if isinstance(item, Document)]
    ids = {document.id for document in documents}
    today = last_day(documents)
    questions = [
        Asked(text, tuple(evidence), today, f"category {category}")
        for text, category, evidence in counted(sample, ids)
    ]
    categories = [int(question.get("category", 4)) for question in sample["qa"]]
    return History(
        str(sample.get("sample_id", f"conversation-{number}")),
        documents,
        questions,
        sum(category in CATEGORIES for category in categories) - len(questions),
        sum(isinstance(item, InvalidDocument) for item in items),
        [
            q["question"]
            for q, category in zip(sample["qa"], categories, strict=True)
            if category == ADVERSARIAL
        ],
    )


def _history(item: Mapping[str, Any]) -> History:
    documents = [parse_document(document) for document in item["documents"]]
    ids = {document.id for document in documents}
    last = last_day(documents)
    asked = []
    for question in item["questions"]:
        evidence = tuple(dict.fromkeys(question["gold"]))
        unknown = [document_id for document_id in evidence if document_id not in ids]
        if unknown:
            raise ValueError(f"no document has the id {unknown[0]!r}, evidence of {question['question']!r}")
        when = question.get("asked_at") or question.get("ask_time")
        asked.append(
            Asked(
                question["question"],
                evidence,
                _day(when) if when else last,
                question.get("type", ""),
                question.get("session"),
            )
        )
    questions = [question for question in asked if question.evidence]
    return History(item["user"], documents, questions, len(asked) - len(questions), 0)


def last_day(documents: Sequence[Document]) -> date:
    """The day of the last document: questions without a day of their own are asked on it."""
    return max(
        (document.created_at.date() for document in documents if document.created_at), default=date.max
    )


def _day(text: str) -> date:
    """Return the day of a time, or the last day of a month like 2025-05. Raises ValueError."""
    if len(text) > len("2025-05"):
        return date.fromisoformat(text[:10])
    first = date.fromisoformat(f"{text}-01")
    return (first + timedelta(31)).replace(day=1) - timedelta(1)


def _turns(question: Mapping[str, Any], ids: Collection[str]) -> list[str]:
    """Ids of the turns that answer the question. An entry may list several ("D8:6; D9:17")."""
    found: list[str] = []
    for entry in map(str, question.get("evidence") or []):
        pieces = [entry] if entry in ids else re.split(r"[;,\s]+", entry)
        for piece in pieces:
            # Annotators' typos: a leading zero ("D30:05") or an extra colon ("D:11:26").
            slip = re.fullmatch(r"D:?(\d+):(\d+)", piece)
            if piece in ids:
                found.append(piece)
            elif slip:
                found.append(f"D{int(slip[1])}:{int(slip[2])}")
    return list(dict.fromkeys(found))


@contextmanager
def profiles_of(
    histories: Iterable[History],
    encoder: Encoder,
    retrievers: Retrievers | None = None,
    spaces: Mapping[str, Encoder] | None = None,
) -> Iterator[Profiles]:
    """Store the histories where they are gone at the end. For `spaces` see Profiles."""
    with TemporaryDirectory() as folder:
        manifests = {name: other.manifest for name, other in (spaces or {}).items()}
        store = Store(file_url(Path(folder)), encoder.manifest, manifests)
        try:
            profiles = Profiles(store, encoder, retrievers=retrievers, spaces=spaces)
            for history in histories:
                profiles.put(history.user, history.documents)
            yield profiles
        finally:
            store.close()
