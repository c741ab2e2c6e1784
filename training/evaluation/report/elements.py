"""HTML and SVG by hand, escaped by construction: a `str` is text, and only `Html` is markup.

Documents, questions and answers are written by others. Nothing of them can become markup, because nothing but
`element` and `joined` makes `Html`.
"""

import re
from collections.abc import Iterable
from html import escape

_VOID = frozenset({"meta", "br", "hr"})
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
"""Control characters (not tab and line feed), and those that turn the direction of the text after them."""


class Html(str):
    """Markup that may stand in a page as it is."""

    __slots__ = ()


def plain(text: str) -> str:
    """`text` without what a page cannot show; each such character becomes U+FFFD."""
    whole = text.replace("\r\n", "\n").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _UNPRINTABLE.sub("\ufffd", whole)


def markup(text: str) -> Html:
    """`text` as it is when it is markup already, else escaped."""
    return text if isinstance(text, Html) else Html(escape(plain(text)))


def joined(parts: Iterable[str], between: str = "") -> Html:
    return Html(markup(between).join(markup(part) for part in parts))


def element(name: str, /, *children: str, **attributes: str | float | bool | None) -> Html:
    """`<name …>children</name>`.

    A trailing underscore of an attribute's name is dropped (`class_`), the others become hyphens. None and
    False leave an attribute out, True gives it no value; numbers are cut to two decimals.
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(children)}</{name}>")


def _attribute(name: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    text = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    return f' {key}="{escape(plain(text))}"'


def lines(text: str) -> Html:
    """Text whose line feeds are kept."""
    return joined(text.split("\n"), element("br"))
