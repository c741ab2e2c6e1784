import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.text.sentences import spans

prose = st.lists(
    st.one_of(
        st.sampled_from(["Dr.", "Hi.", "no", " ", "\n", "?!", '."', ")", "A.", "a.m.", "…", "\u2028"]),
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
