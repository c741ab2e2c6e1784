import re
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import NAME_RULE, Document, Passage, check_name, iso, parse_document
from index.errors import InvalidDocument, InvalidName

names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda name: name == name.strip() and name not in {".", ".."} and len(name.encode()) <= 256
)


@given(names)
def test_a_name_within_the_rule_is_taken_unchanged(name: str) -> None:
    assert check_name(name) == name
    assert parse_document({"id": name, "text": "x"}).id == name


@given(st.text(st.characters(exclude_categories=())))
def test_any_other_name_is_refused_with_the_rule(name: str) -> None:
    try:
        accepted = check_name(name)
    except InvalidName as error:
        with pytest.raises(InvalidDocument, match=re.escape(NAME_RULE)):
            parse_document({"id": name, "text": "x"})
        refusal = str(error)
    else:
        assert accepted == name
        assert 1 <= len(name.encode()) <= 256
        return
    assert refusal.endswith(NAME_RULE)


@pytest.mark.parametrize(
    "name", ["", " a", "a\n", ".", "..", "a\0b", "a\x7fb", "a\x85b", "\ud800", "é" * 129, "x" * 257]
)
def test_names_that_no_url_or_file_system_survives_are_refused(name: str) -> None:
    with pytest.raises(InvalidName, match="cannot be an id: an id is 1 to 256 bytes"):
        check_name(name)


@pytest.mark.parametrize(
    "name",
    ["a b", "...", "a/b", "/", "<CAF+abc/def=@mail.gmail.com>", "mail:12", "🦊", "é" * 128, "a\\b", "%2F"],
)
def test_ordinary_names_are_fine(name: str) -> None:
    assert check_name(name) == name


def test_a_whole_number_is_an_id() -> None:
    assert parse_document({"id": 7, "text": "x"}).id == "7"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": True}, "id: Input should be a valid string"),
        ({"id": 1.5}, "id: Input should be a valid string"),
        ({"id": "a\nb"}, "id: 'a\\nb' cannot be an id"),
        ({"text": None}, "text: Input should be a valid string"),
        ({"text": " \n"}, "text: must not be empty"),
        ({"text": "a\0"}, "text: holds a character that is not text"),
        ({"text": "a\ud800"}, "text: Input should be a valid string, unable to parse raw data as a unicode"),
        ({"text": "x" * 1_000_001}, "text: String should have at most 1000000 characters"),
        ({"title": "\0"}, "title: holds a character that is not text"),
        ({"source": "x" * 2_001}, "source: String should have at most 2000 characters"),
        ({"created_at": "yesterday"}, "created_at: Input should be a valid datetime"),
        ({"created_at": "0001-01-01T00:00:00+14:00"}, "created_at: is outside the years 1 to 9999"),
        ({"created_at": "9999-12-31T23:59:59-10:00"}, "created_at: is outside the years 1 to 9999"),
        ({"metadata": {"a": {"b": ["\ud800"]}}}, "metadata: holds a character that is not text"),
        ({"metadata": {"a": {"\0": 1}}}, "metadata: holds a character that is not text"),
        ({"metadata": {"a": [float("nan")]}}, "metadata: holds a number that JSON cannot represent"),
        ({"metadata": []}, "metadata: Input should be a valid dictionary"),
        ({"txet": "x"}, "txet: field is not permitted"),
    ],
)
def test_a_fault_is_worded_with_its_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidDocument) as raised:
        parse_document({"id": "a", "text": "x"} | change, 12)
    assert message in str(raised.value)
    assert raised.value.line == 12


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(InvalidDocument, match=r"id: '\.' .*; text: must not be empty; x: field is not"):
        parse_document({"id": ".", "text": "", "x": 1})


def test_the_faults_of_one_document_fit_on_a_line() -> None:
    many = {f"{n}{'x' * 1_000}": n for n in range(1_000)}
    with pytest.raises(InvalidDocument, match=r"; and 990 more$") as raised:
        parse_document({"text": "x"} | many)
    assert len(str(raised.value)) < 3_000


def test_an_id_is_made_from_what_tells_documents_apart() -> None:
    ok = {"text": "ok", "source": "chat", "created_at": "2024-03-05T10:00:00+01:00"}
    others: list[dict[str, Any]] = [
        {"created_at": "2024-03-05T10:01:00+01:00"},
        {"text": "OK"},
        {"source": "mail"},
        {"title": "Plans"},
        {"metadata": {"author": "Ana"}},
        {"metadata": {"thread": "7"}},
        {"created_at": None},
    ]
    made = [parse_document(ok | other).id for other in ({}, *others)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch("[0-9a-f]{24}", name) for name in made)
    again = parse_document(ok | {"created_at": "2024-03-05T09:00:00Z", "metadata": {"likes": 2}})
    assert again.id == made[0]
    assert parse_document(again.to_dict()).id == again.id


@given(
    st.dictionaries(st.sampled_from(["source", "title"]), st.text('ab|"\\', max_size=3)),
    st.dictionaries(st.sampled_from(["source", "title"]), st.text('ab|"\\', max_size=3)),
)
def test_made_ids_differ_where_the_parts_do(one: dict[str, str], other: dict[str, str]) -> None:
    made = [parse_document({"text": "x"} | fields).id for fields in (one, other)]
    assert (made[0] == made[1]) == (one == other)


@pytest.mark.parametrize(("data", "kind"), [([], "list"), (None, "NoneType"), ("a", "str")])
def test_only_an_object_is_a_document(data: object, kind: str) -> None:
    with pytest.raises(InvalidDocument, match=f"a document is a JSON object, not {kind}"):
        parse_document(data)


def test_a_time_keeps_its_offset_and_is_utc_without_one() -> None:
    def created(value: object) -> str:
        document = parse_document({"id": "a", "text": "x", "created_at": value})
        assert document.created_at is not None
        return iso(document.created_at)

    assert created("2024-05-01") == "2024-05-01T00:00:00Z"
    assert created("2024-05-01T12:00:00") == "2024-05-01T12:00:00Z"
    assert created("2024-05-01T12:00:00+02:00") == "2024-05-01T12:00:00+02:00"
    assert created(datetime(2024, 5, 1, tzinfo=timezone(timedelta(hours=-1)))) == "2024-05-01T00:00:00-01:00"


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
moments = st.builds(
    lambda moment, minutes: moment.replace(tzinfo=timezone(timedelta(minutes=minutes))),
    st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31)),
    st.integers(-14 * 60, 14 * 60),
)
documents = st.builds(
    Document,
    id=names,
    text=texts.filter(lambda text: bool(text.strip())),
    created_at=st.none() | moments,
    title=st.none() | texts,
    source=st.none() | texts,
    metadata=st.dictionaries(texts, json_values, max_size=3),
)


@given(documents)
def test_a_document_survives_its_dict(document: Document) -> None:
    again = parse_document(document.to_dict())
    assert again == document
    assert again.to_dict() == document.to_dict()


def test_fields_that_are_not_set_are_left_out() -> None:
    assert parse_document({"id": "a", "text": "x"}).to_dict() == {"id": "a", "text": "x"}


def test_the_author_is_the_first_in_the_metadata() -> None:
    def author(metadata: dict[str, Any]) -> str | None:
        return Document(id="a", text="x", metadata=metadata).author

    assert author({"sender": "S", "author": " ", "speaker": "Ana"}) == "Ana"
    assert author({"author": 7}) is None


def test_a_passage_is_known_by_its_document_and_start() -> None:
    assert Passage("a", "x", 3).key == ("a", 3)
