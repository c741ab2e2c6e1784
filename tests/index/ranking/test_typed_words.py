"""Words as people type them are found in fifteen languages.

`data/typed_words.json` holds, by language, twenty pairs of a stored text and what a person types to find it:
without accents, in another inflection, or with particles. The set was made before the tokenizer.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from index.documents import Document
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder

TYPED: dict[str, list[tuple[str, str]]] = json.loads(
    Path(__file__).with_name("data").joinpath("typed_words.json").read_text("utf-8")
)
ENCODER = HashEncoder(dimension=8)
ENOUGH = 18
"""Of twenty; the stored text must come first."""


def documents(language: str) -> list[Document]:
    return [
        Document(id=f"{language}-{number}", text=text, source=f"notes in {language}")
        for number, (text, _) in enumerate(TYPED[language])
    ]


@pytest.fixture(scope="module")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Profiles]:
    """A profile for each language, and one, `all`, of everything."""
    folder = tmp_path_factory.mktemp("typed")
    store = Store(f"sqlite:///{folder}/pr2.db", ENCODER.manifest)
    profiles = Profiles(store, ENCODER)
    for language in TYPED:
        profiles.put(language, documents(language))
        profiles.put("all", documents(language))
    yield profiles
    store.close()


def missed(profiles: Profiles, user: str, language: str, among: int = 1) -> list[str]:
    """The typed words without finding the stored text `among` the first ones."""
    typed = [query for _, query in TYPED[language]]
    found = profiles.search(user, typed, among, "bm25")
    return [
        query
        for number, (query, passages) in enumerate(zip(typed, found, strict=True))
        if f"{language}-{number}" not in [passage.document_id for passage in passages]
    ]


def test_the_set_has_twenty_words_in_fifteen_languages() -> None:
    assert [len(pairs) for pairs in TYPED.values()] == [20] * 15


@pytest.mark.parametrize("language", TYPED)
def test_words_are_found_in_a_history_of_their_language(profiles: Profiles, language: str) -> None:
    assert len(missed(profiles, language, language)) <= len(TYPED[language]) - ENOUGH


@pytest.mark.parametrize("language", TYPED)
def test_words_are_found_in_a_history_of_all_languages(profiles: Profiles, language: str) -> None:
    # Neighbours have words in common: Turkish and Danish notes are about a gitar and a guitar, too.
    assert len(missed(profiles, "all", language, among=3)) <= len(TYPED[language]) - ENOUGH
