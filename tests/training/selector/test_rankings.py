"""Whole profiles are ranked by every member, with the query of the task."""

from collections.abc import Sequence

from index.documents import Passage
from index.text.words import terms
from training.evaluation.task import Question
from training.selector.prediction import Retrieved
from training.selector.rankings import rankings
from training.tasks.lamp.data import Entry
from training.tasks.lamp.data import Question as LampQuestion
from training.tasks.lampqa.data import Question as OpenQuestion

ENTRIES = tuple(Entry(f"e{n}", f"text {n}", {"text": f"text {n}", "title": "t"}) for n in range(3))
LAMP = LampQuestion(
    "q1", "Generate a headline for the following article: Rain at last", ENTRIES, "", "LaMP_4"
)
BARE = LampQuestion("q2", "Generate a headline for the following article: Sun", (), "", "LaMP_4")
OPEN = OpenQuestion.model_validate(
    {
        "id": "q3",
        "question": "Where should I row?",
        "category": "c",
        "narrative": "n",
        "rubric_aspects": [{"aspect": "a", "reason": "r", "evidence": "e"}],
        "profile": [{"id": "d", "text": "I row at dawn."}],
    }
)


async def test_every_member_ranks_the_whole_profile() -> None:
    asked: list[tuple[str, str, int, str]] = []
    finished: list[int] = []

    async def keep(question: Question) -> str:
        return f"user of {question.id}"

    async def search(user: str, query: str, k: int, retriever: str) -> Sequence[Passage]:
        asked.append((user, query, k, retriever))
        return [Passage("d", "t", score=score) for score in (2.0, 1.0)] if retriever == "bm25" else []

    questions: list[Question] = [LAMP, BARE, OPEN]
    found = await rankings(questions, ["none", "bm25"], keep, search, finished.append)
    assert asked == [
        ("user of q1", "Rain at last", 3, "none"),
        ("user of q1", "Rain at last", 3, "bm25"),
        ("user of q3", "Where should I row?", 1, "none"),
        ("user of q3", "Where should I row?", 1, "bm25"),
    ]
    words = len(terms("Rain at last"))
    assert found["q1"] == [Retrieved((), 3, words), Retrieved((2.0, 1.0), 3, words)]
    assert found["q2"] == [Retrieved((), 0, 1)] * 2
    assert finished == [1, 1, 1]
