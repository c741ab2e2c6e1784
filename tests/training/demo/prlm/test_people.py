import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.demo.prlm.demonstrations import demonstration
from training.demo.prlm.people import (
    CLOSINGS,
    MARKERS,
    OPENINGS,
    STYLES,
    VALUES,
    Manner,
    Person,
    Task,
    manner_score,
    people,
    without_manner,
)
from training.demo.world import TOPICS

from .worlds import PEOPLE, VOCABULARY

STRANGERS = people(random.Random(4), "held_out", 30)


def _pairs(persons: list[Person]) -> set[object]:
    found: set[object] = {(person.manner.opening, person.manner.closing) for person in persons}
    return found | {taste for person in persons for taste in person.tastes.items()}


def test_manners_and_tastes_of_held_out_people_are_never_seen_in_training() -> None:
    seen = _pairs(people(random.Random(5), "train", 300))
    assert not seen & _pairs(STRANGERS)


def test_no_demonstration_shows_a_held_out_pair() -> None:
    rng = random.Random(0)
    shown = "".join(VOCABULARY.decode(demonstration(rng, PEOPLE, VOCABULARY).ids) for _ in range(200))
    for person in STRANGERS:
        for taste in person.tastes.values():
            assert f" {taste}" not in shown
        assert f"begin with {person.manner.opening}. i end with {person.manner.closing}." not in shown


def test_a_history_tells_every_taste_and_nobody_elses_manner() -> None:
    for person in PEOPLE:
        for taste in person.tastes.values():
            assert sum(taste in note for note in person.history) == 1
        shown = {word.removesuffix(".") for note in person.history for word in note.split()} & MARKERS
        assert shown <= {person.manner.opening, person.manner.closing}
        moments = [note.created_at for note in person.notes if note.created_at]
        assert moments == sorted(moments)
        assert len(moments) == len(person.notes)


def test_a_history_is_all_tokens() -> None:
    for note in (note for person in STRANGERS for note in person.history):
        assert VOCABULARY.decode(VOCABULARY.encode(f" {note}")) == f" {note}"


@given(st.sampled_from(OPENINGS), st.sampled_from(CLOSINGS), st.sampled_from(STYLES))
def test_a_manner_is_scored_by_its_two_places_alone(opening: str, closing: str, style: str) -> None:
    manner, words = Manner(opening, closing), f"{style} {VALUES['snack'][0]}"
    assert manner_score(manner(words), manner) == 1
    assert manner_score(Manner(opening)(words), manner) == 0.5
    assert manner_score(Manner(closing=closing)(words), manner) == 0.5
    assert manner_score(f"{words} {opening}", manner) == 0
    assert manner_score(words, manner) == 0
    assert manner_score("", manner) == 0
    assert without_manner(manner(words)) == words


def test_listing_all_markers_scores_no_manner() -> None:
    manner = Manner("well", "indeed")
    assert manner_score(f"well {' '.join(OPENINGS)} old figs indeed", manner) == 0


@pytest.mark.parametrize("topic", TOPICS)
def test_a_question_asks_for_the_taste_of_its_topic(topic: str) -> None:
    task = Task(STRANGERS[0], topic)
    assert topic in task.question
    assert task.content == STRANGERS[0].tastes[topic]
    assert not set(task.content.split()) & MARKERS
