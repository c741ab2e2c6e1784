"""How answers change with the thresholds, on a history of two notes."""

from dataclasses import asdict
from datetime import UTC, datetime

from rich.progress import Progress

from agent.policies.quoting import CHOSEN, Thresholds
from benchmarks import thresholds
from benchmarks.answers import answers_of
from benchmarks.evidence import Asked, History, profiles_of
from index.documents import Document
from tests.benchmarks.test_answers import TODAY
from tests.index.fakes import HashEncoder

NOTES = [
    Document(id="a", text="I drink green tea in the morning.", created_at=datetime(2024, 5, 1, tzinfo=UTC)),
    Document(id="b", text="The tea was cold.", created_at=datetime(2024, 5, 2, tzinfo=UTC)),
]
HISTORY = History("ana", NOTES, [Asked("Which green tea in the morning?", ("a",), TODAY)], 0, 0)
NO_OTHER = Thresholds(telling=0.0)
"""Quotes the best sentence alone."""


def test_each_threshold_is_once_lower_and_once_higher() -> None:
    found = dict(thresholds.varied())
    assert len(found) == 2 * len(asdict(CHOSEN))
    lower = found["telling 1.25 → 0.938"]
    assert lower == Thresholds(telling=0.9375)
    for changed in found.values():
        own, chosen = asdict(changed), asdict(CHOSEN)
        [name] = [name for name in chosen if own[name] != chosen[name]]
        assert round(own[name] / chosen[name], 9) in thresholds.FACTORS


def test_the_policy_quotes_by_the_thresholds_that_it_is_given() -> None:
    with profiles_of([HISTORY], HashEncoder()) as profiles:
        [alone] = answers_of(profiles, HISTORY, NO_OTHER)
        [all_of_them] = answers_of(profiles, HISTORY, Thresholds(telling=100.0))
        [declined] = answers_of(profiles, HISTORY, Thresholds(certain=2.0))
    assert (alone.precision, alone.recall) == (1, 1)
    assert (all_of_them.precision, all_of_them.recall) == (0.5, 1)
    assert declined.words != alone.words


def test_a_table_has_a_row_for_each_change() -> None:
    with Progress(disable=True) as progress:
        found = thresholds.sensitivity("own", [HISTORY], HashEncoder(), progress)
    table = thresholds.table_of("own", 1, found)
    assert table.row_count == len(found) == 2 * len(asdict(CHOSEN))
