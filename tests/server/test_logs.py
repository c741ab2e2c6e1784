"""The log: repetitions are counted, and JSON holds nothing of a user's unless that is switched on."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.logs import FIELDS, WINDOW_S, JSONLines, Repeats, request_id


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


def record(message: str, *args: object, error: Exception | None = None, **fields: Any) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("pr2.test", logging.WARNING, "file.py", 1, message, args, info)
    setattr(made, FIELDS, fields)
    return made


def raised() -> Exception:
    try:
        raise KeyError("the canary")
    except KeyError as error:
        return error


def test_a_line_of_json_has_the_template_the_place_and_the_requests_id() -> None:
    token = request_id.set("job-7")
    try:
        line = json.loads(
            JSONLines(text=False).format(
                record("%s is not stored\n<canary>", "the canary", error=raised(), status=503)
            )
        )
    finally:
        request_id.reset(token)
    assert "canary" not in json.dumps(line)
    assert line.pop("time").endswith("+00:00")
    [place] = line.pop("at")
    assert place.startswith(__file__)
    assert place.endswith("raised")
    assert line == {
        "level": "warning",
        "logger": "pr2.test",
        "message": "%s is not stored",
        "request_id": "job-7",
        "exception": "KeyError",
        "status": 503,
    }


def test_texts_are_written_once_they_are_switched_on() -> None:
    line = json.loads(JSONLines(text=True).format(record("%s is not stored", "ana", error=raised())))
    assert line["message"] == "ana is not stored"
    assert "the canary" in line["exception"]


def test_one_request_is_one_line_without_its_path() -> None:
    # In a process of its own: to configure logging is to close the handlers of this one's tests.
    code = """
import logging.config
from server.logs import FIELDS, log_config
logging.config.dictConfig(log_config("json"))
logging.getLogger("uvicorn.access").info('%s - "%s"', "127.0.0.1", "GET /v1/users/canary/documents")
logging.getLogger("pr2.requests").info("request", extra={FIELDS: {"route": "/v1", "status": 200}})
logging.getLogger("index.storage").warning("no room in %s", "/canary")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    [request] = map(json.loads, done.stdout.splitlines())
    assert (request["route"], request["status"], request["logger"]) == ("/v1", 200, "pr2.requests")
    [warning] = map(json.loads, done.stderr.splitlines())
    assert (warning["message"], warning["level"]) == ("no room in %s", "warning")
