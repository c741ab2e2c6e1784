"""JSON on the wire: the one encoder for bodies, events and lines."""

import json
from typing import Any

from starlette.responses import JSONResponse

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(value: Any) -> bytes:
    """`value` as one line of UTF-8. A lone surrogate, which UTF-8 cannot encode, becomes '?'."""
    return _encode(value).encode("utf-8", "replace")


class JSONBody(JSONResponse):
    """A body of plain JSON values."""

    def render(self, content: Any) -> bytes:
        return encode(content)
