"""The profiles of those who ask in a data set, as measuring and training need them."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.cli.backend import Backend
    from training.tasks.lampqa.data import Question


class KeptProfiles:
    """Puts each profile into the store once, under a name made from what it holds."""

    def __init__(self, backend: "Backend") -> None:
        self._backend = backend
        self._kept: dict[str, asyncio.Task[None]] = {}

    async def keep(self, question: "Question") -> str:
        """The user that has this question's profile, from now on."""
        from training.tasks.datasets import user_of

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
