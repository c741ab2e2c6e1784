"""Errors in reading a data set."""

from collections.abc import Callable

from training.errors import TrainingError


class DataError(TrainingError):
    """A data set cannot be used; the message says why."""


class DatasetUnavailable(DataError):
    """The data set is missing, unreadable or empty."""


class InvalidRecord(DataError, ValueError):
    """A record does not fit the schema. Records count from 1; in JSONL the number is that of the line.

    `field` is a path like `rubric_aspects.0.evidence`, or '' if the record as a whole is wrong.
    """

    def __init__(self, file: str, record: int, field: str, why: str) -> None:
        super().__init__(f"{file}, record {record}{f', {field}' if field else ''}: {why}")
        self.file = file
        self.record = record
        self.field = field
        self.why = why


Skip = Callable[[InvalidRecord], None]
"""Called with the error of each record that is left out."""
