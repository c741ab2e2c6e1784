"""Folds of people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.folds import Fold, InvalidFold


@given(st.text(), st.integers(2, 50))
def test_every_person_belongs_to_one_fold(person: str, of: int) -> None:
    assert sum(Fold(number, of).holds(person) for number in range(1, of + 1)) == 1


def test_people_are_spread_evenly() -> None:
    sizes = [sum(Fold(number, 4).holds(f"person {one}") for one in range(1_000)) for number in range(1, 5)]
    # Binomial with a mean of 250 and a standard deviation of 14.
    assert all(200 < size < 300 for size in sizes)


def test_a_fold_is_written_as_it_is_read() -> None:
    assert Fold.parse("2/4") == Fold(2, 4)
    assert str(Fold(2, 4)) == "2/4"
    assert Fold(2, 4).named("ropg-kd") == "ropg-kd-2-of-4"


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/4", "0/4", "5/4", "1/1", "-1/4", "1/4/4", "a/b", "²/4", "1.0/4"]
)
def test_what_is_no_fold_is_refused(text: str) -> None:
    with pytest.raises(InvalidFold, match="no fold: it is written like 1/4"):
        Fold.parse(text)
