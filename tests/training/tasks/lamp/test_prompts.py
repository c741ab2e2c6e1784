"""Prompts: their form for each task, and a budget that keeps the input."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.tasks.lamp.records import INPUTS, entry
from training.tasks.lamp.data import Entry, parse_question
from training.tasks.lamp.inputs import InvalidInput, candidates, own_text, query_of
from training.tasks.lamp.prompts import (
    INPUT_SHARE,
    LEAST,
    Budget,
    OverBudget,
    build_prompt,
    prompt_of,
)
from training.tasks.lamp.schemas import SCHEMAS


class Words:
    """Tokens are runs of letters, and single other characters; white space belongs to what follows it."""

    def count(self, text: str) -> int:
        return len(self._ends(text))

    def cut(self, text: str, tokens: int) -> str:
        ends = self._ends(text)
        return text if tokens >= len(ends) else text[: ends[tokens - 1]] if tokens > 0 else ""

    def _ends(self, text: str) -> list[int]:
        return [match.end() for match in re.finditer(r"\s*(?:\w+|[^\w\s])|\s+$", text)]


class Chunks:
    """Tokens are pairs of characters, so that tokens change where texts meet."""

    def count(self, text: str) -> int:
        return (len(text) + 1) // 2

    def cut(self, text: str, tokens: int) -> str:
        return text[: 2 * max(tokens, 0)]


LARGE = Budget(Words(), 10_000)


def entries(number: int, *texts: tuple[str, str]) -> tuple[Entry, ...]:
    raw = [entry(number, f"e{index}", text, label) for index, (text, label) in enumerate(texts)]
    return parse_question(number, {"id": "q", "input": INPUTS[number], "profile": raw}, "file", 1).profile


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, "Geese in winter Graph colouring"),
        (2, "A robot learns to dance."),
        (3, "The kettle leaks."),
        (4, "The bridge opens in May."),
        (5, "We count geese."),
        (6, "The meeting moves to Friday."),
        (7, "It is raining again."),
    ],
)
def test_the_query_is_what_differs_between_inputs(number: int, expected: str) -> None:
    assert query_of(number, INPUTS[number]) == expected


@pytest.mark.parametrize("number", SCHEMAS)
def test_a_missing_marker_is_an_error(number: int) -> None:
    with pytest.raises(InvalidInput, match=r"missing|not both there"):
        query_of(number, "Say something")
    with pytest.raises(InvalidInput):
        prompt_of(number, "Say something", [], LARGE)


@pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7])
def test_an_input_without_a_text_of_its_own_has_an_empty_query(number: int) -> None:
    instruction = INPUTS[number].removesuffix(query_of(number, INPUTS[number]))
    assert query_of(number, instruction + " ") == ""
    prompt = prompt_of(number, instruction, entries(number, ("text", "label")), LARGE)
    assert "text" in prompt
    assert prompt.endswith(instruction)


quoted_titles = st.text(st.sampled_from("ab \"'“,.:?"), min_size=1, max_size=20)


@given(own=quoted_titles, first=quoted_titles, second=quoted_titles)
def test_titles_with_quotation_marks_are_taken_apart(own: str, first: str, second: str) -> None:
    input_ = (
        f'For an author who has written the paper with the title "{own}", which reference is related? Just '
        f'answer with [1] or [2] without explanation. [1]: "{first}" [2]: "{second}"'
    )
    assert candidates(input_) == (first, second)
    assert own_text(1, input_) == own
    assert query_of(1, input_) == f"{first} {second}"


@pytest.mark.parametrize("damage", ['[1]: Geese" [2]: "x"', '[1]: "" [2]: "x"', '[1]: "x" [2]: x'])
def test_a_candidate_without_quotation_marks_is_an_error(damage: str) -> None:
    with pytest.raises(InvalidInput, match="quoted"):
        candidates(f'the title "a", which? {damage}')


def test_own_title_is_empty_if_it_is_not_quoted() -> None:
    assert own_text(1, 'with the title, which? [1]: "a" [2]: "b"') == ""


def test_entries_of_task_1_stand_before_the_authors_own_title() -> None:
    prompt = prompt_of(1, INPUTS[1], entries(1, ("Ducks", "about ducks"), ("Swans", "")), LARGE)
    assert prompt.startswith(
        'For an author who has written the paper with the title, and "Ducks", and "Swans" "Wild Geese", which'
    )
    assert prompt.endswith(INPUTS[1][-60:])


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (2, 'the tag of "t" is "comedy", and the tag of "u" is "action". '),
        (3, 'the score of "t" is comedy, and the score of "u" is action. '),
        (4, 'the title of "t" is "comedy", and the title of "u" is "action". '),
        (5, 'the title of "t" is "comedy", and the title of "u" is "action". Follow these patterns. '),
        (6, 'the title of "t" is "comedy", and the title of "u" is "action". '),
        (7, '"t", and "u" were written by one person. Follow these patterns. '),
    ],
)
def test_entries_of_the_other_tasks_stand_before_the_input(number: int, expected: str) -> None:
    found = entries(number, ("t", "comedy"), ("u", "action"))
    assert prompt_of(number, INPUTS[number], found, LARGE) == expected + INPUTS[number]
    assert prompt_of(number, INPUTS[number], [], LARGE) == INPUTS[number]


def test_braces_in_a_label_are_text() -> None:
    assert '"{}{0}"' in prompt_of(4, INPUTS[4], entries(4, ("t", "{}{0}")), LARGE)


def test_texts_share_what_is_left_and_pass_on_what_they_do_not_need() -> None:
    found = entries(7, (" ".join(["long"] * 50), ""), ("one two", ""), (" ".join(["last"] * 50), ""))
    fixed = Words().count(prompt_of(7, INPUTS[7], entries(7, *[("x", "")] * 3), LARGE)) - 3
    prompt = build_prompt(7, INPUTS[7], found, Budget(Words(), fixed + 32))
    assert prompt.text.count("long") == 15
    assert prompt.text.count("last") == 15
    assert (prompt.entries, prompt.input_cut) == (3, 0)
    assert Words().count(prompt.text) == fixed + 32


def test_nothing_is_cut_where_everything_fits() -> None:
    found = entries(7, (" ".join(["long"] * 50), ""), ("one two", ""))
    whole = prompt_of(7, INPUTS[7], found, LARGE)
    exact = Words().count(whole)
    assert prompt_of(7, INPUTS[7], found, Budget(Words(), exact)) == whole
    assert prompt_of(7, INPUTS[7], found, Budget(Words(), exact - 1)).count("long") == 49


def test_titles_are_never_cut_and_entries_that_do_not_fit_are_left_out_from_the_end() -> None:
    title = " ".join(["title"] * 30)
    found = entries(4, *[(" ".join(["text"] * 100), title)] * 4)
    prompt = build_prompt(4, INPUTS[4], found, Budget(Words(), 120))
    assert prompt.entries == 2
    assert prompt.text.count(title) == 2
    assert prompt.text.endswith(INPUTS[4])


def test_an_input_that_leaves_no_room_loses_its_end_and_never_its_instruction() -> None:
    long = "Generate a headline for the following article:" + " word" * 500
    prompt = build_prompt(4, long, entries(4, ("text", "title")), Budget(Words(), 100))
    asked = prompt.text[prompt.text.index("Generate") :]
    assert asked.startswith("Generate a headline for the following article: word")
    assert Words().count(asked) == int(INPUT_SHARE * 100)
    assert (prompt.entries, prompt.input_cut) == (1, 508 - 60)
    bare = build_prompt(4, long, [], Budget(Words(), 100))
    assert (Words().count(bare.text), bare.entries, bare.input_cut) == (100, 0, 408)


def test_an_entry_that_cannot_fit_is_an_error_and_not_left_out_in_silence() -> None:
    endless = entries(4, ("text", " ".join(["title"] * 200)))
    with pytest.raises(OverBudget, match="raise the limit"):
        build_prompt(4, INPUTS[4], endless, Budget(Words(), 100))
    with pytest.raises(OverBudget, match="instruction"):
        build_prompt(4, INPUTS[4] + " x" * 50, endless, Budget(Words(), 10))
    with pytest.raises(OverBudget, match="never cut"):
        build_prompt(1, INPUTS[1], entries(1, ("Ducks", "")), Budget(Words(), 40))


texts = st.text(st.sampled_from('ab .,"é'), max_size=60)


@given(
    number=st.sampled_from(sorted(SCHEMAS)),
    found=st.lists(st.tuples(texts, texts), max_size=5),
    tokens=st.integers(40, 400),
    tokenizer=st.sampled_from([Words(), Chunks()]),
    long=st.integers(0, 200),
)
def test_a_prompt_fits_keeps_its_input_and_never_loses_its_person(
    number: int, found: Sequence[tuple[str, str]], tokens: int, tokenizer: Words | Chunks, long: int
) -> None:
    input_ = INPUTS[number] + (" more" * long if number != 1 else "")
    held = entries(number, *((text + "x", label) for text, label in found))
    try:
        prompt = build_prompt(number, input_, held, Budget(tokenizer, tokens))
    except OverBudget:
        # Only if not even one entry fits beside what has to stay of the input.
        least = build_prompt(number, INPUTS[number], held[:1], Budget(tokenizer, 10_000)).text
        assert tokenizer.count(least) > INPUT_SHARE * tokens - LEAST
        return
    assert tokenizer.count(prompt.text) <= tokens
    assert (prompt.entries > 0) == bool(held)
    if prompt.input_cut == 0 and number != 1:
        assert prompt.text.endswith(input_)
    if number == 1:
        assert prompt.text.endswith(input_.partition("title")[2])
