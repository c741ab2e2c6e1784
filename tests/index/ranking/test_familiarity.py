"""Whether an encoder's tokenizer spells a language, with MiniLM's own tokenizer and with scripted ones."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from index.encoding.models import packaged_minilm
from index.ranking.familiarity import UNREAD, familiarity
from index.text.passages import CountTokens


@pytest.fixture(scope="module")
def minilm_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(packaged_minilm() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def pieces(letters: int, seen: list[str] | None = None) -> CountTokens:
    """A tokenizer that takes so many letters for one token."""

    def count(texts: Sequence[str]) -> list[int]:
        if seen is not None:
            seen.extend(texts)
        return [-(-len(text) // letters) for text in texts]

    return count


@pytest.mark.parametrize(
    "text",
    [
        "我上个月去了海边，和朋友一起。",
        "先月、友達と海に行きました。",
        "지난달에 친구들과 바다에 갔어요.",
        "В прошлом месяце я ездил на море.",
        "Τον περασμένο μήνα πήγα στη θάλασσα.",
        "ذهبت إلى البحر الشهر الماضي",
        "בחודש שעבר נסעתי לים",
    ],
)
def test_minilm_spells_these_languages(minilm_tokenizer: Tokenizer, text: str) -> None:
    assert familiarity([text], count_with(minilm_tokenizer)) == UNREAD


@pytest.mark.parametrize(
    "text",
    [
        "Last month I went to the sea.",
        "Letzten Monat war ich mit Freunden am Meer.",
        "El mes pasado fui al mar con mis amigos.",
        "W zeszłym miesiącu pojechałem nad morze.",
        "Tháng trước tôi đi biển với bạn bè.",
    ],
)
def test_minilm_has_parts_of_words_of_these(minilm_tokenizer: Tokenizer, text: str) -> None:
    assert familiarity([text], count_with(minilm_tokenizer)) == 1


def count_with(tokenizer: Tokenizer) -> CountTokens:
    return lambda texts: [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]


@given(st.text(st.characters(exclude_categories=["L"]), max_size=40))
def test_digits_and_marks_say_nothing(between: str) -> None:
    assert familiarity([f"{between}猫{between}狗{between}"], pieces(1)) == UNREAD
    assert familiarity([f"{between}cats{between}dogs{between}"], pieces(4)) == 1


def test_english_names_among_other_words_do_not_hide_that_these_are_spelled() -> None:
    seen: list[str] = []
    assert familiarity(["我用 WeChat 和朋友聊天，明天去海边"], pieces(1, seen)) == UNREAD
    assert "WeChat" not in seen


@pytest.mark.parametrize("texts", [[], [""], ["12:30 !"]])
def test_texts_without_letters_are_familiar(texts: list[str]) -> None:
    assert familiarity(texts, pieces(1)) == 1


def test_the_beginning_of_a_long_history_is_enough() -> None:
    seen: list[str] = []
    familiarity(["word " * 100] * 1_000, pieces(4, seen))
    assert 4_000 <= sum(map(len, seen)) < 4_500
