"""One reply of a chat model, told as tags while it comes in."""

import json
import re
from typing import Any

from agent.engines.completions import Json, Usage
from agent.policy import Chunk
from agent.tags import escape
from agent.tokens import estimated

TOOL = "search_profile"

_THOUGHT = re.compile(r"\s*<think>(.*?)(?:</think>|\Z)", re.DOTALL)
"""A thought that the content begins with, from a server that does not know how its model thinks."""
_UNDECIDED = re.compile(r"[<\[]\s*(?:/\s*)?\w{0,15}\Z")


class Reply:
    """One reply of the model, told as tags."""

    def __init__(self, offered: bool) -> None:
        """`offered` says whether the model was offered to search."""
        self._offered = offered
        self.holds = offered
        """Whether the content is held back, since a call may follow."""
        self.cut = False
        """Whether it ended for want of tokens."""
        self.name = self.arguments = ""
        self.usage: Usage | None = None
        self.pieces = self.told = 0
        """How many pieces came, which is no more than the tokens, and how many of them are in chunks."""
        self._thought = self._content = ""
        self._at: int | None = None
        """Up to where the content was told as the answer."""
        self._called = False
        self._index: object = None

    @property
    def tokens(self) -> int:
        counted = self.usage.completion_tokens if self.usage else None
        return max(counted or estimated(self._thought + self._content + self.arguments), self.told)

    @property
    def problem(self) -> str:
        """Why the turn is invalid, or ''."""
        if self.cut or not self._called:
            return ""
        if self._at is not None or not self._offered:
            # Also behind an answer that was let go: what was told cannot be taken back.
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
        """What can be told by now; None while anything is held back."""
        text = self.tell(ended=False)
        if not text and (self._content or self._called):
            return None
        before, self.told = self.told, self.pieces
        return Chunk(text, self.told - before)

    def tell(self, ended: bool) -> str:
        """What can be told by now; when the reply has ended, the rest."""
        told = ""
        if self._at is None:
            if not ended and "</think>" not in self._content and self._content.lstrip().startswith("<think>"):
                # As below, but without reading a long thought again for each of its pieces.
                return ""
            found = _THOUGHT.match(self._content)
            at = found.end() if found else 0
            said = self._content[at:].strip()
            if not ended and (self.holds or self._called or "<think>".startswith(said)):
                return ""
            told = _think(self._thought) + _think(found[1] if found else "")
            if self._called:
                search = f"<search>{escape(self._query)}</search>" if self._query and not self.cut else ""
                return told + _think(said) + search
            if not said:
                return told
            told, self._at = told + "<answer>", at
        rest = self._content[self._at :]
        cut = len(rest) if ended else decided(rest)
        self._at += cut
        # With its tokens at an end, or followed by a call, it was not to end here.
        closed = ended and not self.cut and not self._called
        return told + escape(rest[:cut]) + ("</answer>" if closed else "")


def decided(text: str) -> int:
    """How much of a text can be escaped before it goes on, since nothing that follows changes it."""
    found = _UNDECIDED.search(text)
    return found.start() if found else len(text)


def _think(thought: str) -> str:
    return f"<think>{escape(thought.strip())}</think>" if thought.strip() else ""


def parsed(arguments: str) -> Any:
    """The first JSON value, or None. Where a server runs several calls together, it is the first one's."""
    try:
        return json.JSONDecoder().raw_decode(arguments.lstrip())[0]
    except (ValueError, RecursionError):
        return None


def _text(value: object) -> str:
    """Text as it is, and as JSON the arguments that Ollama gives as an object."""
    return value if isinstance(value, str) else to_json(value) if isinstance(value, dict) else ""


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
