"""Translates one reply of a chat model into tags while it arrives."""

import json
import re
from typing import Any

from agent.engines.completions import Json, Usage
from agent.policy import Chunk
from agent.tags import escape
from agent.tokens import estimated

TOOL = "search_profile"

_THOUGHT = re.compile(r"\s*<think>(.*?)(?:</think>|\Z)", re.DOTALL)
"""A thought at the beginning of the content, from a server without a parser for its model's reasoning."""
_UNDECIDED = re.compile(r"[<\[]\s*(?:/\s*)?\w{0,15}\Z")


class Reply:
    """One reply of the model, rendered as tags."""

    def __init__(self, offered: bool) -> None:
        """`offered` says whether the model could call the search tool."""
        self._offered = offered
        self.holds = offered
        """Whether the content is held back because a call may follow."""
        self.cut = False
        """Whether the token limit ended it."""
        self.name = self.arguments = ""
        self.usage: Usage | None = None
        self.pieces = self.reported = 0
        """Pieces received (at most as many as tokens), and those already reported in chunks."""
        self._thought = self._content = ""
        self._at: int | None = None
        """How much of the content has been rendered as the answer; None before the answer begins."""
        self._called = False
        self._index: object = None

    @property
    def tokens(self) -> int:
        """Tokens of the reply: counted by the server, or else estimated."""
        counted = self.usage.completion_tokens if self.usage else None
        return max(counted or estimated(self._thought + self._content + self.arguments), self.reported)

    @property
    def problem(self) -> str:
        """Why the turn is invalid, or ''."""
        if self.cut or not self._called:
            return ""
        if self._at is not None or not self._offered:
            # Also after an answer that was released: rendered text cannot be taken back.
            return "max_searches"
        return "" if self._query else "malformed_call" if self.name == TOOL else "unknown_tool"

    @property
    def _query(self) -> str:
        match parsed(self.arguments):
            case {"query": str(query)} if self.name == TOOL:
                return query.strip()
        return ""

    def take(self, delta: Json) -> None:
        """Read the next piece."""
        # Some versions of vLLM send the same thought under both names.
        thought = _text(delta.get("reasoning_content")) or _text(delta.get("reasoning"))
        content, arguments = _text(delta.get("content")), ""
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            match call:
                case {"function": {**function}}:
                    index = call.get("index")
                    if not self._called:
                        self._called, self._index = True, index
                    if index in (None, self._index):
                        self.name = self.name or _text(function.get("name"))
                        arguments += _text(function.get("arguments"))
        self._thought += thought
        self._content += content
        self.arguments += arguments
        self.pieces += bool(thought or content or arguments)

    def chunk(self) -> Chunk | None:
        """The next chunk; None while text is held back."""
        text = self.render(ended=False)
        if not text and (self._content or self._called):
            return None
        before, self.reported = self.reported, self.pieces
        return Chunk(text, self.reported - before)

    def render(self, ended: bool) -> str:
        """The tags that can be rendered since the last call; if the reply has `ended`, all the rest."""
        new = ""
        if self._at is None:
            if not ended and "</think>" not in self._content and self._content.lstrip().startswith("<think>"):
                # As below, but without matching a long thought again for every piece.
                return ""
            found = _THOUGHT.match(self._content)
            at = found.end() if found else 0
            content = self._content[at:].strip()
            if not ended and (self.holds or self._called or "<think>".startswith(content)):
                return ""
            new = _think(self._thought) + _think(found[1] if found else "")
            if self._called:
                search = f"<search>{escape(self._query)}</search>" if self._query and not self.cut else ""
                return new + _think(content) + search
            if not content:
                return new
            new, self._at = new + "<answer>", at
        rest = self._content[self._at :]
        cut = len(rest) if ended else decided(rest)
        self._at += cut
        # An answer that ran out of tokens, or that a call follows, is not complete.
        closed = ended and not self.cut and not self._called
        return new + escape(rest[:cut]) + ("</answer>" if closed else "")


def decided(text: str) -> int:
    """How many characters of a text can be escaped already, since later text cannot affect them."""
    found = _UNDECIDED.search(text)
    return found.start() if found else len(text)


def _think(thought: str) -> str:
    return f"<think>{escape(thought.strip())}</think>" if thought.strip() else ""


def parsed(arguments: str) -> Any:
    """The first JSON value, or None. Some servers concatenate several calls: then it is the first call's."""
    try:
        return json.JSONDecoder().raw_decode(arguments.lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _text(value: object) -> str:
    """Strings unchanged; objects, which Ollama sends as arguments, as JSON; anything else as ''."""
    return value if isinstance(value, str) else to_json(value) if isinstance(value, dict) else ""


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
