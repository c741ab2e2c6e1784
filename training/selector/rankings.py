"""Ranks whole profiles by every member of a pool, for the predictors that see only a ranking's scores."""

from collections.abc import Awaitable, Callable, Iterable, Sequence

from index.documents import Passage
from index.text.words import terms
from training.evaluation.task import Q
from training.selector.prediction import Retrieved
from training.tasks.ranking import query_in

Search = Callable[[str, str, int, str], Awaitable[Sequence[Passage]]]
"""Called as search(user, query, k, retriever)."""


async def rankings(
    questions: Iterable[Q],
    members: Sequence[str],
    keep: Callable[[Q], Awaitable[str]],
    search: Search,
    finished: Callable[[int], None] = lambda count: None,
) -> dict[str, list[Retrieved]]:
    """Rankings of every question by every member, in the members' order, by the question's id.

    The query is the question or, for LaMP, the part of its input that is not the template.

    `keep` stores a question's profile and returns its user. `finished` is called after each question.
    """
    found = {}
    for question in questions:
        query, documents = query_in(question), len(question.profile)
        ranked: list[Sequence[Passage]] = [[] for _ in members]
        if documents:
            user = await keep(question)
            ranked = [await search(user, query, documents, member) for member in members]
        words = len(terms(query))
        found[question.id] = [
            Retrieved(tuple(passage.score for passage in passages), documents, words) for passages in ranked
        ]
        finished(1)
    return found
