import pytest

from agent.policies.leads import Lead, find_lead
from agent.policies.sentences import Reading
from agent.trajectory import Read
from index.documents import Passage

QUESTION = "What does my sister like?"


def reading_of(*texts: str) -> Reading:
    return Reading([Read(number, Passage(f"n{number}", text)) for number, text in enumerate(texts, 1)])


def test_a_name_close_to_a_word_of_the_question_is_a_lead() -> None:
    reading = reading_of("Rain all week. My sister Ines is coming on 3 March.")
    assert find_lead(QUESTION, reading, {1}, QUESTION) == Lead("Ines", 1)


def test_a_name_far_from_the_question_is_no_lead() -> None:
    filler = "and then we went on and on and on about all kinds of things that day until we saw"
    assert find_lead(QUESTION, reading_of(f"My sister called {filler} Otto."), {1}, "") is None


def test_a_name_in_the_sentence_after_the_word_is_a_lead() -> None:
    reading = reading_of("I have seen my sister. She lives with Otto.")
    assert find_lead(QUESTION, reading, {1}, "") == Lead("Otto", 1)


def test_only_the_passages_that_are_quoted_lead_on() -> None:
    reading = reading_of("My sister called.", "My sister met Otto.")
    assert find_lead(QUESTION, reading, {1}, "") is None
    assert find_lead(QUESTION, reading, {2}, "") == Lead("Otto", 2)


def test_a_lead_that_was_followed_is_not_followed_again() -> None:
    reading = reading_of("I bought a kettle for my sister Ines.")
    assert find_lead(QUESTION, reading, {1}, f"{QUESTION} Ines") is None


def test_a_speaker_is_no_lead() -> None:
    reading = reading_of("Ben Fox: My sister saw Ben and Otto.")
    assert find_lead(QUESTION, reading, {1}, "") == Lead("Otto", 1)


def test_a_mark_that_is_no_word_is_no_lead() -> None:
    # A regular expression counts it as a letter, but without its accent nothing is left of it.
    lead = find_lead(QUESTION, reading_of("My sister said \uff9e\uff9e to Ines."), {1}, "")
    assert lead == Lead("Ines", 1)


GERMAN = "Wir haben lange geredet, und danach sind wir nach Hause gegangen. Es war ein schöner Tag."


def test_a_german_noun_is_no_lead() -> None:
    reading = reading_of(f"Die Miete kostet ab Juli 700 Euro, mehr als das alte Zimmer. {GERMAN}")
    assert find_lead("Was kostet die Miete seit Mai?", reading, {1}, "") is None


@pytest.mark.parametrize(
    ("note", "name"),
    [
        ("Heute kam meine Schwester Lena mit Blumen.", "Lena"),
        ("Die Schwester heißt Frau Dr. Sommer und mag Blumen.", "Sommer"),
        ("Meine Schwester wohnt bei Familie Huber neben dem Bäcker.", "Huber"),
    ],
)
def test_a_german_name_is_a_lead_where_it_is_introduced(note: str, name: str) -> None:
    reading = reading_of(f"{note} {GERMAN}")
    assert find_lead("Was soll ich meiner Schwester kochen?", reading, {1}, "") == Lead(name, 1)
