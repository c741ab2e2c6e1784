from dataclasses import asdict

import pytest

from agent.policies.phrases import _PHRASES, phrases
from index.text.words import detect, words

VALUES = {
    "name": "Ines",
    "number": 3,
    "topic": "tea",
    "count": 2,
    "days": "2024-05-01",
    "said": "30 February",
}
USED = {
    "about": {"name"},
    "undated": {"days"},
    "impossible": {"said"},
    "plan": {"topic"},
    "lead": {"name", "number"},
    "conclusion": {"count"},
}
OTHER_ADDRESS = {
    "da": "deres",
    "de": "ihr ihre ihren ihrem ihrer ihres ihnen",
    "el": "σας εσάς εσείς",
    "es": "su sus usted vuestro",
    "fr": "tu te toi ton ta tes",
    "hi": "तुम तुम्हारा तुम्हारी तुम्हारे तू तेरा तेरी तेरे",
    "it": "suo sua suoi sue lei",
    "ja": "君 お前",
    "ko": "당신 자네",
    "nl": "u uw",
    "pl": "pan pani pana panu państwa",
    "pt": "tu te ti teu tua teus tuas",
    "ru": "ты тебя тебе тобой твой твоя твоё твое твоего твоей твоему твоём твою твои твоих твоим",
    "tr": "sen senin sana geçmişin geçmişinde geçmişinden",
    "vi": "mày ngài ông bà anh chị",
    "zh": "您",
}
"""Words that address the person in the other form than the phrases of the language do."""


@pytest.mark.parametrize("language", _PHRASES)
def test_phrases_are_in_their_language_and_name_their_values(language: str) -> None:
    said = {field: text for field, text in asdict(phrases(language)).items() if text}
    for field, text in said.items():
        for name, value in VALUES.items():
            assert (f"{{{name}}}" in text) == (name in USED.get(field, ())), (field, name)
            assert name not in USED.get(field, ()) or str(value) in text.format(**VALUES)
    # Of an answer in any language, a policy's own words begin a line without a mark of quotes.
    assert not any(text.startswith("- ") for text in said.values())
    assert detect("\n".join(said.values())) == language


@pytest.mark.parametrize("language", OTHER_ADDRESS)
def test_phrases_address_the_person_in_one_form(language: str) -> None:
    said = "\n".join(text for text in asdict(phrases(language)).values() if text)
    other = OTHER_ADDRESS[language]
    if language in ("ja", "ko", "zh"):
        assert not any(word in said for word in other.split())
    else:
        assert not set(words(said)).intersection(words(other))


def test_a_language_without_phrases_has_the_english_ones() -> None:
    assert phrases("ga") == phrases("en")
    assert phrases("en").says == "Your history says:"
