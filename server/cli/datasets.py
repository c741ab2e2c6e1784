"""Data sets and the profiles of those who ask in them, as measuring and training need them."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining

if TYPE_CHECKING:
    from server.cli.backend import Backend
    from training.tasks.lampqa.data import Question, Skip

    Questions = Callable[[], Iterator[Question]]

Part = Literal["train", "validation"]


def questions_of(
    dataset: str, categories: list[str], split: str, most: int | None, skip: "Skip | None" = None
) -> "Questions":
    """What reads the data set, from its beginning, as often as it is called.

    `skip` is told of each record that does not fit; without it, such a record is an error.
    """
    from itertools import islice

    from training.tasks import sample
    from training.tasks.lampqa import data

    wanted = {data.category_named(category) for category in categories} or set(data.CATEGORIES)

    def read() -> "Iterator[Question]":
        found: Iterator[Question]
        if dataset == "sample":
            found = (data.Question.model_validate(record) for record in sample.records())
        elif dataset == "lamp-qa":
            found = (
                question for name in sorted(wanted) for question in data.from_hub(name, split, skip=skip)
            )
        else:
            # One of LaMP-QA's files may name its parts otherwise; for them, one category is what it is of.
            name = next(iter(wanted)) if len(categories) == 1 else None
            found = data.read(Path(dataset), category=name, skip=skip)
        own = dataset not in ("sample", "lamp-qa") and not categories
        yield from islice((question for question in found if own or question.category in wanted), most)

    return read


def parts_of(
    dataset: str, validation: Path | None, most: int | None, seed: int, skip: "Skip | None" = None
) -> "tuple[dict[Part, Questions], str]":
    """What is trained on and what validates, and in words how they were told apart.

    LaMP-QA has its own split; of other data, the questions of a tenth of the profiles validate.
    """
    from itertools import islice

    from training.planner.data import held_out

    def part(
        questions: "Questions", keep: "Callable[[Question], bool]" = lambda question: True
    ) -> "Questions":
        return lambda: islice(filter(keep, questions()), most)

    every = questions_of(dataset, [], "train", None, skip)
    if validation is not None or dataset == "lamp-qa":
        named = str(validation or dataset)
        other = questions_of(named, [], "validation", None, skip)
        split = named if validation else "LaMP-QA's own split"
        return {"train": part(every), "validation": part(other)}, split
    people = {user_of(question) for question in every()}
    held = held_out(people, seed)
    return {
        "train": part(every, lambda question: user_of(question) not in held),
        "validation": part(every, lambda question: user_of(question) in held),
    }, f"all of {len(held)} of the {len(people)} profiles, drawn with seed {seed}"


@contextmanager
def bar(name: str, total: int) -> "Iterator[tuple[Progress, Any]]":
    """A bar on stderr, and only on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(
        *columns, TimeElapsedColumn(), Remaining(), console=console, disable=not console.is_terminal
    ) as progress:
        yield progress, progress.add_task("", total=total)


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
