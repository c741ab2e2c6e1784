import unicodedata

from hypothesis import given
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


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_has_terms(text: str) -> None:
    assert set(content_terms(text)) <= set(terms(text))


@given(st.text(st.one_of(st.characters(), st.sampled_from("é\u0316\u0301\u0f73\u0f71ǖ한Å'’"))))
def test_accents_are_dropped_as_normalizing_the_whole_text_would(text: str) -> None:
    parts = unicodedata.normalize("NFKD", text.replace("’", "'"))
    plain = "".join(part for part in parts if not unicodedata.combining(part))
    assert words(text) == words(plain)
