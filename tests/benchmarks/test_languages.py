"""The extractive policy answers in the language of the question, with quotes that are single sentences."""

from collections.abc import Iterator

import pytest

from agent.policies.phrases import phrases
from agent.tags import escape
from benchmarks.languages import HISTORIES, answers, stored
from index.profiles import Profiles
from index.text.sentences import spans
from index.text.words import detect
from tests.index.fakes import HashEncoder


@pytest.fixture(scope="module")
def profiles() -> Iterator[Profiles]:
    with stored(HashEncoder(dimension=8)) as profiles:
        yield profiles


@pytest.mark.parametrize("language", HISTORIES)
async def test_answers_quote_single_sentences_and_speak_the_language_of_the_question(
    profiles: Profiles, language: str
) -> None:
    own = phrases(language)
    for answered in await answers(profiles, language, "bm25"):
        answer = answered.trajectory.answer
        assert answer is not None
        texts = {document.id: document.text for document in profiles.get(language).documents}
        assert answered.evidence in {citation.document_id for citation in answer.citations}, answered.question
        for citation in answer.citations:
            text = texts[citation.document_id]
            assert (citation.start, citation.end) in spans(text)
            # Each note has one sentence for each of its ends.
            assert sum(citation.quote.count(mark) for mark in "!。！।") <= 1
        opening, *lines = answer.text.splitlines()
        assert opening == own.says, answered.question
        about = own.about.partition("{name}")[0]
        assert all(line.startswith(("- ", about)) for line in lines)
        thoughts = [step.text for step in answered.trajectory.steps if step.kind == "thought"]
        assert detect("\n".join(thoughts)) == language
        assert thoughts[0] == escape(own.plan.format(topic=answered.question.rstrip("?？")))


def test_the_histories_have_ten_questions_each() -> None:
    assert {name: len(history["questions"]) for name, history in HISTORIES.items()} == dict.fromkeys(
        ("de", "zh", "hi"), 10
    )
