"""A deleted document leaves stored answers, whatever quotes it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, event

from agent.trajectory import (
    Answer,
    Citation,
    Information,
    Limits,
    Message,
    Read,
    Search,
    Segment,
    Thought,
    Trajectory,
)
from index.errors import UnknownDocument
from index.storage import answers, profiles, schema
from index.storage.answers import StoredAnswer
from index.storage.redaction import MARKER, RUN, Deleted, document_ids
from index.storage.store import Store
from index.text.sentences import spans
from index.values import Passage
from server.answers import AnswerRecord
from tests.index.storage.test_store import encoded

SECRET = "The spare key lies under the third flower pot. Code 4711. Nobody knows."
OTHER = "The bakery opens at seven."
RAW = ("spare key lies", "flower pot", "4711", "Nobody knows")
"""Pieces of the secret that no file may hold once it is deleted."""


def passage(name: str, text: str, **more: Any) -> Passage:
    return Passage(document_id=name, text=text, rank=1, **more)


def body_of(answer: str, *, secret: str = SECRET, conversation: tuple[Message, ...] = ()) -> dict[str, Any]:
    """An answer to which the secret is passage 1 and another document is passage 2."""
    information = f"\n<information>\n[1] (2024-05-01) Keys: {secret}\n[2] {OTHER}\n</information>\n"
    trajectory = Trajectory(
        question="Where is the key?",
        limits=Limits(),
        conversation=conversation,
        steps=(
            Thought("I look for the key."),
            Search("spare key"),
            Information((Read(1, passage("secret", secret, title="Keys")), Read(2, passage("other", OTHER)))),
            Thought(f"So {secret[:45].lower()} is it."),
            Answer(
                answer, (Citation(1, "secret", secret[:46], 0, 46, 2), Citation(2, "other", OTHER, 0, 26, 2))
            ),
        ),
        segments=(
            Segment("environment", "Question: Where is the key?"),
            Segment("policy", "<search>key</search>", (1, 2, 3)),
            Segment("environment", information, (4, 5)),
            Segment("policy", f"<answer>{answer}</answer>", (6,)),
        ),
        finish_reason="answered",
    )
    return AnswerRecord("1", "ana", "2024-05-01", "pr2", "dense", trajectory).to_dict()


def save(store: Store, *bodies: dict[str, Any]) -> None:
    store.save_answers([StoredAnswer("ana", str(i), body) for i, body in enumerate(bodies)])


@contextmanager
def no_trace(path: Path, *pieces: str) -> Iterator[None]:
    """The files hold the pieces before and none of them after, while the store is still open."""
    for piece in pieces:
        assert any(piece.encode() in file.read_bytes() for file in path.parent.iterdir()), piece
    yield
    for piece in pieces:
        for file in path.parent.iterdir():
            assert piece.encode() not in file.read_bytes(), (piece, file)


def test_a_deleted_document_leaves_every_file(store: Store, path: Path) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    answer = "The spare key lies under the third flower pot [1]. The code is 4711 [1]. Bread is early [2]."
    save(store, body_of(answer))
    with no_trace(path, *RAW):
        store.delete_document("ana", "secret")
    redacted = store.answer("ana", "0")
    assert redacted["redacted"] is True
    assert redacted["answer"] == f"{MARKER} Bread is early [2]."
    assert [citation["quote"] for citation in redacted["citations"]] == [MARKER, OTHER]
    assert (redacted["citations"][0]["start"], redacted["citations"][0]["end"]) == (0, 0)
    trajectory = AnswerRecord.from_dict(redacted).trajectory
    assert trajectory.steps[0] == Thought("I look for the key.")
    (read, other) = trajectory.steps[2].passages  # type: ignore[union-attr]
    assert read == Read(1, Passage("secret", MARKER, rank=1))
    assert other.passage.text == OTHER
    assert [segment.token_ids for segment in trajectory.segments] == [None, (1, 2, 3), None, None]
    assert OTHER in trajectory.transcript
    assert store.document("ana", "other").text == OTHER


@pytest.mark.parametrize("end", [".", " [1].", ". [1]"])
def test_later_answers_of_the_conversation_are_redacted_too(store: Store, path: Path, end: str) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    earlier = f"The spare key lies under the third flower pot{end}"
    later = body_of(
        "Yes.", secret=OTHER, conversation=(Message("user", "Key?"), Message("assistant", earlier))
    )
    for value in later["trajectory"]["steps"][2]["passages"]:
        value["passage"]["document_id"] = "other"
    later["citations"] = later["trajectory"]["steps"][4]["citations"] = []
    save(store, later)
    with no_trace(path, "flower pot"):
        store.delete_document("ana", "secret")
    question, answer = store.answer("ana", "0")["trajectory"]["conversation"]
    assert (question["text"], answer["text"].removesuffix(" [1]")) == ("Key?", MARKER)


def test_answers_that_do_not_hold_it_stay_byte_for_byte(store: Store) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    store.put("bo", [[encoded("secret", SECRET)]])
    bodies = [body_of("x", secret="Nothing of the kind is written in here.") for _ in range(2)]
    for body in bodies:
        for cited in (body["citations"][0], body["trajectory"]["steps"][4]["citations"][0]):
            cited["document_id"] = "third"
        body["trajectory"]["steps"][2]["passages"][0]["passage"]["document_id"] = "third"
    store.put("ana", [[encoded("third")]])
    save(store, *bodies)
    store.save_answers([StoredAnswer("bo", "0", body_of("The spare key lies under the pot [1]."))])
    before = [store.answer("ana", "0"), store.answer("ana", "1"), store.answer("bo", "0")]
    store.delete_document("ana", "secret")
    assert [store.answer("ana", "0"), store.answer("ana", "1"), store.answer("bo", "0")] == before


def test_what_an_answer_read_before_the_deletion_is_not_stored_after_it(store: Store, path: Path) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    store.delete_document("ana", "secret")
    save(store, body_of("The spare key lies under the third flower pot [1]."))
    assert store.answer("ana", "0")["answer"] == MARKER
    for file in path.parent.iterdir():
        assert b"flower pot" not in file.read_bytes()


def test_a_former_text_of_the_document_goes_as_well(store: Store) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    save(store, body_of("The spare key lies under the third flower pot."))
    store.put("ana", [[encoded("secret", "I moved.")]])
    store.delete_document("ana", "secret")
    assert "flower" not in json.dumps(store.answer("ana", "0"))


@contextmanager
def while_deleting(store: Store, url: str) -> Iterator[Connection]:
    """A write of another process that the deletion of the secret, done with its search, waits for."""
    waits = threading.Event()

    @event.listens_for(store.database.engine, "before_cursor_execute")
    def watch(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement == "BEGIN IMMEDIATE" or statement.endswith(" FOR UPDATE"):
            waits.set()

    thread = threading.Thread(target=store.delete_document, args=("ana", "secret"))
    other = Store(url, None)
    with other.database.write() as connection:
        yield connection
        thread.start()
        assert waits.wait(60)
    thread.join(60)
    other.close()


def test_an_answer_that_is_stored_while_others_are_searched_is_redacted(store: Store, url: str) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    with while_deleting(store, url) as connection:
        body = body_of("The spare key lies under the third flower pot.")
        answers.save(connection, [StoredAnswer("ana", "0", body)])
    assert store.answer("ana", "0")["redacted"] is True
    assert "flower" not in json.dumps(store.answer("ana", "0"))


def test_two_deletions_at_the_same_time_both_leave_an_answer(store: Store, url: str) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    save(store, body_of("The spare key lies under the third flower pot."))
    with while_deleting(store, url) as connection:
        profiles.delete_document(connection, "ana", "other")
        answers.redact(connection, "ana", Deleted("other", (OTHER,)), [], ())
    left = json.dumps(store.answer("ana", "0"))
    assert "flower" not in left
    assert "bakery" not in left


def test_an_answer_whose_user_is_erased_while_it_is_searched_is_no_fault(store: Store, url: str) -> None:
    store.put("ana", [[encoded("secret", SECRET), encoded("other", OTHER)]])
    save(store, body_of("x"))
    with while_deleting(store, url) as connection:
        connection.execute(delete(schema.answers))
    with pytest.raises(UnknownDocument):
        store.answer("ana", "0")


words = st.lists(st.sampled_from("ann bob tea dog sea 7 ü 茶 [1] [2]".split()), min_size=1, max_size=12)
texts = st.lists(words.map(" ".join), min_size=1, max_size=4).map(lambda parts: ". ".join(parts).capitalize())


@given(texts, texts, texts)
@example("Ann. Bob", "Ann bob", "Ann. Bob [1]")
def test_no_run_of_the_document_survives_and_the_rest_is_untouched(
    text: str, before: str, after: str
) -> None:
    """Over invented documents: what is redacted holds no run of the text, and sentences go as a whole."""
    body = body_of(f"{before}. {text}. {after}", secret=text)
    redacted = Deleted("secret", (text,)).removed_from(body)
    assert redacted is not None
    record = AnswerRecord.from_dict(redacted)
    assert record.redacted
    kept = record.trajectory.answer.text if record.trajectory.answer else ""
    assert "[1]" not in kept
    own = text.casefold().replace("[1]", "1").replace("[2]", "2").replace(".", "").split()
    left = kept.casefold().replace("[2]", "2").replace(".", "").split()
    runs = {tuple(own[i : i + RUN]) for i in range(len(own) - RUN + 1)}
    assert not any(tuple(left[i : i + RUN]) in runs for i in range(len(left) - RUN + 1))
    sentences = {body["answer"][start:end] for start, end in spans(body["answer"])}
    for piece in kept.split(MARKER):
        assert sentences.issuperset(piece[start:end] for start, end in spans(piece))
    assert Deleted("secret", (text,)).removed_from(redacted) is None


def test_a_single_word_that_only_the_document_told_goes_with_its_sentence() -> None:
    secret, other = "Ottilie Brandt teaches me the violin.", "The violin is from Graz."
    shown = [{"document_id": name, "text": text} for name, text in (("d", secret), ("e", other))]
    body = {
        "question": "Who teaches me?",
        "segments": [{"text": "Think about the history. Who teaches me?"}],
        "steps": [{"passages": shown}, {"query": "Who teaches me? Ottilie's address"}],
        "answer": "I think about the violin. It is from Graz. Your teacher is Frau Brandt!",
    }
    redacted = Deleted("d", (secret,)).removed_from(body)
    assert redacted is not None
    assert redacted["steps"][1] == {"query": f"Who teaches me? {MARKER}"}
    assert redacted["answer"] == f"I think about the violin. It is from Graz. {MARKER}"
    # Where it was not shown, a word alone says nothing.
    assert Deleted("f", (secret,)).removed_from({"answer": "A letter of Ottilie came."}) is None


def test_a_short_document_is_a_quote_as_a_whole() -> None:
    redacted = Deleted("d", ("4711",)).removed_from({"answer": "It is 4711. So 47 or 11."})
    assert redacted == {"answer": f"{MARKER} So 47 or 11.", "redacted": True}
    redacted = Deleted("d", ("Tea. My pin is 4711 now.",)).removed_from({"answer": "Tea is good. Hot tea."})
    assert redacted is None


@pytest.mark.parametrize("text", ["我喜歡在早上喝綠茶", "ฉันชอบดื่มชาเขียว", "Я люблю зелёный чай по утрам"])
def test_scripts_without_spaces_are_recognized(text: str) -> None:
    redacted = Deleted("d", (text,)).removed_from({"answer": f"You wrote: {text[2:]}! And more."})
    assert redacted == {"answer": f"{MARKER} And more.", "redacted": True}


def test_marks_are_recognized_as_models_write_them() -> None:
    body = {
        "citations": [{"number": 2, "document_id": "d", "quote": "x", "start": 3, "end": 4}],
        "answer": "One [1]. Two [1, 2]. Three 【2】. Four [^2]. Five. [2]\nSix [22].",
    }
    redacted = Deleted("d").removed_from(body)
    assert redacted is not None
    assert redacted["answer"] == f"One [1]. {MARKER}\nSix [22]."


def test_documents_of_an_answer_are_those_it_shows_or_cites() -> None:
    assert document_ids(body_of("x")) == {"secret", "other"}
    assert document_ids({"a": [1, None, {"document_id": 7}]}) == set()
