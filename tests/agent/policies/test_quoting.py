from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.policies.phrases import phrases
from agent.policies.quoting import FROM_PASSAGE, PASSAGES, Followed, compose, select
from agent.policies.sentences import Reading
from agent.trajectory import Read
from index.documents import Passage

SAID = phrases("en")


def reading_of(*passages: Passage) -> Reading:
    return Reading([Read(number, passage) for number, passage in enumerate(passages, 1)])


def lines_of(question: str, reading: Reading, followed: Sequence[Followed] = (), plan: str = "") -> list[str]:
    return compose(question, reading, select(question, reading, followed), SAID, plan).splitlines()


def test_the_best_sentence_comes_first_with_the_writers_day() -> None:
    reading = reading_of(
        Passage("n1", "Tea is nice.", created_at="2023-01-01", score=0.9),
        Passage("n2", "Green tea at noon.", created_at="2024-03-05T23:30:00-08:00", score=1.0),
    )
    assert lines_of("Green tea at noon?", reading) == [SAID.says, "- 2024-03-05: Green tea at noon. [2]"]


def test_equally_good_passages_are_all_quoted_up_to_a_limit() -> None:
    reading = reading_of(
        *(Passage(f"n{n}", f"Tea {n}. More tea {n}. Tea again {n}.", score=1) for n in range(9))
    )
    quoted = [line[-2] for line in lines_of("When did I drink tea?", reading)[1:]]
    assert quoted == sorted(quoted)
    assert len(quoted) == PASSAGES * FROM_PASSAGE
    assert {quoted.count(number) for number in quoted} == {FROM_PASSAGE}


def test_a_text_in_two_documents_is_quoted_once() -> None:
    reading = reading_of(Passage("n1", "Green tea.", score=1), Passage("n2", "Green tea.", score=1))
    assert lines_of("Which tea?", reading) == [SAID.says, "- Green tea. [1]"]


def test_without_a_word_of_the_question_it_says_so_and_gives_the_nearest() -> None:
    reading = reading_of(
        Passage("n1", "The boiler was repaired on Friday.", score=0.2),
        Passage("n2", "I bought a kettle.", score=0.2),
    )
    assert lines_of("Which instrument do I play?", reading) == [
        SAID.nearest,
        "- The boiler was repaired on Friday. [1]",
    ]
    assert lines_of("Which instrument do I play?", reading_of()) == [SAID.silent]


def test_a_name_helped_if_the_passage_found_first_for_it_is_about_it() -> None:
    reading = reading_of(
        Passage("n1", "My sister Ines is coming.", score=1),
        Passage("n2", "Ines is vegetarian.", score=0.2),
        Passage("n3", "Ines was here.", score=0.2),
    )
    question = "What should I cook for my sister?"
    assert lines_of(question, reading, [Followed("Ines", 3)])[2:] == ["About Ines:", "- Ines was here. [3]"]
    assert lines_of(question, reading, [Followed("Ines", None)]) == [
        SAID.says,
        "- My sister Ines is coming. [1]",
    ]


def test_a_name_helped_if_a_passage_about_it_has_what_was_missing() -> None:
    reading = reading_of(
        Passage("n1", "The conference is in Malmö.", score=1),
        Passage("n2", "Tea in Malmö.", score=0.2),
        Passage("n3", "In Malmö the hotel is quiet.", score=0.2),
    )
    chosen = select("Which hotel for the conference?", reading, [Followed("Malmö", None)])
    assert [(name, [one.text for one in found]) for name, found in chosen.about] == [
        ("Malmö", ["In Malmö the hotel is quiet."])
    ]
    assert chosen.missing == frozenset()
    assert chosen.newest == {3}


def test_a_plan_adds_the_best_sentence_about_each_of_its_lines() -> None:
    reading = reading_of(
        Passage("n1", "Green tea at noon.", score=1), Passage("n2", "The boiler was repaired.", score=0.1)
    )
    assert lines_of("Which tea at noon?", reading, plan="Covers:\n- the boiler\n\n")[-1] == (
        "- The boiler was repaired. [2]"
    )


@given(st.lists(st.text("ab .?\n", max_size=40), max_size=6), st.text("ab ?", max_size=20))
def test_whatever_was_read_every_line_is_a_sentence_of_it(texts: list[str], question: str) -> None:
    reading = reading_of(*(Passage(f"n{n}", text) for n, text in enumerate(texts)))
    opening, *lines = lines_of(question, reading)
    assert opening in {SAID.says, SAID.nearest, SAID.silent}
    for line in lines:
        quote, _, number = line.removeprefix("- ").rpartition(" [")
        assert quote in texts[int(number.rstrip("]")) - 1]
    assert bool(lines) == any(text.strip() for text in texts)


@pytest.mark.parametrize(
    ("question", "note", "quoted"),
    [
        (
            "怎么对付番茄上的蚜虫？",
            "阳台上种了番茄和辣椒。蚜虫已经吃掉了三棵苗。邻居说喷大蒜水很管用。",
            "邻居说喷大蒜水很管用。",
        ),
        (
            "टमाटर के कीड़ों का क्या इलाज है?",
            "छत पर टमाटर और मिर्च के पौधे लगाए। कीड़ों ने तीन पौधे खा लिए। पड़ोसी ने नीम का तेल छिड़कने को कहा।",
            "पड़ोसी ने नीम का तेल छिड़कने को कहा।",
        ),
        (
            "Was hilft gegen die Schnecken im Garten?",
            "Im Garten habe ich Tomaten und Zucchini gepflanzt. Die Schnecken haben schon drei Pflanzen "
            "gefressen. Kaffeesatz soll dagegen helfen.",
            "Kaffeesatz soll dagegen helfen.",
        ),
    ],
)
def test_what_follows_the_sentences_about_the_question_is_quoted(
    question: str, note: str, quoted: str
) -> None:
    others = "今天下雨。", "आज बारिश हुई।", "Heute hat es geregnet."
    reading = reading_of(Passage("n1", note, score=1.0), *(Passage(text, text, score=0.3) for text in others))
    assert f"- {quoted} [1]" in lines_of(question, reading)
