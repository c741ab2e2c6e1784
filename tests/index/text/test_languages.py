import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.text.languages import STEMMERS, stem, stopwords
from index.text.words import detect

TYPED: dict[str, list[tuple[str, str]]] = json.loads(
    (Path(__file__).parents[1] / "ranking" / "data" / "typed_words.json").read_text("utf-8")
)


@pytest.mark.parametrize("language", TYPED)
def test_the_language_of_a_source_is_detected(language: str) -> None:
    assert detect("\n".join(text for text, _ in TYPED[language])) == language


@pytest.mark.parametrize("language", TYPED)
def test_a_single_sentence_is_never_taken_for_another_language_with_the_same_letters(language: str) -> None:
    found = {detect(text) for text, _ in TYPED[language]}
    # Of one Japanese sentence in twenty, all kana but three are particles: Han decides.
    assert found <= {language, None} | ({"zh"} if language == "ja" else set())


@pytest.mark.parametrize(
    ("question", "language"),
    [
        ("Which sister?", "en"),
        ("Welches Instrument lernt Lena?", "de"),
        ("Où est ma sœur ?", "fr"),
        ("¿Dónde está mi hermana?", "es"),
        ("我下次什么时候去看牙医？", "zh"),
        ("बहन क्या सीख रही है?", "hi"),
        ("kahve nerede?", "tr"),
        ("Где ключи?", "ru"),
        ("Tea?", None),
        ("", None),
        ("🦊 42 ...", None),
    ],
)
def test_the_language_of_a_question_is_detected(question: str, language: str | None) -> None:
    assert detect(question, short=True) == language


@settings(deadline=None)
@given(st.text(), st.booleans())
def test_any_text_has_a_language_or_none(text: str, short: bool) -> None:
    assert detect(text, short=short) in {
        None,
        *STEMMERS,
        *("bg hr ja km ko lo lv mr my sk sl th uk ur vi zh he".split()),
    }


@pytest.mark.parametrize("language", STEMMERS)
def test_every_stemmer_exists(language: str) -> None:
    assert len(stem(["word", "слово"], language)) == 2


def test_without_a_stemmer_words_stay_as_they_are() -> None:
    assert stem(["sách", "vở"], "vi") == ["sách", "vở"]


def test_function_words_are_single_words_in_lower_case() -> None:
    assert "über" in stopwords("de")
    assert not [word for word in stopwords("vi") if " " in word or word != word.casefold()]
    assert stopwords("xx") == frozenset()
