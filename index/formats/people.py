"""Reads JSON with the histories of several people, made for measuring: each is stored for a user of their
own.

LifeBench's people have notes, calls and messages of a phone; LongMemEval's questions and PersonaMem's
contexts have sessions with an assistant.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from index.errors import InvalidDocument
from index.formats.chats import identity, message
from index.formats.items import loaded, parsed
from index.formats.locomo import locomo_date
from index.formats.members import Member
from index.formats.objects import objects
from index.formats.reading import located
from index.formats.source import Beginning, Format, Items, Options, Source, Sources

Person = tuple[str, Callable[[], Items]]
"""A user and their documents."""


def lifebench(member: Member, options: Options) -> Iterator[Person]:
    """Yield the people of `[{user, documents: [{id, text, created_at, ...}]}]`; times are in the zone."""
    with member.open() as stream:
        for _, data in objects(stream, ("item",)):
            if not isinstance(data, dict) or not isinstance(data.get("documents"), list):
                raise InvalidDocument(f"{member.name} holds an item without 'documents'")
            yield str(data.get("user")), partial(_phone, data["documents"], options)


def _phone(items: Sequence[Any], options: Options) -> Items:
    for number, item in enumerate(items, 1):
        yield parsed(_with_offset(item, options), number)


def _with_offset(item: Any, options: Options) -> Any:
    if not isinstance(item, Mapping) or not isinstance(item.get("created_at"), str):
        return item
    try:
        moment = datetime.fromisoformat(item["created_at"])
    except ValueError:
        return item  # Refused, by name, when the document is made.
    return {**item, "created_at": options.local(moment) if moment.tzinfo is None else moment}


def longmemeval(member: Member, options: Options) -> Iterator[Person]:
    """Yield the history of each question; a session is a source."""
    with member.open() as stream:
        for _, data in objects(stream, ("item",)):
            if not isinstance(data, dict) or not isinstance(data.get("haystack_sessions"), list):
                raise InvalidDocument(f"{member.name} holds an item without 'haystack_sessions'")
            yield str(data.get("question_id")), partial(_haystack, data)


def _haystack(data: Mapping[str, Any]) -> Items:
    sessions = data["haystack_sessions"]
    count = len(sessions)
    names = data.get("haystack_session_ids") or [str(number) for number in range(1, count + 1)]
    dates = data.get("haystack_dates") or [None] * count
    if not len(names) == len(dates) == count:
        yield InvalidDocument(
            f"{data.get('question_id')}: {count} sessions, {len(names)} ids, {len(dates)} dates"
        )
        return
    for session, name, date in zip(sessions, names, dates, strict=True):
        yield from _turns(session, str(name), locomo_date(date))


def personamem(member: Member, options: Options) -> Iterator[Person]:
    """Yield the contexts of JSON lines `{"context id": [{role, content}]}`."""
    for number, line in enumerate(member.lines(), 1):
        for name, turns in (loaded(line, number) if line.strip() else {}).items():
            yield name, partial(_turns, turns, name, None)


def _turns(turns: Any, session: str, when: str | None) -> Items:
    if not isinstance(turns, list):
        yield InvalidDocument(f"{session}: not a list of turns")
        return
    for number, turn in enumerate(turns, 1):
        if not isinstance(turn, dict) or not isinstance(turn.get("content"), str):
            yield InvalidDocument(f"{session}: not a turn with role and content", number)
            continue
        role = str(turn.get("role", ""))
        said = turn["content"].removeprefix(f"{role.capitalize()}: ")
        yield message(
            identity("session", session, number),
            said,
            author=role,
            when=datetime.fromisoformat(when) if when else None,
            source=session,
            number=number,
        )


def _sources(people: Callable[[Member, Options], Iterator[Person]]) -> Sources:
    """Choose the person called like the user, all for `all`, or the only one for any user."""

    def sources(members: Sequence[Member], options: Options) -> list[Source]:
        found = [(member.name, person) for member in members for person in people(member, options)]
        named = {name: Source(name, located(file, items())) for file, (name, items) in found}
        user = options.user
        if user == "all":
            return list(named.values())
        if user in named:
            return [named[user]]
        if len(named) == 1:
            return [Source(user, next(iter(named.values())).documents)]
        shown = ", ".join(list(named)[:10]) + (f" and {len(named) - 10} more" if len(named) > 10 else "")
        raise InvalidDocument(f"the file has no person {user!r}; it has {shown} (or say 'all')")

    return sources


def _persona_lines(beginning: Beginning) -> bool:
    return (
        beginning.text.lstrip().startswith('{"')
        and beginning.has_keys("role", "content")
        and ('": [{' in beginning.text[:300] or '":[{' in beginning.text[:300])
    )


LIFEBENCH = Format(
    "lifebench",
    "LifeBench people",
    _sources(lifebench),
    recognizes=lambda beginning: beginning.has_keys("user", "documents", "text"),
    exported=False,
)
LONGMEMEVAL = Format(
    "longmemeval",
    "LongMemEval",
    _sources(longmemeval),
    recognizes=lambda beginning: beginning.has_keys("question_id", "haystack_dates"),
    exported=False,
)
PERSONAMEM = Format(
    "personamem", "PersonaMem", _sources(personamem), recognizes=_persona_lines, exported=False
)
