import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.encoding.encoders import SentenceTransformerEncoder
from index.text.passages import CHARACTERS, split

WORDS = "tea coffee Rex walks. Otta cabin, oven! pan? Anna nuts mushrooms donaudampfschifffahrt".split()


def letters(texts: Sequence[str]) -> list[int]:
    """The strictest counter: every character that is not white space is a token."""
    return [len("".join(text.split())) for text in texts]


def words(texts: Sequence[str]) -> list[int]:
    return [len(re.findall(r"\w+|[^\w\s]", text)) for text in texts]


def lost(text: str, found: list[tuple[int, int]]) -> str:
    """The text outside all passages."""
    edges = [0, *(bound for span in found for bound in span), len(text)]
    return "".join(text[start:end] for start, end in zip(edges[::2], edges[1::2], strict=True)).strip()


prose = st.lists(st.one_of(st.sampled_from([*WORDS, " ", ". ", "\n"]), st.text(max_size=4))).map(" ".join)


@given(prose, st.integers(1, 12), st.sampled_from([letters, words]))
def test_passages_hold_every_character_and_fit_the_window(text: str, window: int, count: object) -> None:
    counter = letters if count is letters else words
    found = split(text, window, counter)
    bounds = [bound for span in found for bound in span]
    assert bounds == sorted(bounds)
    assert lost(text, found) == ""
    assert max(counter([text[start:end] for start, end in found]), default=0) <= window


def test_a_text_that_fits_is_one_passage_as_it_is() -> None:
    assert split(" tea \n", 1, words) == [(0, 6)]


def test_passages_are_of_about_equal_length() -> None:
    text = "One two three four. " * 30
    sizes = words([text[start:end] for start, end in split(text, 100, words)])
    assert sum(sizes) == 150
    assert max(sizes) - min(sizes) <= 10


def test_passages_end_where_sentences_end() -> None:
    text = "One two three four. " * 30
    assert {text[start:end][-5:] for start, end in split(text, 20, words)} == {"four."}


def test_a_long_sentence_is_cut_between_words() -> None:
    text = " ".join(["tea"] * 200)
    found = split(text, 30, letters)
    assert {word for start, end in found for word in text[start:end].split()} == {"tea"}


def test_a_word_longer_than_the_window_is_cut_anywhere() -> None:
    text = "x" * 100
    found = split(text, 30, letters)
    assert "".join(text[start:end] for start, end in found) == text


def unknown(texts: Sequence[str]) -> list[int]:
    """A tokenizer that takes any run without white space for one token."""
    return [len(text.split()) for text in texts]


@pytest.mark.parametrize(
    "text", ["x" * 200_000, "喝茶，" * 50_000, "tea " + " " * 100_000 + "tea", "ab\n" * 5 + "y" * 9_999]
)
def test_a_passage_is_bounded_in_characters_whatever_counts_as_a_token(text: str) -> None:
    found = split(text, 128, unknown)
    assert max(end - start for start, end in found) <= 128 * CHARACTERS
    assert lost(text, found) == ""


def test_the_bound_is_far_above_prose() -> None:
    text = "Internationalization considerations notwithstanding. " * 20
    assert split(text, 100, unknown) == [(0, len(text))]


def test_a_window_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 0 tokens"):
        split("tea", 0, words)


def test_passages_fit_the_window_of_a_real_tokenizer(minilm: SentenceTransformerEncoder) -> None:
    dice = random.Random(1)
    pieces = [
        *WORDS,
        "https://example.org/a/b?c=d&e=f",
        "🦊",
        "naïve",
        "日本語",
        "x" * 90,
        "0123456789abcdef" * 4,
        "\n",
    ]
    for _ in range(20):
        text = dice.choice([" ", "", "-"]).join(dice.choice(pieces) for _ in range(300))
        found = split(text, 32, minilm.count_tokens)
        assert lost(text, found) == ""
        assert max(minilm.count_tokens([text[start:end] for start, end in found])) <= 32
