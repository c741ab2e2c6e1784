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
        listed = list(values)
        with self._lock:
            # All at once, since most have come before.
            for value in dict.fromkeys(listed):
                if value not in self._numbers:
                    self._values.append(value)
                    self._numbers[value] = len(self._values) - 1
            return np.fromiter(map(self._numbers.__getitem__, listed), np.int32, len(listed))
