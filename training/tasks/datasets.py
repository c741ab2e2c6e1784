"""Data sets by name or file, and their parts for training and validation."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from training.tasks import sample
from training.tasks.lampqa import data
from training.tasks.lampqa.data import DataError, Question, Skip

Questions = Callable[[], Iterator[Question]]
Part = Literal["train", "validation"]
_VALIDATION = 0.1


def questions_of(
    dataset: str, categories: list[str], split: str, most: int | None, skip: Skip | None = None
) -> Questions:
    """Return a function that reads the data set from its beginning, as often as it is called.

    `skip` is told of each record that does not fit; without it, such a record is an error.
    """
    wanted = {data.category_named(category) for category in categories} or set(data.CATEGORIES)

    def read() -> Iterator[Question]:
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
    dataset: str, validation: Path | None, most: int | None, seed: int, skip: Skip | None = None
) -> tuple[dict[Part, Questions], str]:
    """What is trained on and what validates, and in words how they were told apart.

    LaMP-QA has its own split; of other data, the questions of a tenth of the profiles validate.
    """

    def part(questions: Questions, keep: Callable[[Question], bool] = lambda question: True) -> Questions:
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


def user_of(question: Question) -> str:
    """The user whose profile this question has, in a store that KeptProfiles has filled."""
    items = [[item.id, item.text] for item in question.profile]
    return f"lampqa-{hashlib.sha256(json.dumps(items).encode()).hexdigest()[:24]}"


def held_out(people: Iterable[str], seed: int) -> frozenset[str]:
    """A tenth of the people, at least one, to validate with. Raises DataError where there is only one."""
    ordered = sorted(set(people), key=lambda person: hashlib.sha256(f"{seed} {person}".encode()).digest())
    if len(ordered) < 2:
        raise DataError(
            "all questions have the same profile, so no other person is left to validate with: "
            "give --validation FILE"
        )
    return frozenset(ordered[: max(1, round(len(ordered) * _VALIDATION))])
