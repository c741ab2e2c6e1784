"""Recall with expanded questions, on a history whose figures are worked out by hand."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import expanding
from benchmarks.evidence import Asked, History, UnusableData, profiles_of
from benchmarks.recall import Found, search
from index.documents import Document
from index.ranking.expanding import ExpanderFailure, Expanding
from tests.benchmarks.test_answers import TODAY
from tests.index.fakes import HashEncoder

LOOKS, TEA = Asked("what look", ("tall",), TODAY), Asked("green tea", ("tea",), TODAY)
NOTES = [Document(id="tall", text="five foot eight tall"), Document(id="tea", text="green tea")]
RULES = {"looks": ["five foot", "eight tall", "five tall"], "tea": []}


def test_a_question_has_the_sentences_of_its_words_in_their_order() -> None:
    rules = {"Hair": ["red hair"], "look": ["five foot", "tall"]}
    found = expanding.by_rules(rules, ["How does her hair look?", "Looks and hairs", "Why?"])
    assert list(found.values()) == [["red hair", "five foot", "tall"], ["five foot", "tall", "red hair"], []]


def test_the_rules_are_sentences_by_word() -> None:
    rules = expanding.read_rules(expanding.RULES)
    assert all(word.isalpha() and said and all(said) for word, said in rules.items())


def test_only_questions_with_sentences_are_searched_differently() -> None:
    questions = [LOOKS, TEA]
    others = [Document(id=f"n{i}", text=f"what look {i}") for i in range(20)]
    history = History("ana", [*NOTES, *others], questions, 0, 0)
    sentences = expanding.by_rules(RULES, [asked.text for asked in questions])
    changing = Expanding(expanding.Written(sentences))
    with profiles_of([history], HashEncoder(dimension=256)) as profiles:
        alone = search(profiles, [history], "dense")
        expanded = search(profiles, [history], "dense", expanding=changing)
    assert [each.shares[5] for each in alone] == [0, 1]
    assert [each.shares[5] for each in expanded] == [1, 1]
    assert changing.counts.expanded == 1


def test_a_row_pairs_the_questions() -> None:
    def found(*recalls: float) -> list[Found]:
        return [Found("ana", LOOKS, {5: recall, 10: 1, 20: 1}) for recall in recalls]

    name, count, first, *_ = expanding.row("own", found(0, 0.5), found(0.5, 1), 1)
    assert (name, count, first) == ("own", "1 of 2", "0.250 → 0.750, +0.500\n[+0.500, +0.500]")


class Writer:
    name = "writer"

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.closed = False

    async def expand(self, question: str) -> Sequence[str]:
        if self._error:
            raise self._error
        return [question.upper()]

    async def aclose(self) -> None:
        self.closed = True


def test_a_model_writes_for_every_question_or_none_is_measured() -> None:
    writer = Writer()
    found = asyncio.run(expanding.by_model(writer, [f"q{i}" for i in range(20)]))
    assert found == {f"q{i}": [f"Q{i}"] for i in range(20)}
    assert writer.closed
    away = Writer(ExpanderFailure("away"))
    with pytest.raises(ExpanderFailure):
        asyncio.run(expanding.by_model(away, ["q"]))
    assert away.closed


@pytest.mark.parametrize("content", ["{", '{"hair": "red"}', "[]"])
def test_broken_rules_are_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rules.json"
    file.write_text(content, "utf-8")
    with pytest.raises(UnusableData, match=r"rules\.json"):
        expanding.read_rules(file)
