"""Reads a language model's reply: its thoughts, its answer, and a tool call that is written as text.

Servers without a parser for their model's format send all three as one text. This is the single place that
knows how models mark them. Reading is total (any text gives a reply, never an exception) and does not depend
on how the text was split.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"<(?P<slash>/?)(?:think|thinking|thought|reasoning|seed:think)>"
    r"|(?-i:\[(?P<slash_mistral>/?)THINK\])"
    r"|◁(?P<slash_kimi>/?)think▷"
    r"|<\|(?P<harmony>start|channel|message|end|return|call)\|>",
    re.IGNORECASE,
)
_PART_OF_TOKEN = re.compile(r"[<\[◁][^\s<>\[\]◁▷]{0,19}\Z")
_LONGEST_PART = 20

_CALL = re.compile(
    r"(?P<xml>(?:<tool_call>\s*)?<function=)"
    r"|<tool_call>|<\|tool_call\|?>|<\|tool_call_start\|>|<function_call>|<\|python_tag\|>|\[TOOL_CALLS\]"
)
_FENCE = re.compile(r"\s*(?:```[a-zA-Z]*\s*)?")
_NAMED = re.compile(r"([\w.:-]{1,80})\s*(?:\[ARGS\]\s*)?(?=\{|<arg_key>)")
_XML_NAME = re.compile(r"\s*\"?([\w.:-]{1,80})\"?\s*>\s*")
_PARAMETER = re.compile(
    r"<parameter=\"?(\w{1,80})\"?>(.*?)(?=</?(?:parameter|function|tool_call)\b|\Z)", re.DOTALL
)
_GLM_PARAMETER = re.compile(
    r"<arg_key>([^<]{1,80})</arg_key>\s*<arg_value>(.*?)(?=</(?:arg_value|tool_call)>|\Z)", re.DOTALL
)
_NAME = re.compile(r'"name"\s*:\s*"([^"]{0,80})"')
_ENDED = re.compile(r"\]?\s*(?:```\s*)?(?:(?:[,;]\s*)?[\[{<].*)?", re.DOTALL)
"""Text that may follow a call that is the whole reply: the end of its list or fence, or more in brackets."""
_BEGINS_BARE = re.compile(r"(?:```[a-zA-Z]*\s*)?\[?\s*(?:\{|\Z)|`{1,2}\Z")

_CHANNEL = re.compile(r"<\|channel\|>\s*(analysis|commentary|final)", re.IGNORECASE)
_RECIPIENT = re.compile(r"\bto=([\w.:-]{1,80})")
_ROLE = re.compile(r"(?:<\|start\|>\s*(?:assistant\s*)?)?")


@dataclass(frozen=True)
class Call:
    """A tool call: the tool's name, and its arguments as the model wrote them."""

    name: str
    arguments: str


@dataclass(frozen=True)
class ModelReply:
    """A complete reply. With a `call`, `text` is what was said before it."""

    thought: str
    text: str
    call: Call | None


def read(text: str) -> ModelReply:
    """The thoughts, the answer and the call of a complete reply."""
    reader = ReplyReader()
    reader.feed(text)
    return reader.close()


def without_thoughts(text: str) -> str:
    """All of a complete reply except its thoughts."""
    reader = ReplyReader()
    reader.feed(text)
    reader.end()
    return "\n".join([reader.text, *([reader.call.arguments] if reader.call else ())])


class ReplyReader:
    """Reads a reply in pieces: call `feed` with each piece, then `close`.

    A thought may be closed without having been opened, since some chat templates end with the opening tag:
    then all text so far was a thought. A thought that is never closed reaches to the end.
    """

    def __init__(self) -> None:
        self.thoughts: list[str] = []
        self.opened = False
        """Whether the text is known to come after the thoughts at the beginning, if there were any."""
        self.closed_unopened = False
        """Whether a thought was closed that the reply had not opened."""
        self.call: Call | None = None
        """The call in harmony's format, if there was one."""
        self._text = ""
        self._new: list[str] = []
        self._is_blank = True
        self._pending = ""
        self._inside = ""
        """`thought` (in tags), `analysis`, `call` or `header` (of harmony's); '' for text."""
        self._held: list[str] = []
        self._harmony = self._has_channel = self._settled = False
        self._recipient = ""

    @property
    def text(self) -> str:
        """The text outside of thoughts so far. It only grows, unless all of it turns out to be a thought."""
        if self._new:
            # Joined on demand: a string that grows token by token would be copied each time.
            self._text, self._new = self._text + "".join(self._new), []
        return self._text

    @property
    def begins_like_a_call(self) -> bool:
        """Whether the text may turn out to be a call in bare JSON."""
        return bool(_BEGINS_BARE.match(self.text[:200].lstrip()))

    def settle(self) -> None:
        """The text so far has been shown: from now on, it cannot turn out to be a thought."""
        self._settled = True

    def feed(self, piece: str) -> None:
        """Read the next piece."""
        text, self._pending = self._pending + piece, ""
        at = 0
        while token := _TOKEN.search(text, at):
            self._take(text[at : token.start()])
            at = token.end()
            self._on_token(token)
        tail = max(at, len(text) - _LONGEST_PART)
        part = _PART_OF_TOKEN.search(text, tail)
        cut = part.start() if part else len(text)
        self._take(text[at:cut])
        self._pending = text[cut:]

    def end(self) -> None:
        """The reply has ended: what was undecided is text, and what was unclosed is closed."""
        self._take(self._pending)
        self._pending = ""
        self._leave()

    def close(self) -> ModelReply:
        """End the reply, and look for a call in its text."""
        self.end()
        call, text = self.call, self.text
        if call is None and (found := find_call(text)):
            text, call = found
        return ModelReply("\n\n".join(self.thoughts), text, call)

    def _take(self, text: str) -> None:
        if self._inside:
            self._held.append(text)
        else:
            self._write(text)

    def _write(self, text: str) -> None:
        self._new.append(text)
        self._is_blank = self._is_blank and not text.strip()

    def _retract(self) -> None:
        """All text so far was a thought."""
        if not self._is_blank:
            self.thoughts.append(self.text.strip().removesuffix("<|end|>"))
        self._text, self._new, self._is_blank = "", [], True
        self.closed_unopened = self.opened = True

    def _on_token(self, token: re.Match[str]) -> None:
        if mark := token["harmony"]:
            self._on_harmony(token.group(), mark.lower())
        elif self._inside not in ("", "thought"):
            self._held.append(token.group())
        elif not (token["slash"] or token["slash_mistral"] or token["slash_kimi"]):
            self._enter("thought")
        elif self._inside:
            self._leave()
        elif self._settled:
            self.closed_unopened = True
            self._write(token.group())
        else:
            self._retract()

    def _on_harmony(self, token: str, mark: str) -> None:
        if self._inside == "thought" or not (self._harmony or mark in ("start", "channel")):
            self._take(token)
        elif mark in ("start", "channel"):
            if self._inside != "header" or (mark == "channel" and self._has_channel):
                self._enter("header")
            self._held.append(token)
            self._harmony, self._has_channel = True, mark == "channel"
        elif mark == "message" and self._inside == "header":
            self._on_message("".join(self._held))
        else:
            self._leave()

    def _on_message(self, header: str) -> None:
        self._held, self._inside = [], ""
        channel, recipient = _CHANNEL.search(header), _RECIPIENT.search(header)
        if recipient:
            self._enter("call")
            self._recipient = recipient[1]
        elif channel and channel[1].lower() != "final":
            self._enter("analysis")
        else:
            self._begin_final()

    def _begin_final(self) -> None:
        # Without its opening, a first thought looks like text.
        if not self._is_blank and not self._settled:
            self._retract()
        self.opened = True

    def _enter(self, inside: str) -> None:
        if self._inside == inside == "thought":
            return
        self._leave()
        self._inside = inside
        # Text before it may still turn out to be a thought.
        self.opened = self.opened or (self._is_blank and inside != "header")

    def _leave(self) -> None:
        """End what the reply is inside of."""
        inside, held = self._inside, "".join(self._held)
        self._inside, self._held = "", []
        match inside:
            case "thought" | "analysis":
                if held.strip():
                    self.thoughts.append(held.strip())
                if not self._is_blank:
                    self._write("\n")
            case "call":
                self.call = self.call or Call(tool_name(self._recipient), held)
            case "header":
                self._unfinished(held)

    def _unfinished(self, header: str) -> None:
        """A header without its message: some servers remove that token."""
        channel = _CHANNEL.search(header)
        if channel is None:
            self._write(header if _ROLE.fullmatch(header) is None else "")
        elif channel[1].lower() == "final":
            self._begin_final()
            self._write(header[channel.end() :])
        elif header[channel.end() :].strip():
            self.thoughts.append(header[channel.end() :].strip())


def find_call_mark(text: str, at: int = 0) -> int:
    """Where a call may begin in the text, from `at` on; -1 if nowhere."""
    found = _CALL.search(text, at)
    return found.start() if found else -1


def find_call(text: str) -> tuple[str, Call] | None:
    """The text before the first call, and the call; None if the text holds none.

    A call is marked, or is a JSON object with a name and arguments as the whole text. A marked object is a
    call even if it is malformed: nobody is meant to read it.
    """
    for mark in _CALL.finditer(text):
        call = _xml_call(text, mark.end()) if mark["xml"] else _marked_call(text, mark.end())
        if call:
            return text[: mark.start()], call
    begin = _FENCE.match(text)
    at = begin.end() if begin else 0
    if text[at : at + 1] in ("{", "["):
        value, end = _decoded(text, at)
        call = _as_call(value)
        if call and isinstance(parsed(call.arguments), dict) and _ENDED.fullmatch(text, end):
            return "", call
    return None


def _marked_call(text: str, at: int) -> Call | None:
    begin = _FENCE.match(text, at)
    at = begin.end() if begin else at
    if named := _NAMED.match(text, at):
        if text.startswith("<", named.end()):
            given = {key.strip(): value.strip() for key, value in _GLM_PARAMETER.findall(text, named.end())}
            return Call(tool_name(named[1]), json.dumps(given, ensure_ascii=False))
        return Call(tool_name(named[1]), text[named.end() :])
    if text[at : at + 1] not in ("{", "["):
        return None
    call = _as_call(_decoded(text, at)[0])
    if call is None:
        name = _NAME.search(text, at)
        call = Call(tool_name(name[1]) if name else "", "")
    return call


def _xml_call(text: str, at: int) -> Call | None:
    name = _XML_NAME.match(text, at)
    if name is None:
        return None
    if text[name.end() : name.end() + 1] == "{":
        return Call(tool_name(name[1]), text[name.end() :])
    end = text.find("</function>", name.end())
    inside = text[name.end() : end if end >= 0 else len(text)]
    given = {key: value.strip() for key, value in _PARAMETER.findall(inside)}
    return Call(tool_name(name[1]), json.dumps(given, ensure_ascii=False))


def _as_call(value: Any) -> Call | None:
    """A decoded call, in any of the usual shapes."""
    match value:
        case [first, *_] | {"tool_calls": [first, *_]}:
            return _as_call(first) if isinstance(first, dict) and "tool_calls" not in first else None
        case {"function": {"name": str(name), **given}}:
            pass
        case {"name": str(name), **given} | {"function": str(name), **given}:
            pass
        case _:
            return None
    for key in ("arguments", "parameters"):
        match given.get(key):
            case str(arguments):
                return Call(tool_name(name), arguments)
            case dict(arguments):
                return Call(tool_name(name), json.dumps(arguments, ensure_ascii=False))
    return None


def tool_name(name: str) -> str:
    """The tool's name without its namespace, its number, and control tokens that were left on it."""
    return re.sub(r":\d+\Z", "", name.partition("<|")[0].strip()).rpartition(".")[2]


def parsed(arguments: str) -> Any:
    """The first JSON value, or None. It may stand in a fence, or be encoded once more as a string.

    Some servers concatenate several calls: then it is the first call's.
    """
    for _ in range(2):
        begin = _FENCE.match(arguments)
        value, _end = _decoded(arguments, begin.end() if begin else 0)
        if not isinstance(value, str):
            return value
        arguments = value
    return None


def _decoded(text: str, at: int) -> tuple[Any, int]:
    """The JSON value at this position and its end; None if there is none."""
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, at)
    except (ValueError, RecursionError):
        return None, at
