"""Numbers for values that many rows share, so that a column of them is an array of integers."""

import threading
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", bound=Hashable)


class Codes(Generic[Value]):
    """Numbers values in the order in which they come. Safe to share between threads.

    The versions of a profile share one, so a number means the same in all of them.
    """

    def __init__(self) -> None:
        self._numbers: dict[Value, int] = {}
        self._values: list[Value] = []
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, number: int) -> Value:
        return self._values[number]

    def find(self, value: Value) -> int | None:
        """Return the number of a value that has one."""
        return self._numbers.get(value)

    def of(self, values: Iterable[Value]) -> NDArray[np.int32]:
        """Return the number of each value, shape (values,)."""
        with self._lock:
            return np.array([self._number(value) for value in values], np.int32)

    def _number(self, value: Value) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = len(self._values)
            self._values.append(value)
            self._numbers[value] = number
        return number
