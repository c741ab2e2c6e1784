from datetime import date

import pytest

from agent.methods import METHODS
from agent.trajectory import Limits, Today
from training.policy.rows import INPUT, LABEL, Row, bare
from training.tasks.lamp.data import Question as LampQuestion
from training.tasks.lamp.inputs import query_of
from training.tasks.lamp.task import lamp_task
from training.tasks.lampqa.data import Aspect, Item, Question

QUESTION = Question(
    id="q1",
    question="What snack for <answer> my sister?",
    category="food",
    narrative="She told me.",
    rubric_aspects=(Aspect(aspect="Olives", reason="She likes them", evidence="told"),),
    profile=(),
)
ROW = Row(user="ana", question=QUESTION, day=date(2024, 2, 29), without_profile=0.25)


def test_a_row_survives_the_prompt_file() -> None:
    assert Row.from_label(ROW.to_record(Limits())[LABEL]) == ROW


def test_a_row_with_a_reference_survives_it_too() -> None:
    question = LampQuestion(
        id="7",
        input="Write a title for the article: tea",
        profile=(),
        output="On tea",
        category="LaMP_4",
        user_id="u",
    )
    row = Row(user="ana", question=bare(question))
    back = Row.from_label(row.to_record(Limits())[LABEL])
    assert back == row
    assert (back.question.id, back.question.question, back.reference) == (
        "7",
        "Write a title for the article: tea",
        "On tea",
    )


def test_only_the_profile_is_left_out_of_a_question_with_a_rubric() -> None:
    asked = QUESTION.model_copy(update={"profile": (Item(id="d", text="secret"),)})
    assert bare(asked) == QUESTION


def test_the_prompt_is_that_of_the_service() -> None:
    limits = Limits(max_searches=2)
    served = METHODS["pr2"].begin(QUESTION.question, limits, today=Today(date(2024, 2, 29)))
    assert ROW.to_record(limits)[INPUT] == served.prompt


def test_an_input_of_lamp_is_searched_by_its_own_text_as_in_an_evaluation() -> None:
    [asked, *_] = lamp_task("lamp-sample", 4).read([], "")
    row = Row(user="ana", question=bare(asked))
    again = Row.from_label(row.to_record(Limits(), METHODS["prlm"])[LABEL])
    episode = again.begin(Limits(), METHODS["prlm"])
    assert episode.pending is not None
    assert episode.pending.query == query_of(4, asked.input)
    assert query_of(4, asked.input) != asked.input
    assert episode.question == asked.input


@pytest.mark.parametrize("label", ["", "[]", "{}", '{"user": "ana"}'])
def test_an_invalid_label_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="not a label"):
        Row.from_label(label)
