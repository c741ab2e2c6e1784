"""A small data set in LaMP's schema: four invented people, three questions for each of the seven tasks.

For tests and first use. All of it is hand-written, one TOML file per person: of each kind of text the first
ones make up the profile, and the last three are asked about. The records are the same on every machine.
"""

import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from training.tasks.lamp.schemas import SCHEMAS, TAGS, Item

_ASKED = 3
_KINDS = {1: "papers", 2: "movies", 3: "reviews", 4: "articles", 5: "papers", 6: "emails", 7: "tweets"}
_ASKS = {
    2: "Which tag does this movie relate to among the following tags? Just answer with the tag name without "
    f"further explanation. tags: [{', '.join(TAGS)}] description: ",
    3: "What is the score of the following review on a scale of 1 to 5? just answer with 1, 2, 3, 4, or 5 "
    "without further explanation. review: ",
    4: "Generate a headline for the following article: ",
    5: "Generate a title for the following abstract of a paper: ",
    6: "Generate a subject for the following email: ",
    7: "Paraphrase the following tweet without any explanation before or after it: ",
}
"""The instructions of the published inputs, which models see as they are."""


def records(number: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield each question of a task in the published schema, with its output, person by person."""
    fields = [name for name in SCHEMAS[number].item.model_fields if name not in Item.model_fields]
    for name, texts in _people().items():
        items = texts[_KINDS[number]]
        profile = [
            {
                "id": f"{name}-{number}-{position}",
                **dict(zip(fields, item, strict=False)),
                "date": f"{2019 + position // 2}-{1 + position % 12:02}-{10 + position:02}",
            }
            for position, item in enumerate(items[:-_ASKED])
        ]
        for position, item in enumerate(items[-_ASKED:]):
            input_, output = _asked(number, name, position, item)
            yield (
                {"id": f"{name}-{number}-q{position}", "input": input_, "profile": profile, "user_id": name},
                output,
            )


def _asked(number: int, name: str, position: int, item: Sequence[str]) -> tuple[str, str]:
    """The input and the output that are made of an item."""
    if number == 1:
        title, _, cited = item
        people = sorted(_people())
        other = _people()[people[(people.index(name) + 1) % len(people)]]
        titles = [cited, other["papers"][position - _ASKED][2]]
        right = (position + people.index(name)) % 2
        first, second = reversed(titles) if right else titles
        return (
            f'For an author who has written the paper with the title "{title}", which reference is related? '
            f'Just answer with [1] or [2] without explanation. [1]: "{first}" [2]: "{second}"',
            f"[{right + 1}]",
        )
    own, output = {
        5: (item[1], item[0]),
        7: (item[-1], item[0]),
    }.get(number, (item[0], item[1]))
    return _ASKS[number] + own, output


@cache
def _people() -> dict[str, dict[str, list[list[str]]]]:
    found = (file for file in files(__name__).iterdir() if file.name.endswith(".toml"))
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in sorted(found, key=lambda file: file.name)
    }
