"""Made histories in which something changed: what is newest leads, and what it replaced is named."""

import pytest

from agent.policies.phrases import phrases
from agent.policies.quoting import compose, select
from agent.policies.sentences import Reading
from agent.trajectory import Read
from index.documents import Passage


def lines_of(question: str, language: str, *notes: tuple[str, str]) -> list[str]:
    """The lines of the answer from notes with their days, all found alike."""
    passages = [Passage(f"n{n}", text, created_at=day, score=1.0) for n, (day, text) in enumerate(notes, 1)]
    reading = Reading([Read(number, passage) for number, passage in enumerate(passages, 1)])
    said = phrases(language)
    return compose(question, reading, select(question, reading, []), said).splitlines()


CHANGED = [
    ("en", "Who is my landlord?", "My landlord is Gus Weston.", "Mrs Kowalczyk is my landlord now."),
    ("en", "Who is our vet now?", "Our vet is Don Ernesto.", "Our new vet is Dr. Clara Rueda."),
    ("en", "Where did I move to most recently?", "I moved to Leeds.", "I moved to a flat in Bergen."),
    ("en", "Do I still live in Leeds?", "I live in Leeds, near the canal.", "I live in York now."),
    ("en", "What is Ana's job?", "Ben: Ana's job is teaching.", "Ben: Ana's job is now gardening."),
    (
        "de",
        "Wer ist mein Vermieter?",
        "Mein Vermieter ist Herr Weber.",
        "Frau Lang ist jetzt mein Vermieter.",
    ),
    (
        "de",
        "Wo wohne ich jetzt?",
        "Ich wohne in Bonn, nicht weit von der Oma.",
        "Seit heute wohne ich in Kiel.",
    ),
    ("zh", "我的房东是谁？", "我的房东是王先生。", "我的房东现在是李女士。"),
    ("zh", "我现在住在哪里？", "我住在昆明。", "我现在住在上海。"),
    ("hi", "मेरे मकान मालिक कौन हैं?", "मेरे मकान मालिक शर्मा जी हैं।", "अब मेरे मकान मालिक वर्मा जी हैं।"),
]


@pytest.mark.parametrize(("language", "question", "old", "new"), CHANGED)
@pytest.mark.parametrize("newest_first", [True, False])
def test_the_newest_leads_and_says_what_it_replaced(
    language: str, question: str, old: str, new: str, newest_first: bool
) -> None:
    notes = [("2024-02-01", old), ("2025-07-01", new)]
    lines = lines_of(question, language, *(reversed(notes) if newest_first else notes))
    said = phrases(language)
    numbers = (1, 2) if newest_first else (2, 1)
    assert lines == [
        said.says,
        f"- 2025-07-01: {new} [{numbers[0]}]",
        said.replaced,
        f"- 2024-02-01: {old} [{numbers[1]}]",
    ]


@pytest.mark.parametrize(
    ("question", "old", "new"),
    [
        # What happened later does not replace what happened.
        ("What did I paint?", "I painted a sunset.", "I painted a horse."),
        ("Where was my landlord?", "My landlord was in Leeds.", "My landlord is in Bergen."),
        # Somebody else's, and something else about it.
        ("Who is my landlord?", "My landlord is Gus.", "My sister's landlord is Wes."),
        ("What is Ana's job?", "Ana: My job is teaching.", "Ben: My job is gardening."),
        ("Who is my landlord?", "My landlord is Gus.", "Is my landlord Wes?"),
        ("Who is my landlord?", "My landlord is Gus.", "I paid the landlord for the new tap and the paint."),
        # Little of the question.
        ("Which choir sings in the community hall?", "The community is nice.", "The community is growing."),
        # Something else is in a state.
        ("Which book do I read?", "I read a book, and it's long.", "I read on in the book, it's sad."),
        # The same again.
        ("Who is my landlord?", "My landlord is Gus.", "My landlord is still Gus."),
    ],
)
def test_what_does_not_change_anything_replaces_nothing(question: str, old: str, new: str) -> None:
    lines = lines_of(question, "en", ("2024-02-01", old), ("2025-07-01", new))
    assert phrases("en").replaced not in lines


@pytest.mark.parametrize("days", [("2025-07-01", "2025-07-01"), ("", "2025-07-01"), ("", "")])
def test_without_an_order_of_days_nothing_is_replaced(days: tuple[str, str]) -> None:
    notes = zip(days, ("My landlord is Gus Weston.", "My landlord is Mrs Kowalczyk."), strict=True)
    assert phrases("en").replaced not in lines_of("Who is my landlord now?", "en", *notes)


@pytest.mark.parametrize(
    ("language", "question", "notes", "first"),
    [
        ("en", "Who was my first landlord?", ("My landlord is Gus.", "My landlord is Wes."), 1),
        ("en", "Where did I originally live?", ("I live in Leeds.", "I live in York."), 1),
        ("en", "What is my latest recipe?", ("A recipe for soup.", "A recipe for bread."), 2),
        (
            "de",
            "Wo habe ich ursprünglich gewohnt?",
            ("Ich habe in Bonn gewohnt.", "Ich habe in Kiel gewohnt."),
            1,
        ),
        ("de", "Was ist mein neuestes Rezept?", ("Rezept für Suppe.", "Rezept für Brot."), 2),
        ("zh", "我最初住在哪里？", ("我住在昆明。", "我住在上海。"), 1),
        ("zh", "最新的菜谱是什么？", ("菜谱：红烧肉。", "菜谱：豆腐汤。"), 2),
        ("hi", "मैं सबसे पहले कहाँ रहता था?", ("मैं पुणे में रहता हूँ।", "मैं दिल्ली में रहता हूँ।"), 1),
        ("hi", "मेरा नवीनतम नुस्ख़ा क्या है?", ("नुस्ख़ा: हलवा।", "नुस्ख़ा: खीर।"), 2),
    ],
)
@pytest.mark.parametrize("turned", [True, False])
def test_a_question_for_the_newest_or_the_oldest_has_it_first(
    language: str, question: str, notes: tuple[str, str], first: int, turned: bool
) -> None:
    dated = list(zip(("2024-02-01", "2025-07-01"), notes, strict=True))
    lines = lines_of(question, language, *(reversed(dated) if turned else dated))
    assert notes[first - 1] in lines[1]
    if first == 1:
        assert phrases(language).replaced not in lines


@pytest.mark.parametrize(
    "question",
    ["What is the first name of my landlord?", "Who keeps the first aid box of my landlord?"],
)
def test_a_first_name_is_no_question_for_the_oldest(question: str) -> None:
    notes = ("2025-07-01", "The landlord keeps the aid box and a name."), ("2024-02-01", "A landlord.")
    assert "keeps" in lines_of(question, "en", *notes)[1]
