"""The log: repeated lines are counted."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.logs import WINDOW_S, Repeats


class Log:
    """A logger behind the filter, with a clock that the test moves."""

    def __init__(self, name: str, per_minute: int) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.logger = logging.getLogger(name)
        self.logger.propagate = False
        self.handler = logging.Handler()
        self.handler.emit = lambda record: self.lines.append(record.getMessage())  # type: ignore[method-assign]
        self.handler.addFilter(Repeats(per_minute, lambda: self.now))
        self.logger.addHandler(self.handler)


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log("test.repeats", 3)
    yield log
    log.logger.removeHandler(log.handler)


def test_lines_of_one_kind_are_counted_after_the_first(log: Log) -> None:
    for number in range(1_207):
        log.logger.warning("refused %s", number)
    log.logger.warning("another kind")
    assert log.lines == ["refused 0", "refused 1", "refused 2", "another kind"]
    log.now = WINDOW_S
    log.logger.warning("refused %s", "again")
    assert log.lines[4:] == ["1,204 more like: refused %s", "refused again"]


def test_the_count_comes_with_any_line_after_the_minute(log: Log) -> None:
    for _ in range(5):
        log.logger.error("out of files\nsocket: <%s>", object())
    log.now = WINDOW_S + 1
    log.logger.warning("shutting down")
    log.now *= 3
    log.logger.warning("done")
    assert log.lines[3:] == ["2 more like: out of files", "shutting down", "done"]


def test_messages_that_differ_below_the_first_line_are_of_one_kind(log: Log) -> None:
    for number in range(10):
        log.logger.error(f"Task was destroyed\ntask: <Task {number}>")
    assert len(log.lines) == 3


def test_errors_of_different_types_are_different_kinds(log: Log) -> None:
    for error in (KeyError("a"), ValueError("b")):
        for _ in range(5):
            log.logger.error("it broke", exc_info=(type(error), error, None))
    assert log.lines == ["it broke"] * 6


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.0, 1.0, 30.0, 61.0])), max_size=200))
def test_every_line_is_written_or_counted(steps: list[tuple[str, float]]) -> None:
    log = Log("test.repeats.all", 3)
    try:
        for kind, pause in steps:
            log.now += pause
            log.logger.warning(kind)
        log.now += WINDOW_S
        log.logger.warning("last")
    finally:
        log.logger.removeHandler(log.handler)
    for kind in "abc":
        counted = sum(int(line.split()[0]) for line in log.lines if line.endswith(f"more like: {kind}"))
        assert log.lines.count(kind) + counted == sum(kind == other for other, _ in steps)
