from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.citations import MARK, PARTIAL_MARK, _claims, resolve
from agent.trajectory import Citation, Read
from index.documents import Passage
from tests.agent import texts
from tests.work import calls

TEA = "I drink green tea. I never drink coffee!\nMy cup is blue."
LONG = "First of all, hello. " * 20 + "Rex is our dog. He is brown."
PART = LONG.index("Rex")
READS = {
    1: (Read(1, Passage("tea", TEA)), 2),
    2: (Read(2, Passage("long", LONG[PART:], start=PART)), 5),
    3: (Read(3, Passage("long", LONG[:PART], start=0)), 5),
}
DOCUMENTS = {"tea": TEA, "long": LONG}


def test_a_mark_quotes_the_line_that_the_statement_rests_on() -> None:
    text, citations, dropped = resolve("They never drink coffee [1]. The cup is blue [1].", READS)
    assert text == "They never drink coffee [1]. The cup is blue [1]."
    assert [citation.quote for citation in citations] == ["I never drink coffee!", "My cup is blue."]
    assert {citation.step for citation in citations} == {2}
    assert dropped == 0


def test_the_offsets_of_a_later_part_count_from_the_start_of_the_document() -> None:
    _, citations, _ = resolve("The dog is brown [2].", READS)
    (citation,) = citations
    assert citation == Citation(2, "long", "He is brown.", len(LONG) - 12, len(LONG), 5)
    assert LONG[citation.start : citation.end] == citation.quote


@given(
    st.lists(
        st.one_of(
            st.sampled_from(["[1]", "[2]", "[3]", "[4]", "[1, 9]", "[9,2 ,3]", "\n", ". "]), texts.fragments
        )
    )
)
def test_every_quote_is_verbatim_whatever_the_answer_is(parts: list[str]) -> None:
    answer = "".join(parts)
    text, citations, dropped = resolve(answer, READS)
    for citation in citations:
        assert DOCUMENTS[citation.document_id][citation.start : citation.end] == citation.quote != ""
        assert READS[citation.number][0].passage.document_id == citation.document_id
        assert READS[citation.number][1] == citation.step
    assert len(set(citations)) == len(citations)
    assert dropped > 0 or text == answer.strip()
    assert resolve(text, READS)[1:] in {(citations, 0), (resolve(text, READS)[1], 0)}


@pytest.mark.parametrize(
    ("answer", "text", "dropped"),
    [
        ("Tea [1] and cake [7].", "Tea [1] and cake.", 1),
        ("Tea 【1】.", "Tea [1].", 0),
        ("Tea[^1].", "Tea[1].", 0),
        ("Tea [1†L3].", "Tea [1].", 0),
        ("Tea 【1†L3-L5】【2†source】.", "Tea [1][2].", 0),
        ("Tea [^1, 7].", "Tea [1].", 1),
        ("Tea 【7†L3】.", "Tea.", 1),
        ("Tea [a†b] 【x】 [^] [1†" + "a" * 41 + "].", "Tea [a†b] 【x】 [^] [1†" + "a" * 41 + "].", 0),
        ("Tea [1, 9].", "Tea [1].", 1),
        ("Tea [9, 1,8].", "Tea [1].", 2),
        ("Tea [7][8].", "Tea.", 2),
        ("Tea [1][8].", "Tea [1].", 1),
        ("Tea[0].", "Tea.", 1),
        ("[7]", "", 1),
        ("a\n[7] b", "a\n b", 1),
        ("a [1234567] b [x] c [] d", "a [1234567] b [x] c [] d", 0),
    ],
)
def test_marks_that_point_nowhere_are_taken_out_and_counted(answer: str, text: str, dropped: int) -> None:
    resolved = resolve(answer, READS)
    assert (resolved[0], resolved[2]) == (text, dropped)


def test_a_run_of_marks_belongs_to_one_statement() -> None:
    for answer in ("The dog is brown, the cup is blue [1][2].", "The dog is brown, the cup is blue [1, 2]."):
        _, citations, _ = resolve(answer, READS)
        assert [citation.quote for citation in citations] == ["My cup is blue.", "He is brown."]


@pytest.mark.parametrize("run", ["[1][2]", "[1] [2]", "[1]  [2]", "[1, 2]", "- [1][2]:"])
def test_a_run_of_marks_at_the_start_of_a_line_belongs_to_that_line(run: str) -> None:
    _, citations, _ = resolve(f"Known:\n{run} the dog is brown, the cup is blue\nRex.", READS)
    assert [citation.quote for citation in citations] == ["My cup is blue.", "He is brown."]


def test_the_numbers_of_other_marks_are_no_words_of_a_statement() -> None:
    rooms = {n: (Read(n, Passage("rooms", "Room 1 is red. Room 2 is cold. It is brown.")), 2) for n in (1, 2)}
    for answer in ("Brown, it is [1][2].", "[2][1] Brown, it is.", "[2] Brown, it is [1]."):
        _, citations, _ = resolve(answer, rooms)
        assert {citation.quote for citation in citations} == {"It is brown."}


def test_a_mark_at_the_start_of_a_line_stands_for_the_words_up_to_the_next() -> None:
    _, citations, _ = resolve("[1] The cup is blue. [2] The dog is brown. [1] Never coffee.", READS)
    assert citations[0].quote == "My cup is blue."


def test_marks_on_two_lines_are_no_run() -> None:
    _, citations, _ = resolve("The cup is blue [1]\n[2] The dog is brown", READS)
    assert [citation.quote for citation in citations] == ["My cup is blue.", "He is brown."]


@pytest.mark.parametrize(
    "unit", ["[1]", "[1] ", "[1]\n", ". [1]", "\n[1]", "The cup is blue [1]. ", "[", "[1, "]
)
def test_a_model_that_repeats_itself_costs_little(unit: str) -> None:
    reads = {1: (Read(1, Passage("tea", TEA * 50)), 2)}
    few, many = (calls(partial(resolve, "So" + unit * n, reads)) for n in (100, 1_000))
    # The passage is read once, and each mark costs the same few calls.
    assert many - few <= 900 * 60


class _Counted(list[str]):
    """A list that counts the items taken from it, one by one or as a part."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.taken += len(found) if isinstance(key, slice) else 1
        return found


@pytest.mark.parametrize("gap", ["", "\n", " ", "Tea ", "Tea\n", "\n\n "])
def test_claims_are_found_by_looking_at_each_piece_of_an_answer_a_few_times(gap: str) -> None:
    few, many = _Counted([gap] * 100), _Counted([gap] * 1_000)
    assert (len(_claims(few)), len(_claims(many))) == (99, 999)
    assert few.taken > 0
    assert many.taken <= 11 * few.taken


def test_a_line_is_cited_once_however_often_it_is_marked() -> None:
    _, citations, _ = resolve("The cup is blue [1][1]. A blue cup, it is [1, 1].", READS)
    assert [citation.quote for citation in citations] == ["My cup is blue."]


def test_citations_come_in_the_order_of_their_marks() -> None:
    _, citations, _ = resolve("Brown is the dog [2]. Blue is the cup [1].", READS)
    assert [citation.number for citation in citations] == [2, 1]


def test_a_mark_at_the_start_of_a_line_belongs_to_that_line() -> None:
    text, citations, _ = resolve("Known:\n[1] The cup is blue\n- [2]: the dog is brown", READS)
    assert text == "Known:\n[1] The cup is blue\n- [2]: the dog is brown"
    assert [citation.quote for citation in citations] == ["My cup is blue.", "He is brown."]


def test_a_mark_without_any_statement_cites_the_first_line() -> None:
    _, citations, _ = resolve("[1]", READS)
    assert [citation.quote for citation in citations] == ["I drink green tea."]


@pytest.mark.parametrize("nothing", ["🌊", "…", "!", "* * *", "🌊!"])
def test_a_sentence_without_words_is_no_quote_because_the_claim_has_it(nothing: str) -> None:
    reads = {1: (Read(1, Passage("sea", f"{nothing}\nWe swam in the sea.")), 2)}
    _, citations, _ = resolve(f"They swam {nothing} in the sea [1].", reads)
    assert [citation.quote for citation in citations] == ["We swam in the sea."]


def test_a_passage_without_words_is_quoted_as_it_is() -> None:
    _, citations, _ = resolve("They swam 🌊 [1].", {1: (Read(1, Passage("sea", "🌊")), 2)})
    assert [citation.quote for citation in citations] == ["🌊"]


def test_a_sentence_that_the_claim_repeats_is_quoted_before_one_that_shares_more_words() -> None:
    reads = {1: (Read(1, Passage("sea", "We swam in the cold sea today. Cold.")), 2)}
    _, citations, _ = resolve("We swam in the sea today, it was: Cold. [1]", reads)
    assert [citation.quote for citation in citations] == ["Cold."]


def test_a_passage_without_text_can_be_cited() -> None:
    for nothing in ("", "  \n "):
        _, citations, _ = resolve("So [1].", {1: (Read(1, Passage("empty", nothing, start=3)), 2)})
        assert [(citation.quote, citation.start) for citation in citations] == [(nothing, 3)]


def test_without_passages_every_mark_is_dropped() -> None:
    assert resolve("Tea [1], cake [2].", {}) == ("Tea, cake.", (), 2)


@given(
    st.sampled_from(["[1]", "[12, 3]", "【1】", "[^1]", "[1†L3]", " 【1, 2†source】"]), st.text(max_size=5)
)
def test_every_beginning_of_a_mark_may_still_become_one(mark: str, before: str) -> None:
    assert MARK.fullmatch(mark)
    for end in range(len(mark)):
        text = before + mark[:end]
        found = PARTIAL_MARK.search(text)
        assert found is not None
        assert found.start() <= len(before)
