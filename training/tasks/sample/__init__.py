"""A small data set in LaMP-QA's schema: 20 invented people, three questions each, one of each category.

For tests and first use. Questions and the notes they need are hand-written, one TOML file per person; the
everyday notes between them are assembled from `everyday.toml` by a seeded generator. The records are the same
on every machine.

    python -m training.tasks.sample [--out FILE]
"""

from collections.abc import Iterator, Mapping
from typing import Any

from training.tasks.lampqa.data import Question
from training.tasks.sample.material import CATEGORIES, people
from training.tasks.sample.profiles import profile


def records() -> Iterator[dict[str, Any]]:
    """Yield one record per question, person by person: `id`, `question`, `category`, `narrative`,
    `rubric_aspects` (`aspect`, `reason`, `evidence`: a sentence of the narrative) and `profile` (`id`,
    `text`, `category`). A person's records share one profile."""
    for person in people():
        items = [
            {"id": item.id, "text": item.note.text, "category": CATEGORIES[item.note.category]}
            for item in profile(person)
        ]
        for question in person.questions:
            yield {
                "id": question.id,
                "question": question.text,
                "category": CATEGORIES[question.category],
                "narrative": " ".join(question.narrative),
                "rubric_aspects": [
                    {"aspect": aspect.aspect, "reason": aspect.reason, "evidence": aspect.evidence}
                    for aspect in question.aspects
                ],
                "profile": [dict(item) for item in items],
            }


def questions() -> Iterator[Question]:
    """The records as questions of LaMP-QA."""
    return map(Question.model_validate, records())


def support() -> Mapping[tuple[str, int], tuple[str, ...]]:
    """The ids of the notes that an answer needs, by question id and number of the aspect, from 0.

    They are not part of the records. Empty if no note concerns the aspect.
    """
    found: dict[tuple[str, int], tuple[str, ...]] = {}
    for person in people():
        ids = {item.note.key: item.id for item in profile(person) if item.note.key}
        for question in person.questions:
            for number, aspect in enumerate(question.aspects):
                found[question.id, number] = tuple(ids[key] for key in aspect.notes)
    return found
