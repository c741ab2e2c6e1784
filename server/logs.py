"""The log of `pr2 serve`, as text or JSON: repetitions are counted, so that no client can fill a disk."""

import copy
import json
import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from uvicorn.config import LOGGING_CONFIG

LogFormat = Literal["text", "json"]

REQUESTS = "pr2.requests"
"""Logger of finished requests, used with JSON. With text, uvicorn writes them, paths and all."""
FIELDS = "fields"
"""Attribute of a record with further members of its JSON object. Nothing of a user's belongs there."""
request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that is served."""

PER_MINUTE = 20
"""Lines of one kind that are written in a minute."""
WINDOW_S = 60.0

Kind = tuple[str, int, str, str]
"""Logger, level, first line of the message's template, and type of the exception."""


class Repeats(logging.Filter):
    """Passes on `per_minute` records of one kind a minute, then says how many more there were.

    The count comes with the first record after the minute, of whatever kind.
    """

    def __init__(self, per_minute: int = PER_MINUTE, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._per_minute = per_minute
        self._clock = clock
        self._lock = threading.Lock()
        self._began = clock()
        self._seen: Counter[Kind] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        with self._lock:
            over = self._take_over()
            kind = _kind(record)
            self._seen[kind] += 1
            passes = self._seen[kind] <= self._per_minute
        for (logger, level, message, _), count in over.items():
            fields = {"repeated": count, "like": message}
            logging.getLogger(logger).log(
                level, "%s more like: %s", f"{count:,}", message, extra={FIELDS: fields}
            )
        return passes

    def _take_over(self) -> Counter[Kind]:
        """After a minute, the records that were not passed on; and start over."""
        now = self._clock()
        if now - self._began < WINDOW_S:
            return Counter()
        over = Counter({kind: n - self._per_minute for kind, n in self._seen.items() if n > self._per_minute})
        self._began = now
        self._seen.clear()
        return over


def _kind(record: logging.LogRecord) -> Kind:
    error = record.exc_info[0] if record.exc_info else None
    return record.name, record.levelno, _template(record)[:200], error.__name__ if error else ""


def _template(record: logging.LogRecord) -> str:
    # Below the first line, asyncio describes objects, each of which is different.
    return str(record.msg).partition("\n")[0]


class JSONLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the id of the request, and what was raised where.

    Without `text`, a message is the first line of its template and an exception has none: what would be
    filled in, and asyncio's further lines, may hold a name, a question or a passage.
    """

    def __init__(self, *, text: bool) -> None:
        super().__init__()
        self._text = text

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if self._text else _template(record),
        }
        if own := request_id.get():
            line["request_id"] = own
        if record.exc_info and record.exc_info[1]:
            line |= self._exception(record.exc_info[1])
        return json.dumps(line | getattr(record, FIELDS, {}), ensure_ascii=False, default=str)

    def _exception(self, error: BaseException) -> dict[str, Any]:
        if self._text:
            return {"exception": "".join(traceback.format_exception(error))}
        frames = traceback.extract_tb(error.__traceback__)
        return {
            "exception": type(error).__name__,
            "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }


def log_config(form: LogFormat = "text", *, text: bool = False, audit: Path | None = None) -> dict[str, Any]:
    """Uvicorn's configuration, with all warnings in its form, and without endless repetitions.

    For `text` see JSONLines. `audit` is the file of the audit log, if there is one.
    """
    config = copy.deepcopy(LOGGING_CONFIG)
    config["filters"] = {"repeats": {"()": Repeats}}
    config["handlers"]["default"]["filters"] = ["repeats"]
    # Ours, asyncio's and the libraries'.
    config["root"] = {"handlers": ["default"], "level": "WARNING"}
    config["formatters"]["json"] = {"()": JSONLines, "text": text}
    if form == "json":
        for handler in config["handlers"].values():
            handler["formatter"] = "json"
        config["loggers"]["uvicorn.access"] |= {"handlers": [], "propagate": False}
        config["loggers"][REQUESTS] = {"handlers": ["access"], "level": "INFO", "propagate": False}
    if audit is not None:
        config["handlers"]["audit"] = {
            "()": "server.access.audit.AuditFile",
            "filename": str(audit),
            "formatter": "json",
        }
        config["loggers"]["pr2.audit"] = {"handlers": ["audit"], "level": "INFO", "propagate": False}
    return config
