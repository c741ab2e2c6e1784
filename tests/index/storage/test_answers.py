"""Pages of stored answers, and their deletion."""

import pytest

from index.documents import Document
from index.errors import UnknownDocument
from index.storage.answers import Place, StoredAnswer
from index.storage.profiles import EncodedDocument
from index.storage.store import Store


@pytest.fixture
def answered(store: Store) -> Store:
    """Ana has seven answers, of which three and two were stored at one time; Bo has one."""
    for user in ("ana", "bo"):
        store.put(user, [[EncodedDocument(Document(id="a", text="tea"), ())]])
    for ids in ("b", "dac", "g", "fe"):
        store.save_answers([StoredAnswer("ana", one, {"text": one}) for one in ids])
    store.save_answers([StoredAnswer("bo", "z", {"text": "bo's"})])
    return store


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_of_any_size_hold_every_answer_once_newest_first(answered: Store, limit: int) -> None:
    seen: list[str] = []
    before: Place | None = None
    while page := answered.answers("ana", before, limit):
        assert len(page) <= limit
        assert [body["text"] for _, body in page] == [place.id for place, _ in page]
        seen += [place.id for place, _ in page]
        before = page[-1][0]
    assert seen == list("fegdcab")


def test_an_answer_between_two_pages_shifts_nothing(answered: Store) -> None:
    (*_, (last, _)) = answered.answers("ana", None, 3)
    answered.save_answers([StoredAnswer("ana", "new", {})])
    answered.delete_answer("ana", last.id)
    assert [place.id for place, _ in answered.answers("ana", last)] == list("dcab")


def test_a_deleted_answer_is_gone_and_no_other(answered: Store) -> None:
    answered.delete_answer("ana", "d")
    for gone in (answered.answer, answered.delete_answer):
        with pytest.raises(UnknownDocument, match="'ana' has no answer 'd'"):
            gone("ana", "d")
    assert [place.id for place, _ in answered.answers("ana")] == list("fegcab")
    assert answered.answer("bo", "z") == {"text": "bo's"}
    with pytest.raises(UnknownDocument):
        answered.delete_answer("ana", "z")
    assert [place.id for place, _ in answered.answers("bo")] == ["z"]
