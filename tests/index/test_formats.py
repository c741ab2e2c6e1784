import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document
from index.errors import InvalidDocument
from index.formats import locomo_date, read_csv, read_json, read_locomo, read_ndjson
from index.formats.items import MOST_STRUCTURE, TOO_LARGE
from index.formats.json import elements

A, B = Document(id="a", text="tea"), Document(id="b", text="dog", title="Rex")


def faults(items: list[Document | InvalidDocument]) -> list[tuple[int | None, str]]:
    return [(item.line, str(item)) for item in items if isinstance(item, InvalidDocument)]


def test_ndjson_is_one_document_a_line_as_text_or_bytes() -> None:
    lines = [json.dumps(A.to_dict()) + "\n", "\n", json.dumps(B.to_dict())]
    assert list(read_ndjson(lines)) == [A, B]
    assert list(read_ndjson([line.encode() for line in lines])) == [A, B]


def test_a_bad_line_of_ndjson_is_named_and_the_rest_is_read() -> None:
    lines: list[str | bytes] = [
        '{"id":"a","text":"tea"}',
        "{oops",
        "",
        "[1]",
        '{"id":"a/b","text":""}',
        b"\xff",
    ]
    lines += ["[" * 100_000, "1" * 5_000, '{"id":"b","text":"dog","title":"Rex"}']
    items = list(read_ndjson(lines))
    assert [item for item in items if isinstance(item, Document)] == [A, B]
    assert [line for line, _ in faults(items)] == [2, 4, 5, 6, 7, 8]
    assert faults(items)[0][1].startswith("not JSON: ")
    assert faults(items)[1][1] == "a document is a JSON object, not list"


def test_a_byte_order_mark_is_removed_from_the_first_line() -> None:
    line = "\ufeff" + json.dumps(A.to_dict())
    assert list(read_ndjson([line])) == [A]
    assert list(read_ndjson([line.encode()])) == [A]
    assert list(read_json([f"\ufeff[{json.dumps(A.to_dict())}]"])) == [A]
    assert list(read_csv(["\ufeffid,text\n", "a,tea\n"])) == [A]
    assert list(read_csv(['\ufeff"id",text\n', "a,tea\n"])) == [A]


def test_json_is_an_array_whose_items_are_counted() -> None:
    items = list(read_json([json.dumps([A.to_dict(), {"id": "x"}, B.to_dict()])]))
    assert (items[0], items[2]) == (A, B)
    assert faults(items) == [(2, "text: Field required")]


@pytest.mark.parametrize(
    ("text", "says", "item"),
    [
        ("{}", "expected a JSON array of documents", None),
        ("", "expected a JSON array of documents", None),
        (" \n", "expected a JSON array of documents", None),
        ("7 [", "expected a JSON array of documents", None),
        ("[", "not JSON: the array does not end", 1),
        ('["', "not JSON: the array does not end", 1),
        ('[1, "\\"]', "not JSON: the array does not end", 2),
        ("[" * 100_000, "not JSON: nested too deeply", 1),
        ("[1, 2}", "not JSON: something follows the end of the array", 2),
        ("[1] 2", "not JSON: something follows the end of the array", 1),
    ],
)
def test_json_other_than_an_array_is_refused(text: str, says: str, item: int | None) -> None:
    with pytest.raises(InvalidDocument) as raised:
        list(read_json([text]))
    assert (str(raised.value), raised.value.line) == (says, item)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text('ab"\\[]{},: \n🙂'),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\]},', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(values, max_size=5), st.integers(1, 9), st.sampled_from([None, 0, 2]), st.booleans())
def test_an_array_is_read_whatever_the_pieces(
    array: list[object], length: int, indent: int | None, ascii_only: bool
) -> None:
    text = " " + json.dumps(array, indent=indent, ensure_ascii=ascii_only) + "\n"
    pieces = [text[i : i + length] for i in range(0, len(text), length)]
    found = [(number, json.loads(element)) for number, element in elements(pieces)]
    assert found == list(enumerate(array, 1))


@given(st.text('[]{},":\\ 1a', max_size=12), st.integers(1, 4))
def test_any_text_gives_an_array_or_an_error_as_the_json_module_does(text: str, length: int) -> None:
    pieces = [text[i : i + length] for i in range(0, len(text), length)]
    try:
        found = [json.loads(element) for _, element in elements(pieces)]
    except ValueError:
        found = None
    try:
        expected = json.loads(text)
    except ValueError:
        expected = None
    assert found == (expected if isinstance(expected, list) else None)


def test_an_array_is_read_while_it_comes_and_an_element_has_a_bound() -> None:
    def endless() -> Iterator[str]:
        yield "[1"
        while True:
            yield ', "' + "x" * 1_000 + '"'

    found = elements(endless(), longest=2_000)
    assert [next(found) for _ in range(3)] == [(1, "1"), (2, f' "{"x" * 1_000}"'), (3, f' "{"x" * 1_000}"')]
    with pytest.raises(InvalidDocument, match="longer than 0 MB") as raised:
        list(elements(["[1, ", *['"' + "x" * 1_000] * 3], longest=2_000))
    assert raised.value.line == 2


def test_a_document_of_too_many_values_is_refused_before_it_is_parsed() -> None:
    few = '{"text": "a", "metadata": {"x": [' + "1," * (MOST_STRUCTURE - 7) + "0]}}"
    many = few.replace("0]", "0, 0]")
    long = json.dumps({"text": "a, [" * MOST_STRUCTURE + '"\\'})
    found = list(read_ndjson([many, few, long]))
    assert faults(found) == [(1, TOO_LARGE)]
    assert all(isinstance(item, Document) for item in found[1:])
    array = read_json(["[", few, ",", long, ", ", many, ", ", few, "]"])
    assert [type(next(array)) for _ in range(2)] == [Document, Document]
    with pytest.raises(InvalidDocument, match="holds more than") as raised:
        next(array)
    assert raised.value.line == 3


def test_csv_takes_columns_by_their_names_and_others_as_metadata() -> None:
    lines = io.StringIO("mood,id,text,title,created_at\ngood,a,tea,,2024-05-01\n,b,dog,Rex,\n")
    assert [item.to_dict() for item in read_csv(lines) if isinstance(item, Document)] == [
        {"id": "a", "text": "tea", "created_at": "2024-05-01T00:00:00Z", "metadata": {"mood": "good"}},
        {"id": "b", "text": "dog", "title": "Rex"},
    ]


def test_csv_columns_can_be_mapped() -> None:
    lines = ["key,body,title\n", "a,tea,T\n"]
    (document,) = read_csv(lines, {"id": "key", "text": "body"})
    assert document == Document(id="a", text="tea", title="T")


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (["id,body\n"], None, "no column 'text'; its columns are id, body"),
        ([], None, "no column 'text'"),
        (["id,text\n"], {"title": "headline"}, "no column 'headline'"),
        (["id,text\n"], {"txet": "text"}, "unknown field: txet; the fields are id, text"),
    ],
)
def test_csv_without_the_columns_is_refused(
    lines: list[str], columns: dict[str, str] | None, message: str
) -> None:
    with pytest.raises(InvalidDocument, match=message):
        list(read_csv(lines, columns))


def test_csv_rows_keep_quoted_newlines_and_faults_name_their_line() -> None:
    lines = io.StringIO('id,text\na,"one\ntwo"\n\nb\nc,x,y\n,x\nd,"say ""hi"""\n')
    items = list(read_csv(lines))
    assert [item.text for item in items if isinstance(item, Document)] == ["one\ntwo", "x", 'say "hi"']
    assert faults(items) == [
        (5, "does not have the 2 columns of the header"),
        (6, "does not have the 2 columns of the header"),
    ]


def test_every_format_reads_the_dates_of_mails_and_names_what_it_refuses() -> None:
    columns = {"text": "Body", "created_at": "Date"}
    rows = ["Body,Date\n", 'tea,"Tue, 05 Mar 2024 23:30:00 -0800"\n', "dog,45356\n", "cat,20240305\n"]
    mail, _, cat = items = list(read_csv(rows, columns))
    assert isinstance(mail, Document)
    assert isinstance(cat, Document)
    assert [mail.to_dict()["created_at"], cat.to_dict()["created_at"]] == [
        "2024-03-05T23:30:00-08:00",
        "2024-03-05T00:00:00Z",
    ]
    ((line, message),) = faults(items)
    assert line == 3
    assert message.startswith("created_at: '45356' is not a plausible time")
    ((_, message),) = faults(list(read_json(['[{"text": "tea", "created_at": 2024}]'])))
    assert message.startswith("created_at: '2024' names no day")


def test_ids_are_optional_in_every_format() -> None:
    (from_csv,) = read_csv(["text\n", "tea\n"])
    (from_json,) = read_json(['[{"text": "tea"}]'])
    (from_ndjson,) = read_ndjson(['{"text": "tea", "id": null}'])
    assert from_csv == from_json == from_ndjson == Document(text="tea")


def test_csv_takes_texts_as_long_as_a_document_may_be_and_reports_longer_ones() -> None:
    items = list(read_csv(["id,text\n", f"a,{'x' * 1_000_000}\n", f"b,{'x' * 2_000_001}\n", "c,dog\n"]))
    assert [len(item.text) for item in items if isinstance(item, Document)] == [1_000_000, 3]
    ((line, message),) = faults(items)
    assert (line, message[:9]) == (3, "not CSV: ")


SAMPLE: dict[str, Any] = {
    "sample_id": "conv-1",
    "conversation": {
        "speaker_a": "Ana",
        "session_10": [{"speaker": "Bo", "dia_id": "D10:1", "text": "Bye"}],
        "session_10_date_time": "9:05 am on 2 June, 2023",
        "session_2": [
            {"speaker": "Ana", "dia_id": "D2:1", "text": "Look!", "blip_caption": "a red sofa"},
            {"speaker": "Bo", "text": "Nice"},
        ],
        "session_2_date_time": "1:56 pm on 8 May, 2023",
        "session_3_date_time": "1:56 pm on 9 May, 2023",
    },
}


def test_locomo_turns_are_documents_in_the_order_of_the_sessions() -> None:
    assert [item.to_dict() for item in read_locomo(SAMPLE) if isinstance(item, Document)] == [
        {
            "id": "D2:1",
            "text": "Ana: Look! [shares a red sofa]",
            "created_at": "2023-05-08T13:56:00Z",
            "source": "conv-1/session_2",
            "metadata": {"speaker": "Ana"},
        },
        {
            "id": "2:2",
            "text": "Bo: Nice",
            "created_at": "2023-05-08T13:56:00Z",
            "source": "conv-1/session_2",
            "metadata": {"speaker": "Bo"},
        },
        {
            "id": "D10:1",
            "text": "Bo: Bye",
            "created_at": "2023-06-02T09:05:00Z",
            "source": "conv-1/session_10",
            "metadata": {"speaker": "Bo"},
        },
    ]


def test_the_locomo_author_is_the_speaker() -> None:
    assert [item.author for item in read_locomo(SAMPLE) if isinstance(item, Document)] == ["Ana", "Bo", "Bo"]


@pytest.mark.parametrize("sample", [{}, {"conversation": []}, []])
def test_anything_but_a_locomo_conversation_is_refused(sample: Any) -> None:
    with pytest.raises(InvalidDocument, match="LoCoMo"):
        list(read_locomo(sample))


def test_an_invalid_locomo_turn_is_reported() -> None:
    items = list(read_locomo({"conversation": {"session_1": ["hi", {"dia_id": "D1:2", "text": "Hi"}]}}))
    assert faults(items) == [(1, "a document is a JSON object, not str")]
    assert isinstance(items[1], Document)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1:56 pm on 8 May, 2023", "2023-05-08T13:56:00Z"),
        ("12:00 am on 31 December, 2022", "2022-12-31T00:00:00Z"),
        ("8 May, 2023", "2023-05-08T00:00:00Z"),
        ("2023/05/20 (Sat) 02:21", "2023-05-20T02:21:00Z"),
        ("2023-05-08T13:56:00+02:00", "2023-05-08T13:56:00+02:00"),
        ("2023-05-08", "2023-05-08T00:00:00Z"),
        ("Mon, 8 May 2023 13:56:00 -0700", "2023-05-08T13:56:00-07:00"),
        ("some day", None),
        ("", None),
        (None, None),
    ],
)
def test_locomo_dates_without_an_offset_are_utc(text: str | None, moment: str | None) -> None:
    assert locomo_date(text) == moment
