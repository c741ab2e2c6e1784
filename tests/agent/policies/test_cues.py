import pytest

from agent.policies.cues import _CUES, is_past, kind, order, states


@pytest.mark.parametrize(
    ("language", "question", "expected"),
    [
        ("en", "Who is my landlord now?", "newest"),
        ("en", "What is my LATEST recipe?", "newest"),
        ("en", "Do I still play chess?", "newest"),
        ("en", "Where did I first meet Ana?", "oldest"),
        ("en", "What did I originally want to study?", "oldest"),
        ("en", "What is the first name of my landlord?", None),
        ("en", "What did I learn in the first aid course?", None),
        ("en", "Which snow boots did I buy?", None),
        ("en", "What did I do last week?", None),
        ("de", "Wo wohne ich jetzt?", "newest"),
        ("de", "Wohnt Lena immer noch in Bonn?", "newest"),
        ("de", "Was wollte ich ursprünglich studieren?", "oldest"),
        ("de", "Wo war der Kurs in Erster Hilfe?", None),
        ("de", "Was muss ich noch einkaufen?", None),
        ("zh", "我现在的房东是谁？", "newest"),
        ("zh", "我第一次去昆明是哪天？", "oldest"),
        ("zh", "外婆做红烧肉用什么糖？", None),
        ("hi", "अब मेरा मकान मालिक कौन है?", "newest"),
        ("hi", "मैं पहली बार उदयपुर कब गया?", "oldest"),
        ("hi", "नानी हलवे में क्या डालती हैं?", None),
        ("sv", "Var bor jag nu?", None),
    ],
)
def test_a_question_says_whether_it_asks_for_the_newest_or_the_oldest(
    language: str, question: str, expected: str | None
) -> None:
    assert order(question, language) == expected


@pytest.mark.parametrize(
    ("language", "question", "answer", "other"),
    [
        ("en", "When did I plant beans?", "On 3 May.", "In the garden."),
        ("en", "Who called?", "It was Ines.", "it rained."),
        ("en", "How many pots did I buy?", "I bought three.", "I bought some."),
        ("de", "Wann ist der Termin?", "Der Termin ist im März.", "Der Zahnarzt war nett."),
        ("de", "Wie viel Miete zahlen wir?", "Wir zahlen 700 Euro.", "Die Miete ist hoch."),
        ("zh", "我们哪天出发？", "五月十二号出发。", "住在湖边。"),
        ("zh", "房租是多少？", "每个月四千一百元。", "房东来过。"),
        ("hi", "हम कब निकलेंगे?", "हम बारह मई को निकलेंगे।", "टिकटें मिल गईं।"),
        ("hi", "कितने रुपये लगेंगे?", "तीन सौ रुपये।", "चेन टूट गई।"),
    ],
)
def test_a_kind_tells_an_answer_from_another_sentence(
    language: str, question: str, answer: str, other: str
) -> None:
    looks = kind(question, language)
    assert looks is not None
    # The first letter is capital in every sentence.
    assert looks.search(answer[1:])
    assert not looks.search(other[1:])


def test_a_topic_asks_for_no_kind() -> None:
    for language, question in (("en", "Which tea do I like?"), ("zh", "外婆用什么糖？"), ("sv", "När?")):
        assert kind(question, language) is None


@pytest.mark.parametrize("language", _CUES)
def test_every_language_has_states_and_a_past(language: str) -> None:
    assert states(language)
    assert is_past(_CUES[language].past[0], language)
    assert not is_past("?", language)
