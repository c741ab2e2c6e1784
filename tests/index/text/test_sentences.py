import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.text.sentences import _ABBREVIATION, _END, CHARACTERS, spans

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
        ("我喝茶。你呢？“好！”他说", ["我喝茶。", "你呢？", "“好！”", "他说"]),
        ("太好了!我们走吧", ["太好了!", "我们走吧"]),
        ("मैं घर गया। फिर सोया॥ बस", ["मैं घर गया।", "फिर सोया॥", "बस"]),
        ("آپ کیسے ہیں؟ ٹھیک ہوں۔ شکریہ", ["آپ کیسے ہیں؟", "ٹھیک ہوں۔", "شکریہ"]),
        ("Բարև։ Ինչպես ես", ["Բարև։", "Ինչպես ես"]),
        ("Am 3. März kommt z. B. Jonas. Gut.", ["Am 3. März kommt z. B. Jonas.", "Gut."]),
        ("In 2020. Then we left. On page 3. Maybe.", ["In 2020.", "Then we left.", "On page 3.", "Maybe."]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_would_say_so(text: str, sentences: list[str]) -> None:
    assert [text[start:end] for start, end in spans(text)] == sentences


@settings(deadline=None)
@given(st.text(st.sampled_from("ab ,。\n"), max_size=60), st.integers(1, 80))
def test_no_sentence_is_longer_than_the_bound(text: str, times: int) -> None:
    long = text * times
    found = spans(long)
    assert all(end - start <= CHARACTERS for start, end in found)
    bounds = [bound for span in found for bound in span]
    assert bounds == sorted(bounds)
    assert not "".join(
        long[start:end] for start, end in zip([0, *bounds[1::2]], [*bounds[::2], len(long)], strict=True)
    ).strip()


def test_a_long_sentence_is_cut_at_a_pause() -> None:
    clauses = "we walked on and on, " * 100
    assert all(
        clauses[start:end].split()[-1] in "we walked on, and on".split() for start, end in spans(clauses)
    )
    assert len(spans("x" * 200_000)) == 200
