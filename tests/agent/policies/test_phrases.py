from dataclasses import asdict

import pytest

from agent.policies.phrases import _PHRASES, phrases
from index.text.words import detect

VALUES = {"name": "Ines", "number": 3, "topic": "tea", "count": 2}
USED = {"about": {"name"}, "plan": {"topic"}, "lead": {"name", "number"}, "conclusion": {"count"}}


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


def test_a_language_without_phrases_has_the_english_ones() -> None:
    assert phrases("ga") == phrases("en")
    assert phrases("en").says == "Your history says:"
