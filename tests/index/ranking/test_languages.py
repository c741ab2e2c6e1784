"""A passage is searched in the language of its source."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index.documents import Document
from index.profiles import Profiles
from index.ranking.hybrid import scores
from index.storage.store import Store
from tests.index.fakes import HashEncoder

ENCODER = HashEncoder(dimension=8)
GERMAN = [
    "Ich habe gestern die Äpfel gekauft und dann für alle gekocht.",
    "Wir sind mit dem Zug nach Hause gefahren, aber er war nicht pünktlich.",
    "Ja, genau.",
]
ENGLISH = [
    "I have walked the dogs with my sister because it was so warm.",
    "We are going home now, are you?",
    "Ok!",
]


@pytest.fixture
def profiles(tmp_path: Path) -> Iterator[Profiles]:
    store = Store(f"sqlite:///{tmp_path}/pr2.db", ENCODER.manifest)
    profiles = Profiles(store, ENCODER)
    profiles.put(
        "ana",
        [Document(id=f"de{n}", text=text, source="mail") for n, text in enumerate(GERMAN)]
        + [Document(id=f"en{n}", text=text, source="chat") for n, text in enumerate(ENGLISH)]
        + [Document(id="short", text="Ciao", source="sms")],
    )
    yield profiles
    store.close()


def languages(profiles: Profiles, user: str) -> list[str]:
    profile = profiles.get(user)
    return [profile.language(position) for position in range(len(profile))]


def test_the_language_is_that_of_the_source_and_of_the_profile_for_a_short_one(profiles: Profiles) -> None:
    assert languages(profiles, "ana")[:6] == ["de"] * 3 + ["en"] * 3
    assert languages(profiles, "ana")[6] in {"de", "en"}


@pytest.mark.parametrize(
    ("query", "found"),
    [("Apfel", "de0"), ("apfel kaufen", "de0"), ("dog", "en0"), ("walking", "en0"), ("Zügen", "de1")],
)
def test_a_query_meets_each_passage_in_its_own_language(profiles: Profiles, query: str, found: str) -> None:
    assert profiles.search("ana", [query], 1, "bm25")[0][0].document_id == found
    profile = profiles.get("ana")
    best = int(np.argmax(scores(profile, query, np.zeros(8, np.float32))))
    assert profile.document(best).id == found


def test_a_profile_of_one_short_text_is_searched(profiles: Profiles) -> None:
    profiles.put("bo", [Document(id="a", text="tea")])
    assert languages(profiles, "bo") == ["en"]
    assert profiles.search("bo", ["Tea"], 1, "bm25")[0][0].document_id == "a"


def test_an_empty_profile_has_no_language(profiles: Profiles) -> None:
    profiles.put("cy", [Document(id="a", text="tea")])
    profiles.delete_document("cy", "a")
    assert languages(profiles, "cy") == []
