"""Reads the files that histories come in: NDJSON, JSON arrays, CSV, LoCoMo conversations.

Readers yield documents and, in the place of each item that is none, an InvalidDocument that names its
line. What to do about those is the caller's choice.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from index.documents import TEXT_CHARACTERS, Document, iso, parse_document
from index.errors import InvalidDocument

Read = Iterator[Document | InvalidDocument]

FIELDS = ("id", "text", "created_at", "title", "source")


def read_ndjson(lines: Iterable[str | bytes]) -> Read:
    """One JSON object a line; blank lines are passed over. Lines count from 1."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = json.loads(_without_bom(line) if number == 1 and isinstance(line, str) else line)
        except (ValueError, RecursionError) as error:
            yield InvalidDocument(f"not JSON: {_why(error)}", number)
            continue
        yield _parsed(data, number)


def read_json(text: str | bytes) -> Read:
    """A JSON array of documents; items count from 1. Raises InvalidDocument when it is not an array."""
    try:
        data = json.loads(_without_bom(text) if isinstance(text, str) else text)
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"not JSON: {_why(error)}") from None
    if not isinstance(data, list):
        raise InvalidDocument("expected a JSON array of documents")
    for number, item in enumerate(data, 1):
        yield _parsed(item, number)


def read_csv(lines: Iterable[str], columns: Mapping[str, str] | None = None) -> Read:
    """A CSV file with a header. `columns` maps a document's fields to the names of the columns.

    Without a mapping, columns are taken by the fields' own names; other columns become metadata. Raises
    InvalidDocument when a mapped column, or one for `id` and `text`, is not there.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 2 * TEXT_CHARACTERS))
    reader = csv.DictReader(_without_bom(line) if i == 0 else line for i, line in enumerate(lines))
    try:
        header = reader.fieldnames or []
    except csv.Error as error:
        raise InvalidDocument(f"not CSV: {error}", 1) from None
    mapping = {field: field for field in FIELDS if field in header} | dict(columns or {})
    unknown = sorted(set(mapping) - set(FIELDS))
    if unknown:
        raise InvalidDocument(f"no such field: {', '.join(unknown)}; the fields are {', '.join(FIELDS)}")
    missing = sorted({mapping.get(field, field) for field in ("id", "text", *mapping)} - set(header))
    if missing:
        raise InvalidDocument(
            f"the file has no column {', '.join(map(repr, missing))}; its columns are {', '.join(header)}"
        )
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield InvalidDocument(f"not CSV: {error}", reader.reader.line_num)
            continue
        line = reader.line_num
        if None in row or None in row.values():
            yield InvalidDocument(f"has not the {len(header)} columns of the header", line)
            continue
        data: dict[str, Any] = {field: row[column] for field, column in mapping.items() if row[column]}
        metadata = {name: row[name] for name in header if name not in mapping.values() and row[name]}
        yield _parsed(data | ({"metadata": metadata} if metadata else {}), line)


def read_locomo(sample: Mapping[str, Any]) -> Read:
    """One LoCoMo conversation: one turn is one document, a session is its source.

    The text is "speaker: what was said [shares caption]", the id is the turn's `dia_id`, and the date is
    the session's. Turns count from 1 through the whole conversation. Raises InvalidDocument when it is
    no conversation.
    """
    conversation = sample.get("conversation") if isinstance(sample, Mapping) else None
    if not isinstance(conversation, Mapping):
        raise InvalidDocument("expected a LoCoMo sample: an object with a conversation")
    number = 0
    sessions = sorted(
        int(match.group(1)) for key in conversation if (match := re.fullmatch(r"session_(\d+)", key))
    )
    for session in sessions:
        when = locomo_date(conversation.get(f"session_{session}_date_time"))
        for turn in conversation[f"session_{session}"]:
            number += 1
            if not isinstance(turn, Mapping):
                yield _parsed(turn, number)
                continue
            speaker, caption = turn.get("speaker", ""), turn.get("blip_caption")
            said = f"{turn.get('text', '')}{f' [shares {caption}]' if caption else ''}"
            data = {
                "id": turn.get("dia_id", f"{session}:{number}"),
                "text": f"{speaker}: {said}" if speaker else said,
                "source": f"{sample.get('sample_id', 'conversation')}/session_{session}",
                "metadata": {"speaker": speaker} if speaker else {},
            }
            yield _parsed(data | ({"created_at": when} if when else {}), number)


def locomo_date(text: str | None) -> str | None:
    """ "1:56 pm on 8 May, 2023", or any ISO date, as an ISO date in UTC; None when it is neither."""
    if not text:
        return None
    for pattern in ("%I:%M %p on %d %B, %Y", "%d %B, %Y", "%Y/%m/%d (%a) %H:%M"):
        try:
            return iso(datetime.strptime(text.strip(), pattern).replace(tzinfo=UTC))
        except ValueError:
            continue
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return iso(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _without_bom(line: str) -> str:
    return line.removeprefix("\ufeff")


def _parsed(data: Any, number: int) -> Document | InvalidDocument:
    try:
        return parse_document(data, number)
    except InvalidDocument as error:
        return error


def _why(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else (str(error) or type(error).__name__)
