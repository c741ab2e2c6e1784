"""Reads LoCoMo files, which hold one conversation or several: each turn becomes a document."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from index.dates import iso, read_date
from index.errors import InvalidDocument
from index.formats.items import parsed
from index.formats.members import Member
from index.formats.source import Documents, Format, Options, Source


def read_locomo(sample: Mapping[str, Any]) -> Documents:
    """Yield a document for each turn of one LoCoMo conversation; its source is the session.

    The text is "speaker: words [shares caption]", the id is the turn's `dia_id`, and the date is the
    session's. Turns count from 1 through the whole conversation. Raises InvalidDocument if `sample` is
    not a conversation.
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
                yield parsed(turn, number)
                continue
            speaker, caption = turn.get("speaker", ""), turn.get("blip_caption")
            said = f"{turn.get('text', '')}{f' [shares {caption}]' if caption else ''}"
            data = {
                "id": turn.get("dia_id", f"{session}:{number}"),
                "text": f"{speaker}: {said}" if speaker else said,
                "source": f"{sample.get('sample_id', 'conversation')}/session_{session}",
                "metadata": {"speaker": speaker} if speaker else {},
            }
            yield parsed(data | ({"created_at": when} if when else {}), number)


def locomo_date(text: str | None) -> str | None:
    """Convert "1:56 pm on 8 May, 2023" or any date that `read_date` reads to ISO. None if it is neither."""
    if not text:
        return None
    for pattern in ("%I:%M %p on %d %B, %Y", "%d %B, %Y", "%Y/%m/%d (%a) %H:%M"):
        try:
            return iso(datetime.strptime(text.strip(), pattern).replace(tzinfo=UTC))
        except ValueError:
            continue
    try:
        return iso(read_date(text))
    except ValueError:
        return None


def _sources(members: Sequence[Member], options: Options) -> list[Source]:
    """Return the conversation whose sample_id is the user, or all conversations for `all`."""
    named: dict[str, Any] = {}
    for member in members:
        named |= _samples(member)
    user = options.user
    if user == "all":
        chosen = named
    elif user in named or len(named) == 1:
        # If there is only one conversation, any user can have it.
        chosen = {user: named.get(user) or next(iter(named.values()))}
    else:
        files = ", ".join(member.name for member in members)
        raise InvalidDocument(
            f"{files} has no conversation {user!r}; it has {', '.join(named)} (or say 'all')"
        )
    return [_conversation(name, sample) for name, sample in chosen.items()]


def _samples(member: Member) -> dict[str, Any]:
    try:
        found = json.loads("".join(member.lines()))
    except (ValueError, RecursionError) as error:
        raise InvalidDocument(f"{member.name} is not JSON: {error}") from None
    named: dict[str, Any] = {}
    for number, sample in enumerate(found if isinstance(found, list) else [found], 1):
        if not isinstance(sample, dict) or not isinstance(sample.get("conversation"), dict):
            raise InvalidDocument(
                f"item {number} of {member.name} is not a LoCoMo conversation: it has no 'conversation'"
            )
        named[str(sample.get("sample_id", f"conversation-{number}"))] = sample
    return named


def _conversation(name: str, sample: Mapping[str, Any]) -> Source:
    try:
        documents = list(read_locomo(sample))
    except (AttributeError, TypeError) as error:
        raise InvalidDocument(f"the conversation {name!r} is not in LoCoMo's shape: {error}") from None
    return Source(name, documents, len(documents))


LOCOMO = Format(
    "locomo",
    "LoCoMo conversation",
    _sources,
    recognizes=lambda beginning: beginning.has_keys("conversation", "session_1", "dia_id"),
    exported=False,
)
