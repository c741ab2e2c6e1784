import io
import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.task import dataset_hash
from training.tasks import stream
from training.tasks.errors import DatasetUnavailable, InvalidRecord
from training.tasks.lampqa import hub
from training.tasks.lampqa.data import CATEGORIES, Question, UnknownCategory, category_named, read
from training.tasks.lampqa.hub import from_hub

Json = dict[str, Any]


def record(name: str = "q1", **other: Any) -> Json:
    return {
        "id": name,
        "question": "Which camera should I buy?",
        "category": "Art_and_Entertainment",
        "narrative": "I carry it up mountains.",
        "rubric_aspects": [{"aspect": "weight", "reason": "it is carried", "evidence": "up mountains"}],
        "profile": [{"id": "p1", "text": "My back hurts.", "category": "hiking"}],
    } | other


def write(file: Path, *lines: Any) -> Path:
    file.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return file


class Files:
    """A hub that is a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self) -> Sequence[str]:
        return [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]

    def fetch(self, file: str) -> Path:
        return self.folder / file


class Nothing:
    def files(self) -> Sequence[str]:
        raise hub._unreachable(ConnectionError("no route to host"))

    def fetch(self, file: str) -> Path:
        raise AssertionError


def test_lines_and_arrays_give_the_same_questions(tmp_path: Path) -> None:
    records = [record(f"q{number}") for number in range(5)]
    lines = list(read(write(tmp_path / "a.jsonl", *records)))
    assert [question.id for question in lines] == ["q0", "q1", "q2", "q3", "q4"]
    for name, text in {
        "compact.json": json.dumps(records),
        "pretty.json": " \n" + json.dumps(records, indent=4) + "\n",
        "lines.json": "\n".join(map(json.dumps, records)),
        "bom.json": "\ufeff" + json.dumps(records),
        "bom.jsonl": "\ufeff" + "\n\n".join(map(json.dumps, records)),
    }.items():
        (tmp_path / name).write_text(text)
        assert list(read(tmp_path / name)) == lines, name


@given(chunk=st.integers(1, 400), indent=st.sampled_from([None, 0, 3]), number=st.integers(0, 4))
def test_an_array_is_read_whatever_the_pieces(chunk: int, indent: int | None, number: int) -> None:
    records = [record(f"q{i}", question='Wozu dient „]“, \\ und "}, ]"? 🙂') for i in range(number)]
    content = io.BytesIO(json.dumps(records, indent=indent, ensure_ascii=False).encode())
    assert list(stream._elements("a.json", content, chunk)) == list(enumerate(records, 1))


@pytest.mark.parametrize("form", ["jsonl", "json"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    posts = [{"id": f"p{i}", "text": "I walked home in the rain. " * 40} for i in range(100)]
    file = tmp_path / f"a.{form}"
    with file.open("w") as lines:
        for number in range(100):
            start = ("[" if number == 0 else ",") if form == "json" else ""
            lines.write(start + json.dumps(record(f"q{number}", profile=posts)) + "\n")
        lines.write("]" if form == "json" else "")
    assert file.stat().st_size > 10_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in read(file)) == 100
        assert tracemalloc.get_traced_memory()[1] < 6_000_000
    finally:
        tracemalloc.stop()


def test_unknown_fields_are_ignored_and_do_not_count_in_the_hash(tmp_path: Path) -> None:
    one = list(read(write(tmp_path / "a.jsonl", record())))
    other = list(read(write(tmp_path / "b.jsonl", record(rank=3))))
    assert one == other
    assert dataset_hash(one) == dataset_hash(iter(other))
    changed = list(read(write(tmp_path / "c.jsonl", record(narrative="I do not."))))
    assert dataset_hash(one) != dataset_hash(changed)
    two = [*one, *changed]
    assert dataset_hash(two) != dataset_hash(two[::-1])


def test_whole_numbers_are_taken_as_ids_and_a_missing_item_category_as_none(tmp_path: Path) -> None:
    (question,) = read(write(tmp_path / "a.jsonl", record(id=7, profile=[{"id": 8, "text": "x"}])))
    assert (question.id, question.profile[0].id, question.profile[0].category) == ("7", "8", "")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rubric_aspects": [{"aspect": "a", "reason": "r"}]}, "rubric_aspects.0.evidence: field required"),
        ({"rubric_aspects": []}, "rubric_aspects: tuple should have at least 1 item"),
        ({"rubric_aspects": None}, "rubric_aspects: input should be a valid tuple"),
        ({"rubric_aspects": ["weight"]}, "rubric_aspects.0: input should be a valid dictionary"),
        ({"question": " "}, "question: must not be empty"),
        ({"question": 3}, "question: input should be a valid string"),
        ({"id": ""}, "id: must not be empty"),
        ({"id": None}, "id: input should be a valid string"),
        ({"id": True}, "id: input should be a valid string"),
        ({"profile": []}, "profile: must not be empty"),
        ({"profile": [{"id": "p", "text": "x"}, {"id": "p", "text": "y"}]}, "profile.1.id: 'p' is the id of"),
        ({"narrative": "\ud800"}, "narrative: holds a character that is not text"),
    ],
)
def test_a_wrong_field_is_named_with_its_file_and_record(tmp_path: Path, change: Json, says: str) -> None:
    file = write(tmp_path / "questions.jsonl", *(record(f"q{i}") for i in range(11)), record("q", **change))
    with pytest.raises(InvalidRecord) as raised:
        list(read(file))
    assert f"questions.jsonl, record 12, {says}" in str(raised.value)
    assert (raised.value.record, raised.value.field) == (12, says.partition(":")[0])


@pytest.mark.parametrize("field", ["id", "question", "category", "narrative", "rubric_aspects", "profile"])
def test_no_field_may_be_missing(tmp_path: Path, field: str) -> None:
    broken = record()
    del broken[field]
    with pytest.raises(InvalidRecord, match=f"record 1, {field}: field required$"):
        list(read(write(tmp_path / "a.json", [broken])))


def test_several_faults_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InvalidRecord, match=r"id: field required \(and 5 more faults\)"):
        list(read(write(tmp_path / "a.jsonl", {})))


def test_an_empty_profile_can_be_allowed(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", record(profile=[]))
    assert [question.profile for question in read(file, allow_empty_profile=True)] == [()]


def test_an_id_that_comes_twice_is_named_with_both_records(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", record(), record("q2"), record())
    with pytest.raises(InvalidRecord, match=r"record 3, id: 'q1' is taken by record 1$"):
        list(read(file))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"id": \n', "record 1: not JSON: expecting value"),
        (b"\n[1, 2\n", "record 1: a record is a JSON object, not int"),
        (b"[", "record 1: not JSON"),
        (b'[{"id": "a" "b"}]', "record 1: not JSON: expecting ',' delimiter"),
        (b"[\xff]", "record 1: not JSON: not UTF-8"),
        (b'"\xff"\n', "record 1: not JSON: not UTF-8"),
        (b"12\n", "record 1: a record is a JSON object, not int"),
        (b'{"a":' * 100_000, "record 1: not JSON: nested too deeply"),
        (b'[{"a":' * 100_000, "record 1: not JSON: nested too deeply"),
    ],
)
def test_what_is_no_json_is_an_error_that_says_where(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InvalidRecord, match=says):
        list(read(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ("", "record 2: not JSON: the array does not end"),
        (" {}]", "record 2: not JSON: extra data"),
        ("]]", "something follows the end of the array"),
        (",]", "record 3: not JSON: expecting value"),
    ],
)
def test_an_array_that_goes_wrong_gives_what_comes_before(tmp_path: Path, end: str, says: str) -> None:
    (tmp_path / "a.json").write_text(json.dumps([record(), record("q2")])[:-1] + end)
    questions = read(tmp_path / "a.json")
    assert next(questions).id == "q1"
    with pytest.raises(InvalidRecord, match=says):
        list(questions)


@pytest.mark.parametrize("content", ["", "[]", " [ ] ", "\n\n"])
def test_a_file_without_questions_is_an_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(DatasetUnavailable, match=r"a\.json: holds no question"):
        list(read(tmp_path / "a.json"))


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="No such file"):
        list(read(tmp_path / "a.json"))
    with pytest.raises(DatasetUnavailable, match="cannot be read"):
        list(read(tmp_path))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("art", CATEGORIES[0]),
        ("A", CATEGORIES[0]),
        ("Lifestyle", CATEGORIES[1]),
        ("SOCIETY", CATEGORIES[2]),
        ("society & culture", CATEGORIES[2]),
        *((name, name) for name in CATEGORIES),
    ],
)
def test_categories_have_short_names(text: str, name: str) -> None:
    assert category_named(text) == name


@pytest.mark.parametrize(
    ("text", "offers"),
    [
        ("lifestile", "did you mean Lifestyle_and_Personal_Development? "),
        ("Arts_and_Entertainment", "did you mean Art_and_Entertainment? "),
        ("entertainment", "did you mean Art_and_Entertainment? "),
        ("soceity", "did you mean Society_and_Culture? "),
        ("", "'';"),
        ("xyzzy", "'xyzzy';"),
    ],
)
def test_a_misspelt_category_is_answered_with_the_right_ones(text: str, offers: str) -> None:
    with pytest.raises(UnknownCategory) as raised:
        category_named(text)
    assert offers in str(raised.value)
    assert str(raised.value).endswith(f"There are: {', '.join(CATEGORIES)}")


@pytest.mark.parametrize(
    "names",
    [
        ["Society_and_Culture/test.jsonl"],
        ["data/test/Society_and_Culture.json"],
        ["Society_and_Culture_test.json"],
        ["society-and-culture/test-00000-of-00002.jsonl", "society-and-culture/test-00001-of-00002.jsonl"],
    ],
)
def test_the_hub_files_of_a_category_and_split_are_found(tmp_path: Path, names: list[str]) -> None:
    others = ["README.md", "Society_and_Culture/train.jsonl", "Art_and_Entertainment/test.jsonl", "test.json"]
    for number, name in enumerate([*names, *others]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, record(f"q{number}", category="history"))
    found = list(from_hub("soc", "test", Files(tmp_path)))
    assert [question.id for question in found] == [f"q{number}" for number in range(len(names))]
    assert {question.category for question in found} == {"Society_and_Culture"}


def test_ids_are_unique_over_all_files_of_a_split(tmp_path: Path) -> None:
    write(tmp_path / "art_and_entertainment_val_1.jsonl", record())
    write(tmp_path / "art_and_entertainment_val_2.jsonl", record())
    with pytest.raises(
        InvalidRecord, match=r"val_2\.jsonl, record 1, id: 'q1' is taken by record 1 of .*val_1"
    ):
        list(from_hub("art", "validation", Files(tmp_path)))


def test_an_unknown_layout_of_the_hub_is_an_error_that_lists_the_files(tmp_path: Path) -> None:
    write(tmp_path / "everything.parquet", "")
    with pytest.raises(DatasetUnavailable, match=r"it holds: everything\.parquet\. .*--dataset"):
        list(from_hub("art", "test", Files(tmp_path)))


def test_without_a_network_the_error_explains_local_files() -> None:
    with pytest.raises(DatasetUnavailable, match=r"no route to host.*pass its JSON or JSONL file"):
        list(from_hub("art", "test", Nothing()))


def test_the_real_hub_out_of_reach_gives_the_same_error() -> None:
    # The tests run with HF_HUB_OFFLINE.
    with pytest.raises(DatasetUnavailable, match="cannot be fetched from the Hub"):
        list(from_hub("art", "test"))
    with pytest.raises(DatasetUnavailable, match="cannot be fetched from the Hub"):
        hub.HuggingFaceHub().fetch("Art_and_Entertainment/test.json")


def test_a_misspelt_split_is_answered_with_the_right_ones() -> None:
    with pytest.raises(UnknownCategory, match=r"no split is called 'tset'; did you mean test\?"):
        list(from_hub("art", "tset", Nothing()))


def test_a_question_cannot_be_changed() -> None:
    question = Question.model_validate(record())
    with pytest.raises(ValueError, match="frozen"):
        question.id = "other"  # type: ignore[misc]


def test_records_that_do_not_fit_can_be_left_out_and_are_told(tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    lines = [
        record(),
        {**record(), "id": "q2", "rubric_aspects": []},
        {**record(), "id": "q3", "profile": []},
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    faults: list[InvalidRecord] = []
    assert [question.id for question in read(file, skip=faults.append)] == [record()["id"]]
    assert [(fault.record, fault.field) for fault in faults] == [(2, "rubric_aspects"), (3, "profile")]
