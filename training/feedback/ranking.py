"""The initial ranking: the first documents of a person's profile for a question, by any retriever."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from index.documents import Passage
from training.evaluation.task import Item, Question
from training.tasks.lamp.data import Question as LampQuestion
from training.tasks.lamp.inputs import query_of

Keep = Callable[[Question], Awaitable[str]]
"""Stores a question's profile, and returns its user (KeptProfiles.keep)."""
Search = Callable[[str, str, int], Awaitable[Sequence[Passage]]]
"""Called with user, query and the number of documents; returns a passage of each document, best first."""


def query(question: Any) -> str:
    """The text that is searched for: the part of LaMP's inputs that is not a template, else the question."""
    if isinstance(question, LampQuestion):
        return query_of(int(question.category.removeprefix("LaMP_")), question.input)
    return str(question.question)


def first_documents(
    keep: Keep, search: Search, most: int | None
) -> Callable[[Question], Awaitable[Sequence[Item]]]:
    """A function that finds the first `most` documents for a question; None is the whole profile.

    Retrievers may find fewer. Documents come whole, not as the passages that were found, and with the texts
    of the data set, which may hold dates that a prompt leaves out.
    """

    async def ranked(question: Question) -> Sequence[Item]:
        if not question.profile:
            return ()
        items = {item.id: item for item in question.profile}
        found = await search(await keep(question), query(question), len(items) if most is None else most)
        return [items[passage.document_id] for passage in found]

    return ranked
