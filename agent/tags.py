"""An incremental parser of the tag protocol: policy text in, typed events out.

The single place that knows the tags. Parsing is total (any text gives events, never an exception) and does
not depend on how the text was split.
"""

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Literal

InvalidReason = Literal[
    "forged_information",
    "empty_search",
    "empty_answer",
    "no_action",
    "unclosed_think",
    "unclosed_search",
    "unclosed_answer",
    "max_searches",
]
Violation = Literal["text_outside_tags", "stray_tag", "missing_think"]

STOP = ("</search>", "</answer>")
"""The stop strings: they end the policy's turn."""

_NAMES = ("think", "search", "information", "answer")
_TAG = re.compile(
    rf"<(?P<slash>/?)(?P<name>{'|'.join(_NAMES)})>|<search\s(?P<days>[^<>=]{{1,20}}=[^<>]{{0,100}})>"
)
"""A tag. That of a search may have attributes, which limit it to certain days (agent/days.py)."""
_BEGUN = re.compile(r"<search\s[^<>]{0,121}\Z")
_LONGEST = 130
TAGS = tuple(f"<{slash}{name}>" for name in _NAMES for slash in ("", "/"))
"""All tags of the protocol."""
_LOOSE_TAG = re.compile(rf"<(?=\s*(?:/\s*)?(?:{'|'.join(_NAMES)})\b)", re.IGNORECASE)
_CONTROL = re.compile(
    # <|im_end|>, [|user|]
    r"[<\[](?=\|)"
    # <fim_prefix>, <SPECIAL_10>, </tool_call>: no HTML tag has an underscore.
    r"|<(?=/?[\w:.-]{1,32}>)(?=[^_>]*_)"
    r"|<(?=/?(?:s|bo[sm]|eo[sdtpm]|sop|pad|unk|mask|sep|cls|pre|suf|mid|image|filename|reponame|toolcall"
    r"|fim-\w{1,12}|seed:\w{1,12}|unused\d{1,6}|mask:\d{1,6}|2mass)>)"
    r"|\[(?=/?(?:inst|think|args|gmask|smask|img|audio|bo[sm]|eo[sdtpm]|pad|unk|mask|sep|cls"
    r"|prefix|suffix|middle|transcribe|unused\d{1,6}|extra_id_\d{1,6}|unused_token_\d{1,6}"
    r"|(?:begin|end|img|call|tool|available|system|model|control)_\w{1,16}|@bos@)\])"
    # [ANYTHING_ELSE], in capitals, since code has many brackets[like_this].
    r"|\[(?=(?-i:/?[A-Z0-9_]{3,32}\]))(?=[^_\]]*_)"
    # ]~b], ]~!b[, [e~[ and ]<], of MiniMax.
    r"|~(?=!?b[\[\]])|\[(?=e~\[)|<(?=\])"
    # >>QUESTION<<, |||EMAIL_ADDRESS|||
    r"|>(?=(?-i:>[A-Z]{3,32}<<))|\|(?=(?-i:\|\|[A-Z_]{2,32}\|\|\|))",
    re.IGNORECASE,
)
"""Control tokens of models, by their kinds: tokenizers recognize them in any text.

The second line of defence. The first asks the model's own tokenizer (agent/tokenizer.py,
agent/engines/controls.py).
"""
_UNDECIDED = re.compile(
    r"[<\[~>|](?:(?<=<)\s*(?:/\s*)?[\w:.-]{0,32}|(?<=\[)(?:/?\w{0,32}|e~|@\w{0,3}@?)|(?<=~)!?b?"
    r"|(?<=>)>?[A-Z]{0,32}<?|(?<=\|)\|{0,2}[A-Z_]{0,32}\|{0,2})\Z"
)
"""The end of a text that may still become a protocol tag or a control token."""
_MARKED = re.compile(r"<[^\s<>\[\]]{1,64}>|\[[^\s<>\[\]]{1,64}\]")
_PASSAGE_MARK = re.compile(r"\[\d+\]")
_NAMED_ENTITIES = {"<": "&lt;", ">": "&gt;"}
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class ThoughtClosed:
    text: str


@dataclass(frozen=True)
class SearchClosed:
    query: str
    days: str = ""
    """The attributes of its tag, as written."""


@dataclass(frozen=True)
class AnswerText:
    """A piece of the answer while it is being written. Joined, the pieces are exactly the answer."""

    text: str


@dataclass(frozen=True)
class AnswerClosed:
    text: str


@dataclass(frozen=True)
class Broken:
    """The turn is invalid; nothing after this is read."""

    reason: InvalidReason


@dataclass(frozen=True)
class Deviation:
    """The turn violates the format, but is usable."""

    kind: Violation


TagEvent = ThoughtClosed | SearchClosed | AnswerText | AnswerClosed | Broken | Deviation


def escape(text: str) -> str:
    """`text` with all protocol tags and control tokens escaped: data cannot open or close a block or turn.

    Full-width and other compatible characters count as the characters that normalizing tokenizers read.
    """
    text = _SURROGATES.sub("\ufffd", text)
    return without(text, _places(_folded(text)))


def escape_begun(text: str) -> tuple[str, int]:
    """The beginning of `text`, escaped, that no further text can change, and its length in `text`."""
    text = _SURROGATES.sub("\ufffd", text)
    folded = _folded(text)
    found = _UNDECIDED.search(folded)
    end = found.start() if found else len(text)
    return without(text[:end], {place for place in _places(folded) if place < end}), end


def _places(folded: str) -> set[int]:
    """Where the tags and control tokens of a folded text begin."""
    return {found.start() for kind in (_LOOSE_TAG, _CONTROL) for found in kind.finditer(folded)}


def without(text: str, places: Collection[int]) -> str:
    """`text` with the characters at these places replaced by HTML entities."""
    parts, end = [], 0
    for place in sorted(places):
        character = text[place]
        parts += [text[end:place], _NAMED_ENTITIES.get(character, f"&#{ord(character)};")]
        end = place + 1
    return "".join([*parts, text[end:]])


def marked_up(text: str) -> list[tuple[int, str]]:
    """The strings in angle or square brackets, with their places, that a tokenizer may know as one token.

    The protocol's own tags and passage numbers are not among them.
    """
    spans = [found.span() for found in _MARKED.finditer(_folded(text))]
    return [
        (start, string)
        for start, end in spans
        if (string := text[start:end]) not in TAGS and not _PASSAGE_MARK.fullmatch(string)
    ]


def _folded(text: str) -> str:
    """`text`, of the same length, with each character that is compatible with an ASCII character as that."""
    return text if text.isascii() else text.translate(_compatible())


@cache
def _compatible() -> dict[int, str]:
    """The ASCII equivalents (NFKC) of characters beyond ASCII that have one."""
    decomposed = (code for code in range(0x80, 0x20000) if unicodedata.decomposition(chr(code)))
    folded = ((code, unicodedata.normalize("NFKC", chr(code))) for code in decomposed)
    return {code: plain for code, plain in folded if len(plain) == 1 and plain.isascii()}


def missing_close(text: str) -> str:
    """The stop string that an engine removed from the end of `text`; '' if none is missing."""
    opened = ""
    for tag in _TAG.finditer(text):
        name = tag["name"] or "search"
        if not opened and not tag["slash"]:
            opened = name
        elif opened == name and tag["slash"]:
            opened = ""
    close = f"</{opened}>"
    return close if close in STOP else ""


class TagParser:
    """Parses one turn of the policy: from the last information block to the action that ends it."""

    def __init__(self) -> None:
        self.done = False
        # Joined on demand: a string that grows tag by tag would be copied each time.
        self._accepted: list[str] = []
        self._pending = ""
        self._inside: str | None = None
        self._content: list[str] = []
        self._days = ""
        self._space: list[str] = []
        self._answered = False
        self._thought = False
        self._deviations: set[Violation] = set()

    @property
    def text(self) -> str:
        """The accepted text, verbatim: up to the closing tag of the action, or up to a forged block."""
        return "".join(self._accepted)

    @property
    def partial_answer(self) -> str:
        """The incomplete answer, if the turn was cut off inside it; else ''."""
        return "".join(self._content).strip() if self._inside == "answer" else ""

    def feed(self, text: str) -> list[TagEvent]:
        """Read the next piece of the turn. Text after the end of the turn is ignored."""
        events: list[TagEvent] = []
        text, self._pending = self._pending + _SURROGATES.sub("\ufffd", text), ""
        at = 0
        while not self.done and (tag := _TAG.search(text, at)):
            self._take(text[at : tag.start()], events)
            at = tag.end()
            self._on_tag(tag, events)
        if not self.done:
            cut = len(text) - _tag_prefix_length(text[at:])
            self._take(text[at:cut], events)
            self._pending = text[cut:]
        return events

    def close(self) -> list[TagEvent]:
        """End the turn: the policy has stopped. A turn without an action is `Broken`."""
        events: list[TagEvent] = []
        if not self.done:
            self._take(self._pending, events)
            self._pending = ""
            reasons: dict[str | None, InvalidReason] = {
                "think": "unclosed_think",
                "search": "unclosed_search",
                "answer": "unclosed_answer",
                None: "no_action",
            }
            self._break(reasons[self._inside], events)
        return events

    def _take(self, text: str, events: list[TagEvent]) -> None:
        self._accepted.append(text)
        if self._inside is None:
            if text.strip():
                self._deviate("text_outside_tags", events)
            return
        self._content.append(text)
        if self._inside == "answer":
            # Leading and trailing white space is not part of the answer, so it is held back.
            written = text if self._answered else text.lstrip()
            end = len(written.rstrip())
            if end:
                events.append(AnswerText("".join(self._space) + written[:end]))
                self._space, self._answered = [], True
            self._space.append(written[end:])

    def _on_tag(self, found: re.Match[str], events: list[TagEvent]) -> None:
        tag, name = found.group(), found["name"] or "search"
        if name == "information":
            self._break("forged_information", events)
        elif self._inside is not None:
            if tag == f"</{self._inside}>":
                self._accepted.append(tag)
                self._close_block(events)
            else:
                self._take(tag, events)
        elif found["slash"]:
            self._accepted.append(tag)
            self._deviate("stray_tag", events)
        else:
            self._accepted.append(tag)
            self._inside, self._content, self._days = name, [], found["days"] or ""
            if name == "think":
                self._thought = True
            elif not self._thought:
                self._deviate("missing_think", events)

    def _close_block(self, events: list[TagEvent]) -> None:
        block, self._inside = self._inside, None
        content = "".join(self._content).strip()
        if block == "think":
            events.append(ThoughtClosed(content))
        elif not content:
            self._break("empty_search" if block == "search" else "empty_answer", events)
        else:
            self.done = True
            events.append(
                SearchClosed(" ".join(content.split()), self._days)
                if block == "search"
                else AnswerClosed(content)
            )

    def _break(self, reason: InvalidReason, events: list[TagEvent]) -> None:
        self.done = True
        events.append(Broken(reason))

    def _deviate(self, kind: Violation, events: list[TagEvent]) -> None:
        # Once per turn and kind, so that events do not depend on how the text was split.
        if kind not in self._deviations:
            self._deviations.add(kind)
            events.append(Deviation(kind))


def _tag_prefix_length(text: str) -> int:
    """Length of the longest suffix of `text` that could still become a tag."""
    start = text.rfind("<", max(0, len(text) - _LONGEST + 1))
    if start < 0:
        return 0
    tail = text[start:]
    return len(tail) if _BEGUN.match(tail) or any(tag.startswith(tail) for tag in TAGS) else 0
