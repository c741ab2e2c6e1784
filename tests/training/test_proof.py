"""A proof of learning: one outcome for each task, in order, and a failure for a claim that does not hold."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from training.proof import prove


@dataclass(frozen=True)
class Doubled:
    number: int
    process: int

    def __str__(self) -> str:
        return f"number {self.number}"

    def shortfalls(self) -> Iterator[str]:
        if self.number > 4:
            yield f"{self} is too large"


def double(encoder: Path, number: int) -> Doubled:
    return Doubled(int(encoder.read_text()) * number, os.getpid())


def write(encoder: Path) -> None:
    encoder.write_text("2")


def numbers(outcomes: Sequence[Doubled]) -> str:
    assert os.getpid() not in {one.process for one in outcomes}
    return "numbers: " + ", ".join(str(one.number) for one in outcomes)


def test_outcomes_stand_in_the_order_of_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert prove(write, double, [2, 1], numbers) == 0
    out, told = capsys.readouterr()
    assert out.splitlines()[0] == "numbers: 4, 2"
    assert told.splitlines() == ["1 of 2: number 4", "2 of 2: number 2"]


def test_a_claim_that_does_not_hold_fails_the_proof(capsys: pytest.CaptureFixture[str]) -> None:
    assert prove(write, double, [1, 3], numbers) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "number 6 is too large"
