import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.text.sentences import _ABBREVIATION, _END, spans

prose = st.lists(
    st.one_of(
        st.sampled_from(
            ["Dr.", "Hi.", "no", " ", "\n", "?!", '."', ")", "A.", "a.m.", "approx.", "_", "…", "\u2028"]
        ),
        st.text(max_size=4),
    )
).map("".join)


@given(prose)
def test_spans_are_ordered_and_lose_no_character(text: str) -> None:
    found = spans(text)
    bounds = [bound for span in found for bound in span]
    assert bounds == sorted(bounds)
    assert all(0 <= start < end <= len(text) for start, end in found)
    assert all(text[start:end] == text[start:end].strip() for start, end in found)
    between = [
        text[start:end] for start, end in zip([0, *bounds[1::2]], [*bounds[::2], len(text)], strict=True)
    ]
    assert "".join(between).strip() == ""


def patient(text: str) -> list[str]:
    """The sentences of `text`, with each end compared with the whole sentence before it: quadratic."""
    found, start = [], 0
    for gap in _END.finditer(text):
        end = gap.start() + len(gap.group().rstrip())
        if "\n" in gap.group() or not _ABBREVIATION.search(text, start, end):
            found.append(text[start:end])
            start = gap.end()
    found.append(text[start:])
    return [sentence for piece in found if (sentence := piece.strip())]


@given(prose)
def test_looking_back_at_the_longest_abbreviation_is_enough(text: str) -> None:
    assert [text[start:end] for start, end in spans(text)] == patient(text)


def test_the_demo_profiles_have_the_same_sentences(demo_texts: list[str]) -> None:
    for text in demo_texts:
        assert [text[start:end] for start, end in spans(text)] == patient(text)


@pytest.fixture
def demo_texts() -> list[str]:
    folder = Path(__file__).parents[3] / "server" / "demo"
    files = [file for file in folder.glob("*.ndjson") if file.stem != "questions"]
    assert files
    return [json.loads(line)["text"] for file in files for line in file.read_text().splitlines()]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("I like tea. You do not! Why? Well", ["I like tea.", "You do not!", "Why?", "Well"]),
        ("She met Dr. Berg at 5 p.m. in Oslo. Fine.", ["She met Dr. Berg at 5 p.m. in Oslo.", "Fine."]),
        ('He said "Go." Then he left.', ['He said "Go."', "Then he left."]),
        ("first line\nsecond line\n\n", ["first line", "second line"]),
        ("version 1.2. and so on", ["version 1.2. and so on"]),
        ("J. Doe wrote it. Yes.", ["J. Doe wrote it.", "Yes."]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_say_so(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in spans(text)] == sentences
