"""People in questions: called by another name, shortened or misspelled, and never mistaken for a word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.documents import Document
from index.ranking.people import addressed, named, votes
from index.ranking.people import turns as turns_of


def turns(*lines: tuple[str, str], source: str = "chat") -> list[Document]:
    return [
        Document(id=f"{source} {n}", text=text, source=source, metadata={"speaker": speaker})
        for n, (speaker, text) in enumerate(lines)
    ]


def called(documents: list[Document], people: list[str]) -> dict[str, str]:
    found = votes(turn for document in documents for turn in turns_of(document))
    each = {name: addressed(name, counted, people) for name, counted in found.items()}
    return {name: person for name, person in each.items() if person}


def nobody(name: str) -> None:
    """Nobody is called by any name."""


CHAT = turns(
    ("Caroline", "Hey Mel! How was the race?"),
    ("Melanie", "Tiring. Thanks for asking, Caro!"),
    ("Caroline", "You did it, Mel. Yay! London, Friday!"),
    ("Melanie", "Caro, you are too kind. Yay! Paris, Friday!"),
    ("Caroline", "Yay! See you in Mexico, Meg."),
)
PEOPLE = ["caroline", "melanie"]


def test_people_are_known_by_what_others_call_them() -> None:
    assert called(CHAT, PEOPLE) == {"mel": "melanie", "caro": "caroline"}


def test_a_transcript_in_one_document_is_read_by_its_lines() -> None:
    text = "\n".join(f"{document.author}: {document.text}" for document in CHAT)
    assert called([Document(id="1", text=text)], PEOPLE) == {"mel": "melanie", "caro": "caroline"}


def test_a_name_said_once_or_for_two_people_means_nobody() -> None:
    once = turns(("Ana", "Hey Jo!"), ("Joanna", "Hi."))
    assert called(once, ["ana", "joanna"]) == {}
    both = [
        *turns(("Ana", "Hey Jo!"), ("Joanna", "Hi."), source="a"),
        *turns(("Ana", "Hey Jo!"), ("Joanna", "Hi."), source="b"),
        *turns(("Ana", "Hey Jo!"), ("John", "Hi."), ("Ana", "Bye, Jo!"), source="c"),
    ]
    assert called(both, ["ana", "joanna", "john"]) == {}


def test_chats_are_not_continued_by_one_another() -> None:
    apart = [
        *turns(("Ana", "Hey Jo!"), source="a"),
        *turns(("Joanna", "Hi."), ("Ana", "Hey Jo!"), source="b"),
        *turns(("Joanna", "Hi."), source="c"),
    ]
    assert called(apart, ["ana", "joanna"]) == {}


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("Where does Melanie live?", {"melanie": {"melanie"}}),
        ("Where does Mel live?", {"melanie": {"mel"}}),
        ("Did Mel ask Caroline?", {"caroline": {"caroline"}, "melanie": {"mel"}}),
        ("Where does Melani live?", {"melanie": {"melani"}}),
        ("Where does Melany live?", {}),
        ("Where does Melnaie live?", {"melanie": {"melnaie"}}),
        ("What were Melanies plans?", {"melanie": {"melanies"}}),
        ("Where does Carol live?", {"caroline": {"carol"}}),
        ("Where is the caro?", {}),
        ("Where is the melani?", {}),
        ("Where does Ca live?", {}),
        ("Where is the Melange?", {}),
    ],
)
def test_questions_name_people_in_other_ways(question: str, found: dict[str, set[str]]) -> None:
    called = {"mel": "melanie"}
    assert named(question, PEOPLE, called.get, {"melange"}.__contains__) == found


def test_a_word_of_the_profile_is_not_taken_for_a_misspelled_name() -> None:
    assert named("What does Marie like?", ["maria"], nobody, lambda word: word == "marie") == {}
    assert named("What does Marie like?", ["maria"], nobody, lambda word: False) == {"maria": {"marie"}}


def test_a_spelling_that_may_mean_two_people_means_neither() -> None:
    assert named("What does Mari like?", ["maria", "marie"], nobody, lambda word: False) == {}


def test_a_word_of_two_names_means_both() -> None:
    assert named("What do the Bergs think of Berg?", ["ana berg", "bo berg"], nobody, lambda word: True) == {
        "ana berg": {"berg"},
        "bo berg": {"berg"},
    }


@given(st.text(min_size=4, max_size=12, alphabet="bcdfghjk"), st.data())
def test_one_slip_of_the_pen_is_forgiven(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(name) - 2))
    slips = [
        name[:place] + name[place + 1 :],
        name[:place] + "z" + name[place:],
        name[:place] + "z" + name[place + 1 :],
        name[:place] + name[place + 1] + name[place] + name[place + 2 :],
    ]
    for slip in slips:
        found = named(f"Ask {slip.capitalize()}.", [name], nobody, lambda word: False)
        assert found == {name: {slip}}


@given(st.text(min_size=4, max_size=12, alphabet="bcdfghjk"), st.data())
def test_two_slips_are_too_many(name: str, data: st.DataObject) -> None:
    places = data.draw(st.sets(st.integers(0, len(name) - 1), min_size=2, max_size=2))
    wrong = "".join("z" if place in places else letter for place, letter in enumerate(name))
    assert named(f"Ask {wrong.capitalize()}.", [name], nobody, lambda word: False) == {}
