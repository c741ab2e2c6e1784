import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policies.sentences import BY_ANOTHER, Reading
from agent.trajectory import Read
from index.documents import Passage


def reading_of(*texts: str) -> Reading:
    return Reading([Read(number, Passage(f"n{number}", text)) for number, text in enumerate(texts, 1)])


def test_a_sentence_with_more_of_the_question_ranks_higher_and_a_question_lower() -> None:
    reading = reading_of("Is green tea at noon good? Green tea. Tea at noon is green tea.")
    assert [sentence.text for sentence in reading.rank("green tea at noon")] == [
        "Tea at noon is green tea.",
        "Green tea.",
        "Is green tea at noon good?",
    ]


def test_the_dates_over_the_days_of_a_diary_are_no_answers() -> None:
    reading = reading_of("# 2024-03-05\nI planted beans.\n\n## 6.3.2024\nRain.\n# May 2024\n555-0199")
    assert [line.text for line in reading.lines] == ["I planted beans.", "Rain.", "# May 2024", "555-0199"]


def test_what_is_missing_is_in_none_of_the_passages_or_their_titles() -> None:
    titled = Read(1, Passage("n1", "Ines came.", title="My sister"))
    reading = Reading([titled, Read(2, Passage("n2", "A kettle."))])
    question = "Which kettle for my sister in Malmö?"
    assert reading.missing(question, [1]) == {"kettl", "malmo"}
    assert reading.missing(question, [1, 2]) == {"malmo"}
    # A word that nothing has is the rarest.
    assert reading.share(question, {"malmo"}) > reading.share(question, {"kettl"})
    assert reading.share(question, reading.asked(question)) == pytest.approx(1)


def test_what_somebody_else_said_counts_less_where_the_question_names_a_speaker() -> None:
    reading = reading_of("Ana: The race was long.", "Ben: Hello.")
    assert reading.certainty("How long was the race of Ana?") == pytest.approx(1)
    assert reading.certainty("How long was the race of Ben?") == pytest.approx(BY_ANOTHER)
    assert reading.certainty("Who won the cup?") == 0


@given(st.lists(st.text("ab: .?\n", max_size=40), max_size=5), st.text("abc ?", max_size=20))
def test_shares_are_between_0_and_1_and_sentences_are_in_their_passages(
    texts: list[str], question: str
) -> None:
    reading = reading_of(*texts)
    assert 0 <= reading.certainty(question) <= 1 + 1e-9
    assert 0 <= reading.share(question, reading.missing(question, [])) <= 1 + 1e-9
    ranked = reading.rank(question)
    assert all(sentence.text in sentence.read.passage.text for sentence in ranked)
    assert [one.weight for one in ranked] == sorted((one.weight for one in ranked), reverse=True)


def test_the_sentence_after_one_about_the_question_goes_on_about_it() -> None:
    reading = reading_of(
        "I bought a kettle. Rain all week. Green tea for the guests. It helps against a cold."
    )
    ranked = [sentence.text for sentence in reading.rank("green tea")]
    assert ranked[:2] == ["Green tea for the guests.", "It helps against a cold."]


def test_the_longer_of_two_passages_tells_more() -> None:
    reading = reading_of("Green tea.", "Green tea from the shop by the river, eight euros a tin.")
    assert reading.rank("green tea")[0].read.number == 2


def test_negative_scores_of_passages_do_not_turn_their_order() -> None:
    passages = Passage("n1", "Green tea.", score=-0.2), Passage("n2", "Green tea.", score=-5.0)
    ranked = Reading([Read(number, one) for number, one in enumerate(passages, 1)]).rank("green tea")
    assert [sentence.read.number for sentence in ranked] == [1, 2]
