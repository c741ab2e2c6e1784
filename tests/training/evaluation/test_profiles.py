from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest

from index.errors import InvalidDocument
from training.evaluation.profiles import UNDATED, day_of
from training.tasks.lamp.data import Entry
from training.tasks.lampqa.data import Item


@dataclass(frozen=True)
class Dated:
    id: str
    created_at: str | None

    text = "A walk."

    @property
    def document(self) -> dict[str, Any]:
        dated = {"created_at": self.created_at} if self.created_at else {}
        return {"id": self.id, "text": self.text, **dated}


def test_a_person_asks_on_the_local_day_of_the_last_document() -> None:
    profile = [
        Dated("a", "2024-05-01T23:30:00-07:00"),
        Dated("b", "2024-05-02T01:00:00+09:00"),
        Dated("c", None),
    ]
    assert day_of(profile) == date(2024, 5, 2)
    assert day_of(profile[:1]) == date(2024, 5, 1), "in UTC it is the day after"


def test_a_published_day_is_that_of_the_entry() -> None:
    assert day_of([Entry("1", "On tea.", {}, "2019-03"), Entry("2", "On rye.", {})]) == date(2019, 3, 1)


@pytest.mark.parametrize("profile", [(), (Item(id="d", text="I like tea."),), (Dated("a", None),)])
def test_a_profile_without_dates_is_asked_on_the_same_day_always(profile: tuple[Item, ...]) -> None:
    assert day_of(profile) == UNDATED


def test_a_document_that_no_store_would_take_is_named() -> None:
    with pytest.raises(InvalidDocument) as error:
        day_of([Dated("a", "2024-05-01"), Dated("b", "yesterday")])
    assert error.value.line == 1
