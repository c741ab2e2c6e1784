"""The sample: what its records promise, and that its answers lie in the profiles and can be found."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import pytest

from index.documents import parse_document
from index.encoding.encoders import SentenceTransformerEncoder
from index.profiles import Profiles
from index.storage.store import Store
from index.text.words import content_terms
from training.tasks import sample

RECORDS = list(sample.records())
SUPPORT = sample.support()
CATEGORIES = ("Art_and_Entertainment", "Lifestyle_and_Personal_Development", "Society_and_Culture")
SHA256 = "0fc5f5328b46f0d38977a339b34f4a52c1f2e3da6e0735e22eb1928f14f90495"
"""Of all records. A change of the material changes every figure that was measured with it: say so."""

each_record = pytest.mark.parametrize("record", RECORDS, ids=[record["id"] for record in RECORDS])


def user(record: dict[str, Any]) -> str:
    return str(record["id"]).rpartition("-")[0]


def needed(record: dict[str, Any]) -> set[str]:
    """The ids of all notes that an answer needs."""
    aspects = range(len(record["rubric_aspects"]))
    return {note for number in aspects for note in SUPPORT[record["id"], number]}


def as_lines(records: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def test_twenty_people_have_a_question_of_each_category() -> None:
    assert len(RECORDS) == len({record["id"] for record in RECORDS}) == 60
    assert len({user(record) for record in RECORDS}) == 20
    assert {(user(record), record["category"]) for record in RECORDS} == {
        (name, category) for name in {user(record) for record in RECORDS} for category in CATEGORIES
    }
    assert len({record["question"] for record in RECORDS}) == 60


@each_record
def test_a_record_has_lamp_qas_schema(record: dict[str, Any]) -> None:
    fields = ["id", "question", "category", "narrative", "rubric_aspects", "profile"]
    assert list(record) == fields
    assert all(isinstance(record[field], str) and record[field].strip() for field in fields[:4])
    assert 3 <= len(record["rubric_aspects"]) <= 5
    for aspect in record["rubric_aspects"]:
        assert list(aspect) == ["aspect", "reason", "evidence"]
        assert all(isinstance(text, str) and text.strip() == text != "" for text in aspect.values())
    for note in record["profile"]:
        assert list(note) == ["id", "text", "category"]
        assert note["category"] in CATEGORIES
        parse_document({"id": note["id"], "text": note["text"]})


@each_record
def test_a_rubric_rests_on_sentences_of_the_narrative(record: dict[str, Any]) -> None:
    for aspect in record["rubric_aspects"]:
        assert aspect["evidence"] in record["narrative"]
        assert aspect["evidence"].endswith(".")
    aspects = [aspect["aspect"] for aspect in record["rubric_aspects"]]
    assert len(set(aspects)) == len(aspects)
    assert record["question"].endswith("?")
    assert record["question"] not in record["narrative"]


@each_record
def test_a_question_does_not_give_its_rubric_away(record: dict[str, Any]) -> None:
    asked = set(content_terms(record["question"]))
    for aspect in record["rubric_aspects"]:
        assert len(asked & set(content_terms(aspect["aspect"]))) <= 1, aspect["aspect"]


def test_profiles_have_thirty_to_three_hundred_notes_no_two_alike() -> None:
    sizes = {user(record): len(record["profile"]) for record in RECORDS}
    assert min(sizes.values()) == 30
    assert max(sizes.values()) == 300
    assert sum(60 <= size <= 150 for size in sizes.values()) >= 12
    for record in RECORDS:
        texts = [note["text"] for note in record["profile"]]
        assert len({text.casefold() for text in texts}) == len(texts)
        assert len({note["id"] for note in record["profile"]}) == len(texts)
        assert all(text == text.strip() for text in texts)
        assert max(map(len, texts)) <= 1200
        assert not any(mark in text for text in texts for mark in "{}<>")


def test_the_questions_of_a_person_share_one_profile() -> None:
    profiles: dict[str, Any] = {}
    for record in RECORDS:
        assert profiles.setdefault(user(record), record["profile"]) == record["profile"]


def test_support_names_notes_of_the_profile_for_most_aspects() -> None:
    assert set(SUPPORT) == {
        (record["id"], number) for record in RECORDS for number in range(len(record["rubric_aspects"]))
    }
    assert mean(bool(notes) for notes in SUPPORT.values()) >= 0.7
    for record in RECORDS:
        assert needed(record) <= {note["id"] for note in record["profile"]}
        assert len(needed(record)) >= 3
    assert sum(len(notes) > 1 for notes in SUPPORT.values()) >= 20, "some aspects join two notes"


def test_supporting_notes_stand_anywhere_in_the_profile() -> None:
    places = []
    for record in RECORDS:
        ids = [note["id"] for note in record["profile"]]
        places += [ids.index(note) / len(ids) for note in needed(record)]
    assert 0.4 < mean(places) < 0.6


def test_records_are_the_same_on_every_run_and_machine(tmp_path: Path) -> None:
    assert hashlib.sha256(as_lines(RECORDS)).hexdigest() == SHA256
    assert as_lines(sample.records()) == as_lines(RECORDS)
    file = tmp_path / "sample.jsonl"
    command = [sys.executable, "-m", "training.tasks.sample", "--out", str(file)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[3])
    assert file.read_bytes() == as_lines(RECORDS)


def test_a_record_that_was_changed_by_its_reader_leaves_the_others_alone() -> None:
    first, second, *_ = sample.records()
    first["profile"][0]["text"] = "changed"
    first["profile"].clear()
    assert second == RECORDS[1]


def covered(record: dict[str, Any], notes: Iterable[str]) -> float:
    """The share of the rubric's content words that occur in these notes: a judge of words alone."""
    texts = {note["id"]: note["text"] for note in record["profile"]}
    known = {term for note in notes for term in content_terms(texts[note])}
    shares = []
    for aspect in record["rubric_aspects"]:
        terms = set(content_terms(f"{aspect['aspect']} {aspect['evidence']}"))
        shares.append(len(terms & known) / len(terms))
    return mean(shares)


def test_the_right_notes_cover_a_rubric_far_better_than_others_of_the_same_person() -> None:
    draw = Random(5)
    right, others = [], []
    for record in RECORDS:
        ids = [note["id"] for note in record["profile"] if note["id"] not in needed(record)]
        right.append(covered(record, needed(record)))
        others.append(covered(record, draw.sample(ids, len(needed(record)))))
    assert mean(right) > 0.5
    assert 0 < mean(others) < 0.2


def test_the_question_finds_more_of_the_notes_than_chance_and_not_all(
    minilm: SentenceTransformerEncoder, tmp_path: Path
) -> None:
    profiles = Profiles(Store(f"sqlite:///{tmp_path}/pr2.db", minilm.manifest), minilm)
    found, chance = [], []
    for record in [record for record in RECORDS if 50 <= len(record["profile"]) <= 70]:
        notes = record["profile"]
        if user(record) not in profiles.store.users():
            profiles.put(user(record), [parse_document({"id": n["id"], "text": n["text"]}) for n in notes])
        (passages,) = profiles.search(user(record), [record["question"]], 10)
        found.append(len(needed(record) & {p.document_id for p in passages}) / len(needed(record)))
        chance.append(10 / len(notes))
    assert mean(chance) + 0.25 < mean(found) < 0.9
