import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.text.words import content_terms, terms, words


def test_words_are_lower_case_without_accents_and_possessives() -> None:
    assert words("Anna's DOG didn’t eat_it; the 2nd naïve one's") == [
        "anna", "dog", "didn't", "eat", "it", "the", "2nd", "naive", "one",
    ]  # fmt: skip


def test_content_terms_are_stemmed_once_each_without_function_words() -> None:
    assert content_terms("What are the dogs of the dog walking for?") == ["dog", "walk"]
    assert content_terms("Who am I?") == terms("Who am I?")
    assert content_terms("I didn’t see why Inês can’t") == ["see", "ine"]
    assert content_terms("") == []


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_terms(text: str) -> None:
    assert set(content_terms(text)) <= set(terms(text))


letters = st.sampled_from("aéİıßłøđÅǖñΆςйёאָ한국がポüあ中ป่ากि数2 '’.-\u0323\u0301")


@settings(deadline=None)
@given(st.text(letters, max_size=60))
def test_letters_and_accents_apart_make_the_same_words(text: str) -> None:
    assert words(unicodedata.normalize("NFD", text)) == words(unicodedata.normalize("NFC", text))


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=())))
def test_words_are_in_lower_case_and_without_accents(text: str) -> None:
    for word in words(text):
        assert word
        assert not any(character.isspace() for character in word)
        # Some letters without a lower case are in the standard as capitals.
        assert word == word.lower() or word.lower() != word.casefold()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Łódź, Ørsted; Đà straße IŞIK İzmir ısı œuvre", "lodz orsted da strasse isik izmir isi oeuvre"),
        ("L'école d’été, aujourd'hui", "l ecole d ete aujourd hui"),
        ("Ayşe'nin, Ankara'da", "ayse nin ankara da"),
        ("they're we've I'll he'd I'm don't Anna's", "they're we've i'll he'd i'm don't anna"),
        ("किताबें हिन्दी हिंदी ज़रूर", "किताबे हिदी हिदी जरूर"),
        ("ﬁn ＡＢＣ ｶﾞ co\u00adop می\u200cروم", "fin abc カ゛ coop ميروم"),
        ("أحمد كتابًا مدرسة", "احمد كتابا مدرسه"),
        ('דָּוִד צה"ל', "דוד צהל"),
        ("всё ёлка новый", "все елка новый"),
        ("Φούρνος ΟΔΌΣ", "φουρνοσ οδοσ"),
    ],
)
def test_words_of_many_languages(text: str, expected: str) -> None:
    assert words(text) == [word.replace("カ゛", "ガ") for word in expected.split()]


def test_scripts_without_spaces_give_pairs_and_where_it_means_something_single_characters() -> None:
    assert words("我喝茶。") == ["我", "喝", "茶", "我喝", "喝茶"]
    assert words("2025年3月") == ["2025", "年", "3", "月"]
    assert words("サッカーを") == ["サ", "ッ", "カ", "ー", "を", "サッ", "ッカ", "カー", "ーを"]
    assert words("고양이") == ["고", "양", "이", "고양", "양이"]
    assert words("หมอ") == ["หม", "มอ"]
    assert words("ก") == ["ก"]


def test_a_word_has_its_stems_and_itself_in_languages_that_leave_accents_out() -> None:
    assert set(terms("Äpfel", "de")) & set(terms("Apfel", "de"))
    assert set(terms("Mueller", "de")) & set(terms("Müller", "de"))
    assert set(terms("clés", "fr")) & set(terms("cle", "fr"))
    assert set(terms("الفندق", "ar")) & set(terms("فندق", "ar"))
    assert set(terms("הספר", "he")) & set(terms("ספר", "he"))
    assert terms("dogs", "en") == terms("dogs") == ["dog"]


def test_function_words_of_a_language_are_dropped_from_its_questions() -> None:
    assert content_terms("Wo sind die Schlüssel?", "de") == terms("Schlüssel", "de")
    assert content_terms("Où est la clé ?", "fr") == terms("clé", "fr")
    assert "are" not in content_terms("Where are the keys?")


def test_a_run_of_accents_of_any_length_is_read_once() -> None:
    assert words("e" + "\u0301\u0316" * 50_000) == ["e"]
