"""Reads the text that WhatsApp exports of a chat, on Android and iOS, in the date formats of its languages.

The file names neither the order of day and month nor a time zone. The order is settled from the whole file,
since one late date tells it; a file that stays ambiguous is refused unless the order is given.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from index.documents import TEXT_CHARACTERS
from index.errors import InvalidDocument
from index.formats.chats import Occurrences, identity, message
from index.formats.members import Member
from index.formats.reading import each
from index.formats.source import Beginning, Format, Items, Options, Skipped

_MARKS = "\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
"""Invisible marks of direction, which WhatsApp writes around dates and before its own words."""
_M = f"[{_MARKS}]*"
_S = rf"[\s{_MARKS}]"
_HEAD = re.compile(
    rf"{_M}(?P<open>\[?){_M}"
    rf"(?P<a>\d{{1,4}})(?:{_M}(?P<separator>[-./年년])\s?{_M})(?P<b>\d{{1,2}})(?:{_M}[-./月월]\s?{_M})"
    rf"(?P<c>\d{{1,4}})[.日일]?{_M}[,،]?"
    rf"(?:{_S}{{0,4}}(?P<word>[^\W\d]{{1,12}}\.?))?{_S}{{0,4}}"
    rf"(?P<hour>\d{{1,2}})[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d))?"
    rf"(?:{_S}{{0,4}}(?P<mark>[^\W\d][^\d\-\]\n,]{{0,12}}?))?"
    rf"(?P<close>{_M}\]{_S}|{_S}{{1,4}}[-–]{_S}|,{_S})"
)
_AUTHOR = re.compile(r"([^\n\"“”„«»]{1,100}?)\s?:(?:\s|$)")
"""Up to the first colon. Quotation marks are in lines of the app: Ana named the group "Rome: plans"."""
_OMITTED = re.compile(r"<[^<>\n]{3,80}>")
"""Placeholder of a photo or recording in an export without media."""
_OWN_WORDS = re.compile(r"\u200e<[^<>\n]{1,200}>")
"""Notes of the app within a message: an attached file, or that the message was edited."""
_ATTACHED = re.compile(r"\u200e?[\w-]{1,80}\.\w{2,5} \([^()\n]{1,60}\)")
"""On Android, the file's name and that it is attached, in the phone's language; a caption is on the next
line."""
_MORNING = {"am", "fm", "上午", "오전", "ص", "πμ", "凌晨", "早上", "清晨", "öö", "午前", "de", "dop", "sa"}
_AFTERNOON = {"pm", "em", "下午", "오후", "م", "μμ", "晚上", "ös", "午後", "du", "odp", "ch"}
_WORDS = {"à", "klo", "kl", "um", "às", "as", "at", "o", "в", "у", "alle", "ore", "om", "中午"}
"""Words between day and time."""
_NAMES = re.compile(
    r"(?:.{0,30}whatsapp.{0,20}?\s(?:-|with|mit|con|avec|com|met|med|z|с|ile|kanssa)\s)?(.+)", re.IGNORECASE
)
_COPY = re.compile(r"\s?\(\d{1,3}\)$")
_BACKWARDS = timedelta(days=2)
"""Messages may arrive out of order, when a phone was offline."""
_BUDDHIST = range(2540, 2640)
"""Years of the Thai calendar, 543 ahead, in which WhatsApp can have been used."""


@dataclass
class _Order:
    """One reading of the dates, day first or month first, and how well the file fits it."""

    day_first: bool
    latest: datetime = datetime.min
    read: int = 0
    unread: int = 0
    chronological: bool = True

    def look(self, found: re.Match[str]) -> datetime | None:
        """Read one more date. None if it is none in this order."""
        try:
            moment = datetime(*_day(found, self.day_first))
        except ValueError:
            self.unread += 1
            return None
        self.chronological &= not self.read or moment >= self.latest - _BACKWARDS
        self.latest = max(self.latest, moment)
        self.read += 1
        return moment


@dataclass
class _Style:
    """How this file writes its dates."""

    bracket: bool
    dotted: bool
    orders: tuple[_Order, _Order] = field(default_factory=lambda: (_Order(True), _Order(False)))
    ambiguous: bool = False

    def look(self, found: re.Match[str]) -> None:
        """Read the date of one more message in both orders."""
        if bool(found["open"]) == self.bracket and _is_date(found):
            day, month = (order.look(found) for order in self.orders)
            self.ambiguous |= day != month

    def day_first(self, given: bool | None, name: str) -> bool:
        """Settle the order of day and month. Raises InvalidDocument if the file leaves it open."""
        if given is not None:
            chosen = next(order for order in self.orders if order.day_first is given)
            # A few may be quoted from elsewhere.
            if chosen.unread * 10 > chosen.read:
                raise InvalidDocument(f"{name}: {chosen.unread} of its dates do not fit the order given")
            return given
        if not self.ambiguous:
            return True
        complete = [order for order in self.orders if not order.unread]
        if len(complete) == 2:
            # No language writes month.day.year. A chat is written down as it goes on.
            complete = [order for order in complete if order.chronological]
            complete = [order for order in complete if order.day_first] if self.dotted else complete
        if len(complete) != 1:
            raise InvalidDocument(
                f"{name}: its dates can be read day first or month first: say --day-first or --month-first"
            )
        return complete[0].day_first


def read_whatsapp(member: Member, options: Options) -> Items:
    """Yield the messages; lines of the app and attachments are Skipped. Raises InvalidDocument.

    The first pass settles the order of day and month, the second reads.
    """
    style = _style(member)
    day_first = style.day_first(options.day_first, member.name)
    chat = _chat(member)
    occurrences = Occurrences()
    for number, found, text in _messages(member, style):
        author = _AUTHOR.match(text)
        try:
            moment = _moment(found, day_first)
            when = options.local(moment)
        except ValueError as error:
            yield InvalidDocument(str(error), number)
            continue
        if author is None:
            yield Skipped("a line of WhatsApp itself")
            continue
        said = _said(text[author.end() :])
        if said is None:
            yield Skipped("an attachment, or a note of WhatsApp itself")
            continue
        name = author[1].strip().strip("~\u202f\xa0 ")
        parts = chat, moment.isoformat(), name, said
        yield message(
            identity("whatsapp", *parts, occurrences(*parts)),
            said,
            author=name,
            when=when,
            source=f"WhatsApp/{chat}",
            number=number,
        )


def _style(member: Member) -> _Style:
    style: _Style | None = None
    for line in member.lines():
        found = _HEAD.match(line)
        if found is None:
            continue
        style = style or _Style(bool(found["open"]), found["separator"] == ".")
        style.look(found)
    if style is None:
        raise InvalidDocument(f"{member.name} has no line that begins as WhatsApp's do")
    return style


def _messages(member: Member, style: _Style) -> Iterator[tuple[int, re.Match[str], str]]:
    """Yield (line number, head, text with the author) of each message; it may have several lines."""
    head: re.Match[str] | None = None
    lines: list[str] = []
    first = characters = 0
    for number, line in enumerate(member.lines(), 1):
        found = _HEAD.match(line)
        if found is not None and bool(found["open"]) == style.bracket and _is_date(found):
            if head is not None:
                yield first, head, "".join(lines).rstrip("\r\n")
            head, first, lines, characters = found, number, [line[found.end() :]], 0
        elif characters <= TEXT_CHARACTERS:  # A longer one is refused in any case.
            lines.append(line)
        characters += len(line)
    if head is not None:
        yield first, head, "".join(lines).rstrip("\r\n")


def _is_date(found: re.Match[str]) -> bool:
    for day_first in (True, False):
        try:
            datetime(*_day(found, day_first))
        except ValueError:
            continue
        return True
    return False


def _day(found: re.Match[str], day_first: bool) -> tuple[int, int, int]:
    a, b, c = int(found["a"]), int(found["b"]), int(found["c"])
    if len(found["a"]) == 4:
        year, month, day = a, b, c
    else:
        year, month, day = (c, b, a) if day_first else (c, a, b)
        year += 2000 if len(found["c"]) <= 2 else 0
    return (year - 543 if year in _BUDDHIST else year), month, day


def _moment(found: re.Match[str], day_first: bool) -> datetime:
    """The time as it is written, without an offset. Raises ValueError."""
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    for name in ("word", "mark"):
        mark = "".join(filter(str.isalpha, (found[name] or "").casefold()))
        if mark in _AFTERNOON:
            hour = hour % 12 + 12
        elif mark in _MORNING:
            hour %= 12
        elif mark and mark not in _WORDS:
            raise ValueError(
                f"{mark!r} beside the time is not known to mean morning or afternoon: "
                "export the chat with the phone in another language"
            )
    return datetime(*_day(found, day_first), hour, minute, second)


def _said(text: str) -> str | None:
    """The words of the person; None for an attachment or the app's own words."""
    text = _OWN_WORDS.sub("", text)
    if attached := _ATTACHED.match(text):
        text = text[attached.end() :]
    elif text.startswith("\u200e"):
        return None
    text = text.replace("\u200e", "").strip()
    omitted = _OMITTED.fullmatch(text) and sum(map(str.isalpha, text)) >= 3
    return None if omitted or not text else text


def _chat(member: Member) -> str:
    """Name of the chat, from the name of the file or, on iOS, of the archive or folder."""
    file = member.name.rpartition("/")[2].rpartition(".")[0]
    name = _COPY.sub("", member.folder if file == "_chat" else file)
    found = _NAMES.fullmatch(name)
    return found[1].strip() if found else name


def _recognizes(beginning: Beginning) -> bool:
    lines = [line for line in beginning.text.splitlines()[:50] if line.strip(" \ufeff")]
    heads = [(line, _HEAD.match(line)) for line in lines]
    if not heads or heads[0][1] is None or not beginning.name.lower().endswith((".txt", "-", "stdin")):
        return False
    return any(found and _AUTHOR.match(line[found.end() :]) for line, found in heads)


WHATSAPP = Format("whatsapp", "WhatsApp chat", each(read_whatsapp), recognizes=_recognizes)
