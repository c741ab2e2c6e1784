"""Data sets and the profiles of those who ask in them, as measuring and training need them."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.cli.backend import Backend
    from training.lampqa.data import Question


def questions_of(
    dataset: str, categories: list[str], split: str, most: int | None
) -> "Callable[[], Iterator[Question]]":
    """What reads the data set, from its beginning, as often as it is called."""
    from itertools import islice

    from training.lampqa import data, sample

    wanted = {data.category_named(category) for category in categories} or set(data.CATEGORIES)

    def read() -> "Iterator[Question]":
        found: Iterator[Question]
        if dataset == "sample":
            found = (data.Question.model_validate(record) for record in sample.records())
        elif dataset == "lamp-qa":
            found = (question for name in sorted(wanted) for question in data.from_hub(name, split))
        else:
            # One of LaMP-QA's files may name its parts otherwise; for them, one category is what it is of.
            found = data.read(Path(dataset), category=next(iter(wanted)) if len(categories) == 1 else None)
        own = dataset not in ("sample", "lamp-qa") and not categories
        yield from islice((question for question in found if own or question.category in wanted), most)

    return read


class KeptProfiles:
    """Puts each profile into the store once, under a name made from what it holds."""

    def __init__(self, backend: "Backend") -> None:
        self._backend = backend
        self._kept: dict[str, asyncio.Task[None]] = {}

    async def keep(self, question: "Question") -> str:
        """The user that has this question's profile, from now on."""
        user = user_of(question)
        if user not in self._kept:
            self._kept[user] = asyncio.create_task(self._put(user, question))
        try:
            await self._kept[user]
        except Exception:
            self._kept.pop(user, None)
            raise
        return user

    async def _put(self, user: str, question: "Question") -> None:
        from index.documents import parse_document
        from index.errors import UnknownDocument, UnknownUser
        from server.client import ApiError

        items = question.profile
        try:
            # All of a profile is stored, or none of it.
            await self._backend.document(user, items[0].id)
        except (UnknownUser, UnknownDocument):
            pass
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            return
        documents = [parse_document({"id": item.id, "text": item.text}) for item in items]
        await self._backend.put(user, documents)


def user_of(question: "Question") -> str:
    """The user whose profile this question has, in a store that KeptProfiles has filled."""
    items = [[item.id, item.text] for item in question.profile]
    return f"lampqa-{hashlib.sha256(json.dumps(items).encode()).hexdigest()[:24]}"
