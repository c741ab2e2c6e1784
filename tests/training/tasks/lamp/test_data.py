"""Questions of LaMP are read record by record, and refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.tasks.lamp.records import INPUTS, OUTPUTS, entry, record
from training.evaluation.profiles import documents_of, user_of
from training.tasks.errors import DatasetUnavailable, InvalidRecord
from training.tasks.lamp.data import (
    Question,
    leaks,
    parse_question,
    read_outputs,
    read_questions,
    record_of,
)
from training.tasks.lamp.schemas import SCHEMAS, day


def write(
    folder: Path, number: int, records: list[Any], outputs: Any = None, task: str | None = None
) -> tuple[Path, Path]:
    questions, golds = folder / "dev_questions.json", folder / "dev_outputs.json"
    questions.write_text(json.dumps(records))
    if outputs is None:
        outputs = [{"id": one["id"], "output": OUTPUTS[number]} for one in records]
    golds.write_text(json.dumps({"task": task or f"LaMP_{number}", "golds": outputs}))
    return questions, golds


def one(number: int, **more: Any) -> Question:
    return parse_question(number, record(number, **more), "file", 1)


@pytest.mark.parametrize("number", SCHEMAS)
def test_every_task_is_read_and_written_as_it_was_published(tmp_path: Path, number: int) -> None:
    records = [record(number, f"q{index}", user_id="u1") for index in range(3)]
    records[0]["profile"][0]["date"] = "2012-05-04"
    read = list(read_questions(number, *write(tmp_path, number, records)))
    assert [question.id for question in read] == ["q0", "q1", "q2"]
    assert {(q.output, q.category, q.question) for q in read} == {
        (OUTPUTS[number], f"LaMP_{number}", INPUTS[number])
    }
    assert [record_of(question, question.profile) for question in read] == records
    assert len({user_of(question) for question in read}) == 2


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1, "first text one"),
        (2, "first text"),
        (3, "first text"),
        (4, "one first text"),
        (5, "one first text"),
        (6, "first text"),
        (7, "first text"),
    ],
)
def test_retrievers_see_the_fields_that_lamp_searches(number: int, text: str) -> None:
    assert one(number).profile[0].text == text


def test_dates_are_appended_to_the_searched_text_alone() -> None:
    raw = {"id": "q", "input": INPUTS[4], "profile": [entry(4, "a", "text", "title", date="2012-5")]}
    plain, dated = (parse_question(4, raw, "file", 1, dates=dates).profile[0] for dates in (False, True))
    assert (plain.text, dated.text) == ("title text", "title text date: 2012-5")
    assert plain.fields == dated.fields == {"title": "title", "text": "text"}
    assert documents_of([plain])[0].created_at == documents_of([dated])[0].created_at
    assert documents_of([plain])[0].metadata == {"title": "title", "text": "text"}


@pytest.mark.parametrize(
    ("date", "expected"),
    [
        ("2012-05-04", "2012-05-04"),
        ("2012-5-4", "2012-05-04"),
        ("2012", "2012-01-01"),
        ("2012-11", "2012-11-01"),
        ("2012-05-04 10:30:00", "2012-05-04"),
    ],
)
def test_days(date: str, expected: str) -> None:
    assert day(date) == expected


@pytest.mark.parametrize("date", ["2012-13-01", "2012-02-30", "May", "", "12-05-04", "2012--1"])
def test_dates_that_do_not_parse_are_refused(date: str) -> None:
    raw = record(4, profile=[entry(4, "a", "text", date=date)])
    with pytest.raises(InvalidRecord, match=r"file, record 1, profile\.0\.date: "):
        parse_question(4, raw, "file", 1)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ([], "a record is a JSON object, not list"),
        ({"input": "Say something"}, r"input: 'article:' is missing"),
        ({"input": 5}, "input: input should be a valid string"),
        ({"id": " "}, "id: must not be empty"),
        ({"profile": None}, "profile: input should be a valid tuple"),
        ({"profile": [{"id": "a", "text": "t"}]}, r"profile\.0\.title: field required"),
        ({"profile": [{"id": "a", "text": "t", "title": 7}]}, r"profile\.0\.title: input should be"),
        ({"profile": [entry(4, "a", "t"), entry(4, "a", "u")]}, r"profile\.1\.id: 'a' is the id of another"),
        ({"profile": [entry(4, "a\n", "t")]}, "profile: id"),
    ],
)
def test_invalid_records_are_named_by_file_record_and_field(
    tmp_path: Path, damage: Any, message: str
) -> None:
    bad = {**record(4, "bad"), **damage} if isinstance(damage, dict) else damage
    files = write(tmp_path, 4, [record(4)], [{"id": "q", "output": "Bridge"}])
    files[0].write_text(json.dumps([record(4), bad]))
    reading = read_questions(4, *files)
    assert next(reading).id == "q"
    with pytest.raises(InvalidRecord, match=rf"dev_questions\.json, record 2,? ?:? ?{message}"):
        next(reading)
    skipped: list[InvalidRecord] = []
    assert [question.id for question in read_questions(4, *files, skip=skipped.append)] == ["q"]
    assert len(skipped) == 1


def test_an_id_that_comes_twice_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path, 4, [record(4), record(4)], [{"id": "q", "output": "x"}])
    with pytest.raises(InvalidRecord, match="record 2, id: 'q' is taken by record 1"):
        list(read_questions(4, *files))


def test_missing_and_extra_outputs_are_refused(tmp_path: Path) -> None:
    records = [record(4, "q0"), record(4, "q1")]
    with pytest.raises(InvalidRecord, match="record 2, id: 'q1' has no output in"):
        list(read_questions(4, *write(tmp_path, 4, records, [{"id": "q0", "output": "x"}])))
    extra = [{"id": f"q{index}", "output": "x"} for index in range(4)]
    with pytest.raises(DatasetUnavailable, match="2 outputs have no question: q2, q3"):
        list(read_questions(4, *write(tmp_path, 4, records, extra)))


@pytest.mark.parametrize(
    ("number", "output", "message"),
    [
        (1, "[3]", "none of"),
        (2, "horror", "none of"),
        (3, "nan", "no rating"),
        (3, "10", "no rating"),
        (3, "good", "no rating"),
        (4, " ", "must not be empty"),
    ],
)
def test_invalid_references_are_refused(tmp_path: Path, number: int, output: str, message: str) -> None:
    files = write(tmp_path, number, [record(number)], [{"id": "q", "output": output}])
    with pytest.raises(InvalidRecord, match=f"record 1, output: .*{message}"):
        list(read_questions(number, *files))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be"),
        ('{"task": "LaMP_4"}', "must be"),
        ('{"task": "LaMP_5", "golds": []}', "is of the task LaMP_5, not LaMP_4"),
        ('{"task": "LaMP_4", "golds": [{"id": "a"}]}', "record 1, output: field required"),
        ('{"task": "LaMP_4", "golds": [{"id": "a", "output": "x"}, {"id": "a", "output": "y"}]}', "twice"),
    ],
)
def test_invalid_files_of_outputs_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "outputs.json").write_text(content)
    with pytest.raises((DatasetUnavailable, InvalidRecord), match=message):
        read_outputs(tmp_path / "outputs.json", 4)


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetUnavailable, match="cannot be read"):
        read_outputs(tmp_path / "outputs.json", 4)
    with pytest.raises(DatasetUnavailable, match="holds no question"):
        list(read_questions(4, *write(tmp_path, 4, [])))


def test_empty_profiles_and_blank_entries_are_kept_apart() -> None:
    assert one(4, profile=[]).profile == ()
    blank = one(6, profile=[entry(6, "a", " ", "subject"), entry(6, "b", "text", "subject")])
    assert [entry.id for entry in blank.profile] == ["b"]
    assert [entry.id for entry in blank.blank] == ["a"]


@pytest.mark.parametrize("number", [4, 5, 6])
def test_a_profile_that_holds_the_output_is_seen(number: int) -> None:
    raw = record(number, profile=[entry(number, "a", "text", "The  Bridge OPENS")])
    question = parse_question(number, raw, "file", 1)
    assert not leaks(number, question)["holds_output"]
    with_output = Question(**{**vars(question), "output": "the bridge opens"})
    assert leaks(number, with_output)["holds_output"]


def test_tweets_hold_the_output_as_their_text_and_labels_do_not_count() -> None:
    tweet = Question(**{**vars(one(7, profile=[entry(7, "a", "rain!")])), "output": "rain!"})
    assert leaks(7, tweet)["holds_output"]
    movie = Question(**{**vars(one(2, profile=[entry(2, "a", "x", "comedy")])), "output": "comedy"})
    assert not leaks(2, movie)["holds_output"]


@pytest.mark.parametrize("number", SCHEMAS)
def test_a_profile_that_holds_the_text_asked_about_is_seen(number: int) -> None:
    asked = "Wild Geese" if number == 1 else INPUTS[number].partition(": ")[2].rpartition(": ")[2]
    assert not leaks(number, one(number))["holds_input"]
    assert leaks(number, one(number, profile=[entry(number, "a", asked.upper())]))["holds_input"]


def test_entries_after_the_question_are_counted_where_it_has_a_date() -> None:
    profile = [entry(4, str(year), "x", date=f"{year}-01-01") for year in (2010, 2011, 2012)]
    assert leaks(4, one(4, profile=profile))["later_entries"] is None
    assert leaks(4, one(4, profile=profile, date="2010-06-01"))["later_entries"] == 2
