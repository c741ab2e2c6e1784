"""Stores the profiles of those who ask in a data set, as measuring and training need them."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Protocol

from index.documents import Document, parse_document
from index.errors import UnknownDocument, UnknownUser
from training.errors import TrainingError
from training.evaluation.task import Item, Question

UNDATED = date(2024, 1, 1)
"""The day on which questions are asked whose profile has no dates, like LaMP-QA's.

Prompts state a day, and those of training and measuring have to be the same whenever they are made.
"""


class ProfileUnavailable(TrainingError):
    """A server cannot store or look up a profile at the moment."""


class ProfileStore(Protocol):
    """Holds documents by user."""

    async def document(self, user: str, document_id: str, /) -> Document:
        """Raises UnknownUser, UnknownDocument, ProfileUnavailable."""
        ...

    async def put(self, user: str, documents: Sequence[Document], /) -> Any:
        """Store all of the documents, or none. Raises InvalidDocument, ProfileUnavailable."""
        ...


class KeptProfiles:
    """Stores each profile once, under a user name made from its content."""

    def __init__(self, store: ProfileStore) -> None:
        self._store = store
        self._kept: dict[str, asyncio.Task[None]] = {}

    async def keep(self, question: Question) -> str:
        """Store the question's profile unless it is stored already. Returns the user who has it.

        Nothing is stored of an empty profile, so its user is unknown. Raises what the store raises.
        """
        user = user_of(question)
        if user not in self._kept:
            self._kept[user] = asyncio.create_task(self._put(user, question))
        try:
            await self._kept[user]
        except Exception:
            self._kept.pop(user, None)
            raise
        return user

    async def _put(self, user: str, question: Question) -> None:
        if not question.profile:
            return
        try:
            # A profile is stored as a whole, so its first document stands for all of it.
            await self._store.document(user, question.profile[0].id)
        except (UnknownUser, UnknownDocument):
            await self._store.put(user, documents_of(question.profile))


def documents_of(profile: Sequence[Item]) -> list[Document]:
    """The documents of a profile, as they are stored: of an item with a `document`, those fields.

    Raises InvalidDocument, with the item's position from 0 as its line, if a store would not take one.
    """
    return [
        parse_document(_document(item) or {"id": item.id, "text": item.text}, position)
        for position, item in enumerate(profile)
    ]


def day_of(profile: Sequence[Item]) -> date:
    """The day on which the person of a profile asks: the local day of the last document; see UNDATED.

    Raises InvalidDocument, as `documents_of` does.
    """
    if not any("created_at" in (_document(item) or ()) for item in profile):
        return UNDATED
    times = [document.created_at for document in documents_of(profile)]
    return max((moment.date() for moment in times if moment), default=UNDATED)


def user_of(question: Question) -> str:
    """The user who has this question's profile in a store that KeptProfiles has filled."""
    return _name(question.profile)


def person_of(question: Question) -> str:
    """Identifies who asks: as published or, without that, by the profile."""
    return getattr(question, "user_id", None) or user_of(question)


def _name(profile: Sequence[Item]) -> str:
    items = [_document(item) or [item.id, item.text] for item in profile]
    # The prefix is older than other tasks; stores that were filled with it stay valid.
    return f"lampqa-{hashlib.sha256(json.dumps(items).encode()).hexdigest()[:24]}"


def _document(item: Item) -> Mapping[str, Any] | None:
    """The fields of the document that is stored for an item of which more than id and text is stored."""
    return getattr(item, "document", None)


NOBODY = _name(())
"""The user of every empty profile. No store has one."""
