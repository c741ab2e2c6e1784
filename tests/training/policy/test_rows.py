import json
from pathlib import Path

import pytest

from agent.episode import Episode
from agent.trajectory import Limits
from training.policy.rows import INPUT, LABEL, Row, read_rows
from training.tasks.errors import InvalidRecord
from training.tasks.lampqa.data import Aspect, Question

QUESTION = Question(
    id="q1",
    question="What snack for <answer> my sister?",
    category="food",
    narrative="She told me.",
    rubric_aspects=(Aspect(aspect="Olives", reason="She likes them", evidence="told"),),
    profile=(),
)
ROW = Row(user="ana", question=QUESTION, without_profile=0.25)


def test_a_row_survives_the_prompt_file(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(json.dumps(ROW.to_record(Limits())) + "\n", "utf-8")
    assert list(read_rows(file)) == [ROW]


def test_the_prompt_is_the_one_that_the_service_gives() -> None:
    limits = Limits(max_searches=2)
    assert ROW.to_record(limits)[INPUT] == Episode(QUESTION.question, limits=limits).prompt


@pytest.mark.parametrize("label", ["", "[]", "{}", '{"user": "ana"}'])
def test_a_label_that_is_none_is_refused_with_its_line(tmp_path: Path, label: str) -> None:
    file = tmp_path / "prompts.jsonl"
    good = json.dumps(ROW.to_record(Limits()))
    file.write_text(good + "\n" + json.dumps({INPUT: "?", LABEL: label}) + "\n", "utf-8")
    with pytest.raises(InvalidRecord, match=r"prompts.jsonl, record 2, label: no label") as raised:
        list(read_rows(file))
    assert raised.value.record == 2
