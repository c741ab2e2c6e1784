"""Detects error messages of servers that quote the user's text, so that nothing quotes it in turn."""

import re
from collections.abc import Mapping
from typing import Any

_ECHO_CHARACTERS = 16
"""A server's message is withheld if it shares this many consecutive characters with the prompt."""
_SHORTEST_ECHO = 4
_WORD, _ESCAPED, _CODE = re.compile(r"\w+"), re.compile(r"\\[nrt]"), re.compile(r"\\u([0-9a-fA-F]{4})")
_PARTS = re.compile(r"\n|: ")


def texts_in(request: Mapping[str, Any]) -> str:
    """All text in a request that may be the user's."""
    messages = [str(message.get("content") or "") for message in request.get("messages", ())]
    return "\n".join([str(request.get("prompt") or request.get("content") or ""), *messages])


def echoes(message: str, prompt: str) -> bool:
    """Whether the message quotes part of the prompt, however it is escaped."""
    words, known = _plain(message), _plain(prompt)
    # Questions can be shorter than _ECHO_CHARACTERS: compare whole lines, and what follows a colon.
    parts = map(_plain, _PARTS.split(prompt))
    if any(_SHORTEST_ECHO <= len(part) < _ECHO_CHARACTERS and part in words for part in parts):
        return True
    last = max(len(words) - _ECHO_CHARACTERS, 0)
    return any(words[start : start + _ECHO_CHARACTERS] in known for start in range(last + 1))


def _plain(text: str) -> str:
    text = _CODE.sub(lambda found: chr(int(found[1], 16)), _ESCAPED.sub(" ", text))
    # JSON escapes one character as a surrogate pair: join its halves.
    return " ".join(_WORD.findall(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")))
