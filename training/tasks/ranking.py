"""Writes a data set with sorted profiles, in the format in which it is published.

Each entry is moved as a whole, so that ids, texts, labels and categories stay together.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training.evaluation import task
from training.evaluation.profiles import NOBODY, KeptProfiles, ProfileStore
from training.folder import replacing
from training.tasks.lamp import data as lamp
from training.tasks.lamp.files import write_outputs
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.schemas import number_of
from training.tasks.lamp.sources import outputs_beside
from training.tasks.lampqa import data as lampqa

Question = lamp.Question | lampqa.Question
Search = Callable[[str, str, int], Awaitable[Sequence[str]]]
"""The ids of at most so many documents of a user for a query, best first."""


async def rank_profiles(
    questions: Iterable[Question],
    store: ProfileStore,
    search: Search,
    out: Path,
    ranked: Callable[[], None] = lambda: None,
) -> int:
    """Write the questions, each with its profile sorted, as one JSON list. Returns their number.

    Entries that are not found, and LaMP's without any text, follow in their old order. For LaMP, the known
    references are written beside a file whose name says `questions`. `ranked` is called for each question.
    Raises what the store and the search raise, and leaves no file then.
    """
    profiles = KeptProfiles(store)
    outputs: list[tuple[str, str]] = []
    number = count = 0
    with replacing(out) as file:
        file.write("[")
        for question in questions:
            user = await profiles.keep(question)
            found: Sequence[str] = []
            if user != NOBODY:
                found = await search(user, query_in(question), len(question.profile))
            record = _record(question, sorted_by(question.profile, found))
            file.write((",\n" if count else "\n") + json.dumps(record, ensure_ascii=False))
            count += 1
            if isinstance(question, lamp.Question):
                number = number_of(question.category)
                outputs += [(question.id, question.output)] if question.output else []
            ranked()
        file.write("\n]\n")
    beside = outputs_beside(out)
    if outputs and beside:
        write_outputs(beside, number, outputs)
    return count


def sorted_by(profile: Sequence[Any], ids: Iterable[str]) -> list[Any]:
    """The profile's entries in the order of these ids, then the others in their old order.

    Raises ValueError for an id that no entry has.
    """
    by_id: dict[str, list[task.Item]] = {}
    for item in profile:
        by_id.setdefault(item.id, []).append(item)
    found: list[task.Item] = []
    for id_ in ids:
        if id_ not in by_id:
            raise ValueError(f"a search found {id_!r}, which is not in the profile")
        found += by_id.pop(id_)
    return found + [item for items in by_id.values() for item in items]


def query_in(question: task.Question) -> str:
    """The query of a question, as its task's answers search for it."""
    if isinstance(question, lamp.Question):
        return query_of(number_of(question.category), question.input)
    return question.question


def _record(question: Question, profile: Sequence[Any]) -> Mapping[str, Any]:
    if isinstance(question, lamp.Question):
        return lamp.record_of(question, [*profile, *question.blank])
    return question.model_copy(update={"profile": tuple(profile)}).model_dump(mode="json")
