from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from index.documents import Document
from index.profiles import Profiles
from index.ranking.familiarity import UNREAD
from index.ranking.hybrid import SIGNALS, scores, signals
from index.ranking.profile import Profile
from index.storage.store import Store
from tests.index.fakes import HashEncoder

ENCODER = HashEncoder(dimension=64)


def profile_of(folder: Path, documents: Sequence[Document]) -> Profile:
    folder.mkdir(exist_ok=True)
    profiles = Profiles(Store(f"sqlite:///{folder}/pr2.db", ENCODER.manifest), ENCODER)
    profiles.put("ana", documents)
    return profiles.get("ana")


def turn(number: int, speaker: str, text: str, source: str | None = "chat", hour: int = 9) -> Document:
    return Document.model_validate(
        {
            "id": str(number),
            "text": f"{speaker}: {text}",
            "source": source,
            "created_at": f"2024-05-01T{hour:02}:00:00Z",
            "metadata": {"speaker": speaker},
        }
    )


NO_MEANING = np.zeros(64, np.float32)
"""For tests of the words alone."""


def ranked(profile: Profile, question: str) -> list[str]:
    order = np.argsort(-scores(profile, question, NO_MEANING), kind="stable")
    return [profile.document(int(position)).id for position in order]


def test_a_turn_is_found_by_what_was_asked_just_before_it(tmp_path: Path) -> None:
    talk = [
        turn(1, "Ana", "How was the weather?"),
        turn(2, "Bo", "Grey."),
        turn(3, "Ana", "Which instrument did you start to learn?"),
        turn(4, "Bo", "The one with the big wooden body."),
        turn(5, "Ana", "Lovely."),
        turn(6, "Bo", "See you on Monday."),
    ]
    first, *nearest = ranked(profile_of(tmp_path, talk), "Which instrument is learnt?")[:3]
    assert (first, set(nearest)) == ("3", {"2", "4"})
    # Of the two neighbours, the one by the person who is asked about.
    talk[1] = turn(2, "Ana", "Grey.")
    assert ranked(profile_of(tmp_path / "other", talk), "Which instrument does Bo learn?")[0] == "4"


@pytest.mark.parametrize(
    ("source", "hour"), [("mail", 9), (None, 9), ("chat", 20)], ids=["other source", "none", "hours later"]
)
def test_only_documents_of_one_sitting_are_context_of_each_other(
    tmp_path: Path, source: str | None, hour: int
) -> None:
    first = turn(1, "Ana", "Which instrument did you start to learn?")
    profile = profile_of(tmp_path, [first, turn(2, "Bo", "A big wooden one.", source, hour)])
    together = profile_of(tmp_path / "other", [first, turn(2, "Bo", "A big wooden one.")])
    question = "instrument"
    assert scores(profile, question, NO_MEANING)[1] == 0
    assert scores(together, question, NO_MEANING)[1] > 0


def test_the_one_who_is_named_is_preferred_and_being_addressed_is_not_enough(tmp_path: Path) -> None:
    talk = [
        turn(1, "Ana", "Bo, Bo, do you like tea? I like tea.", None),
        turn(2, "Bo", "I like tea.", None),
        turn(3, "Ana", "The bus is late.", None),
        turn(4, "Bo", "The train, too.", None),
    ]
    assert ranked(profile_of(tmp_path, talk), "Does Bo like tea?")[0] == "2"


def test_a_person_who_wrote_everything_gets_no_preference(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, [turn(n, "Ana", "tea" if n == 2 else "bus", None) for n in range(1, 5)])
    assert list(profile.named("What does Ana drink?")) == ["ana"]
    assert list(scores(profile, "Ana tea", NO_MEANING) > 0) == [False, True, False, False]


def test_a_passage_without_an_author_is_preferred_to_one_by_somebody_else(tmp_path: Path) -> None:
    notes = [Document(id="note", text="tea with milk")]
    talk = [turn(n, speaker, "tea", None) for n, speaker in enumerate(["Ana", "Bo", "Ana", "Bo"])]
    profile = profile_of(tmp_path, [*talk, *notes])
    by = signals(profile, "Which tea does Bo like?", NO_MEANING)[SIGNALS.index("person")]
    found = {profile.document(i).id: value for i, value in enumerate(by)}
    # Three of five are Bo's or may be: -log2(3 / 5).
    assert found == {"0": 0, "2": 0, **dict.fromkeys(("1", "3", "note"), pytest.approx(0.737, abs=1e-3))}


def test_words_that_the_profile_does_not_use_leave_the_ranking_to_meaning(tmp_path: Path) -> None:
    documents = [Document(id=str(n), text=f"word{n} thing{n}") for n in range(8)]
    profile = profile_of(tmp_path, documents)
    vector = profile.vectors.vector(5)
    assert int(np.argmax(scores(profile, "nothing of that kind", vector))) == 5


def test_speakers_are_known_from_the_lines_of_a_transcript(tmp_path: Path) -> None:
    text = "Ana: see you\nBo Berg: at noon\nnote: not a name\nhttp://x: nor this"
    profile = profile_of(tmp_path, [Document(id="1", text=text), Document(id="2", text="Bo Berg: yes")])
    assert profile.authors(0) == {"ana", "bo berg"}
    assert profile.people == ["bo berg"]


class Spelling(HashEncoder):
    """Takes every letter of Chinese for a token, as MiniLM does."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) if not text.isascii() else len(text.split()) for text in texts]


@pytest.mark.parametrize(
    ("encoder", "weight"), [(HashEncoder(dimension=64), 1.0), (Spelling(dimension=64), UNREAD)]
)
def test_similarity_counts_little_in_the_language_that_the_encoder_does_not_know(
    tmp_path: Path, encoder: HashEncoder, weight: float
) -> None:
    notes = [
        Document(id="zh", text="我昨天和朋友去了海边，那里的风很大。", source="diary"),
        Document(id="en", text="The cat and the dog were at the door of the house.", source="notes"),
    ]
    profiles = Profiles(Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest), encoder)
    profiles.put("ana", notes)
    profile = profiles.get("ana")
    order = [profile.document(i).id for i in range(2)]
    assert dict(zip(order, profile.familiarity, strict=True)) == {"zh": weight, "en": 1}
    for position, name in enumerate(order):
        vector = profile.vectors.vector(position)
        product = float(vector @ vector) - float(profile.vectors.mean @ vector) * 2 / 3
        meaning = signals(profile, "", vector)[SIGNALS.index("meaning")]
        assert meaning[position] == pytest.approx(product * (weight if name == "zh" else 1), rel=1e-4)


def test_a_lone_document_is_found_by_its_meaning(tmp_path: Path) -> None:
    profile = profile_of(tmp_path, [Document(id="a", text="I love ripe pears.")])
    (vector,) = ENCODER.encode_queries(["I love pears."])
    assert scores(profile, "favourite fruit", vector)[0] > 0
