"""The audit log: who read, wrote, asked and erased what. Ids only: no document, question or answer is in it.

A line is written before the work begins, so that it is there whatever becomes of the work. Deletions and
erasures do not reach it.
"""

import logging
import os
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler

from server.access.gate import Action, Principal
from server.logs import FIELDS

AUDIT = "pr2.audit"
"""Its logger. Without the setting `audit_log` nothing handles it."""

_log = logging.getLogger(AUDIT)


class AuditFile(WatchedFileHandler):
    """Appends to a file that only its owner may read. It may be moved away at any time, as logrotate does."""

    def __init__(self, filename: str) -> None:
        super().__init__(filename, encoding="utf-8", delay=False)

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        return open(self.baseFilename, "a", encoding="utf-8", opener=opener)


def note(
    principal: Principal, action: Action, user: str, what: str = "", item: str = "", *, allowed: bool = True
) -> None:
    """Write one line. `item` is the id of one document or answer; `user` is empty for a list of users."""
    if not _log.handlers:
        return
    fields = {"principal": principal.name, "tenant": principal.tenant, "action": action, "user": user}
    fields |= {"what": what} if what else {}
    fields |= {"id": item} if item else {}
    _log.info("allowed" if allowed else "refused", extra={FIELDS: fields})
