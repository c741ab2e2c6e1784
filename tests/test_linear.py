"""Every regular expression that sees people's text works in linear time, and so do the functions around them.

A text of several kilobytes must not hold up a server: that once took 39 s for 40 KB of `A. A. A.`.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import SupportsIndex

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from index.formats.html import plain_text
from index.formats.replies import own_text
from index.text.sentences import spans
from tests.regex_steps import StepCounter
from tests.work import calls

ROOT = Path(__file__).parent.parent
LENGTH = 30
GROWN = 10
ALLOWED = 1.3 * GROWN

MATCHED = {
    *("agent.expanders._BULLET", "agent.replies._NAMED", "agent.replies._XML_NAME"),
    "agent.policies.sentences._DATE_ALONE",
    *("index.dates._SLASHES", "index.dates._WORDS", "index.formats.mail._HEADER"),
    *(f"index.formats.parts.{name}" for name in ("_FENCE", "_HEADING", "_MINUTE")),
    *("index.formats.notes._PROPERTY", "index.formats.signal._HEAD"),
    *(f"index.formats.whatsapp.{name}" for name in ("_ATTACHED", "_AUTHOR", "_HEAD", "_NAMES")),
}
"""Patterns that are tried at the beginning of a text only, never searched for."""

UNITS = (
    *("A. ", "a", " ", "\n", "\n ", "A", "A ", "Aa ", "'", ". ", '."', ".)", "1", "1 ", ", ", "[", "[1,"),
    *(
        "[1 ",
        "]",
        "<",
        "< ",
        "</",
        "< / ",
        "<|",
        "<a_",
        "[A_",
        ">>A",
        "|||A",
        "]~",
        "<think>",
        "<think> ",
        "<search ",
        "<search a=",
        'a="',
        "<s",
        "_token",
        "start_of_",
        "[INST",
    ),
    *("<a_", "[A_", ">>A", "|||A", "]~"),
    *("/ ", ": ", "Aa Bb: ", "A-", "last ", "\\n", "e.g. ", "’s", "\u0301", "\u2028", "{", '"', "```"),
)


def patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    """All compiled patterns of text in the modules of index/ and agent/, by name."""
    for path in sorted([*(ROOT / "index").rglob("*.py"), *(ROOT / "agent").rglob("*.py")]):
        relative = path.relative_to(ROOT)
        if "migrations" in relative.parts or "re." not in path.read_text():
            continue
        module = importlib.import_module(".".join(relative.with_suffix("").parts))
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
                yield f"{module.__name__}.{name}", value


PATTERNS = dict(patterns())
SEARCHED = {name: pattern for name, pattern in PATTERNS.items() if name not in MATCHED}


@pytest.fixture(autouse=True)
def _deep() -> Iterator[None]:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    yield
    sys.setrecursionlimit(limit)


def test_the_patterns_are_found() -> None:
    assert {"index.text.sentences._END", "agent.tags._TAG", "agent.policies.cues.NAME"} <= set(PATTERNS)


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_a_pattern_needs_steps_in_proportion_to_the_text(name: str) -> None:
    counter = StepCounter(PATTERNS[name])
    search = counter.match if name in MATCHED else counter.search_all
    for start, unit in product(("", "<"), UNITS):
        search((start + unit * LENGTH)[:LENGTH])
        few = counter.steps
        search((start + unit * LENGTH * GROWN)[: LENGTH * GROWN])
        assert counter.steps <= ALLOWED * few, (start, unit)


@settings(max_examples=40, deadline=None)
@example("|||Aa|||A")
@given(st.lists(st.sampled_from(UNITS), max_size=8).map("".join))
def test_the_step_counter_matches_what_re_matches(text: str) -> None:
    for pattern in SEARCHED.values():
        assert StepCounter(pattern).search_all(text) == [found.span() for found in pattern.finditer(text)]


def test_the_step_counter_sees_a_quadratic_pattern() -> None:
    counter = StepCounter(re.compile(r"\s+$"))
    counter.search_all(" " * LENGTH + "a")
    few = counter.steps
    counter.search_all(" " * LENGTH * GROWN + "a")
    assert counter.steps > 50 * few


class _Counted(str):
    """A text that counts the characters cut from it."""

    cut = 0

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        piece = super().__getitem__(key)
        self.cut += len(piece)
        return piece


@pytest.mark.parametrize("unit", ["A. ", "e.g. ", "A.\n", "Dr. A. ", ". ", ".) ", "Hi! "])
def test_sentences_are_found_by_looking_at_a_text_once(unit: str) -> None:
    few, many = _Counted(unit * 400), _Counted(unit * 4_000)
    spans(few)
    spans(many)
    assert many.cut <= ALLOWED * few.cut


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "<",
            "<a ",
            "<a '",
            '<a b="',
            "<!--",
            "<!",
            "</",
            "&",
            "<div>",
            "<blockquote><div>",
            "<div></blockquote>",
        ),
        *("<script>", "\n", ">\n", "> a\n", "a:\n", "2024:\n>\n", "From: a\nTo: b\n", "a 2024,\n", "--\n"),
    ],
)
def test_mail_and_pages_are_read_in_linear_time(unit: str) -> None:
    for read in (plain_text, own_text):
        few = calls(lambda read=read: read(unit * 100))  # type: ignore[misc]
        assert calls(lambda read=read: read(unit * 1_000)) <= ALLOWED * few  # type: ignore[misc]
