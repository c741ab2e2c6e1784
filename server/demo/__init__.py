"""The demo: five invented people, and questions that their notes answer."""

import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from index.documents import Document, parse_document
from server.service import Service

_FOLDER = files("server.demo")
_QUESTIONS = "questions.ndjson"


@dataclass(frozen=True)
class DemoQuestion:
    """A question, the documents that together answer it, and a good answer."""

    user: str
    question: str
    searches: int
    """Searches needed: more than one if a line leads to another."""
    evidence: tuple[str, ...]
    answer: str


def users() -> list[str]:
    names = (entry.name for entry in _FOLDER.iterdir())
    return sorted(
        name.removesuffix(".ndjson") for name in names if name.endswith(".ndjson") and name != _QUESTIONS
    )


def documents(user: str) -> list[Document]:
    """Documents of one of `users()`."""
    return [parse_document(item) for item in _read(f"{user}.ndjson")]


def questions() -> list[DemoQuestion]:
    return [
        DemoQuestion(
            user=item["user"],
            question=item["question"],
            searches=item["searches"],
            evidence=tuple(item["evidence"]),
            answer=item["answer"],
        )
        for item in _read(_QUESTIONS)
    ]


async def load(service: Service) -> list[str]:
    """Put the demo profiles into an empty store. Returns the users that were added."""
    if await service.run(service.profiles.store.users):
        return []
    for user in users():
        await service.put(user, documents(user))
    return users()


def _read(name: str) -> list[dict[str, Any]]:
    text = (_FOLDER / name).read_text("utf-8")
    return [json.loads(line) for line in text.split("\n") if line.strip()]
