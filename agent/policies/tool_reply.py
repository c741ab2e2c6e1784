"""Translates one reply of a chat model into tags while it arrives."""

import json

from agent.days import as_attributes
from agent.engines.completions import Json, Usage
from agent.policy import Chunk
from agent.replies import ReplyReader, find_call_mark, parsed, tool_name
from agent.tags import escape, escape_begun
from agent.tokens import estimated

TOOL = "search_profile"


class Reply:
    """One reply of the model, rendered as tags."""

    def __init__(self, offered: bool, opens: bool | None = False) -> None:
        """`offered` says whether the model could call the search tool.

        `opens` says whether the model's chat template opens a thought, which the reply then only closes;
        None if unknown.
        """
        self._offered = offered
        self.opens = opens
        self.cut = False
        """Whether the token limit ended it."""
        self.name = self.arguments = ""
        self.usage: Usage | None = None
        self.pieces = self.reported = 0
        """Pieces received (at most as many as tokens), and those already reported in chunks."""
        self.late = False
        """Whether the deadline is too close to hold back what may be an answer."""
        self._thought = self._content = ""
        self._reader = ReplyReader()
        self._at: int | None = None
        """How much of the text has been rendered as the answer; None before the answer begins."""
        self._mark = -1
        """Where in the text a call may begin; -1 if nowhere."""
        self._end: int | None = None
        """Where the text ends, once the reply has ended: before its call."""
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
        return "" if self._query[0] else "malformed_call" if self.name == TOOL else "unknown_tool"

    @property
    def _query(self) -> tuple[str, str]:
        """The query and the attributes that limit its days; '' for what is missing."""
        match parsed(self.arguments):
            case {"query": str(query), **given} if self.name == TOOL:
                return query.strip(), as_attributes(given)
        return "", ""

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
                        self.name = self.name or tool_name(_text(function.get("name")))
                        arguments += _text(function.get("arguments"))
        self._thought += thought
        self._content += content
        self._reader.feed(content)
        self.arguments += arguments
        self.pieces += bool(thought or content or arguments)

    def end(self, cut: bool, usage: Usage | None) -> None:
        """The reply has ended, at the token limit if `cut`."""
        self.cut, self.usage = cut, usage
        reply = self._reader.close()
        self._end = len(reply.text)
        if reply.call and not self._called:
            self._called, self.name, self.arguments = True, reply.call.name, reply.call.arguments
        if not cut:
            self.opens = self._reader.closed_unopened

    def chunk(self) -> Chunk | None:
        """The next chunk; None while text is held back."""
        text = self.render()
        if not text and (self._content or self._called):
            return None
        before, self.reported = self.reported, self.pieces
        return Chunk(text, self.reported - before)

    def render(self) -> str:
        """The tags that can be rendered since the last call; if the reply has ended, all the rest."""
        text, ended, new = self._reader.text[: self._end], self._end is not None, ""
        if self._at is None:
            if not ended and self._is_held(text):
                return ""
            new = _think(self._thought) + _think("\n\n".join(self._reader.thoughts))
            if self._called:
                query, days = self._query
                search = f"<search{days}>{escape(query)}</search>" if query and not self.cut else ""
                return new + _think(text) + search
            if self._may_be_thought and self.opens:
                return new + _think(text)
            if not text.strip():
                return new
            new, self._at = new + "<answer>", 0
            self._reader.settle()
        if not ended and self._mark < 0:
            self._mark = find_call_mark(text, self._at)
        rest = text[self._at : None if ended or self._mark < 0 else self._mark]
        written, length = (escape(rest), len(rest)) if ended else escape_begun(rest)
        self._at += length
        # An answer that ran out of tokens, or that a call follows, is not complete.
        closed = ended and not self.cut and not self._called
        return new + written + ("</answer>" if closed else "")

    @property
    def _may_be_thought(self) -> bool:
        """Whether all text so far may be a thought that was opened by the chat template."""
        return self.opens is not False and not self._reader.opened and not self._thought

    def _is_held(self, text: str) -> bool:
        if self._may_be_thought and (self.opens or not self.late):
            return True
        if (self._offered and not self.late) or self._called or self._reader.begins_like_a_call:
            return True
        self._mark = find_call_mark(text) if self._mark < 0 else self._mark
        return not text[: self._mark if self._mark >= 0 else None].strip()


def _think(thought: str) -> str:
    return f"<think>{escape(thought.strip())}</think>" if thought.strip() else ""


def _text(value: object) -> str:
    """Strings unchanged; objects, which Ollama sends as arguments, as JSON; anything else as ''."""
    return value if isinstance(value, str) else to_json(value) if isinstance(value, dict) else ""


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
