import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.records import AspectScore
from training.judging.judge import RubricAspect, RubricQuestion, Unjudged, judged
from training.judging.lexical import LexicalJudge
from training.judging.reply import UnjudgedReply, parse_score
from training.tasks.lampqa.data import Aspect, Item, Question


def question_with(*aspects: str) -> Question:
    return Question(
        id="q1",
        question="Which camera should I buy?",
        category="Art_and_Entertainment",
        narrative="I carry it up mountains.",
        rubric_aspects=tuple(Aspect(aspect=name, reason="it matters", evidence="") for name in aspects),
        profile=(Item(id="p1", text="My back hurts."),),
    )


@dataclass
class Scripted:
    """Returns a scripted value for each aspect, or raises a scripted exception."""

    scores: dict[str, object]
    name: str = "scripted"
    comparable: bool = False
    asked: list[str] = field(default_factory=list)

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        self.asked.append(aspect.aspect)
        await asyncio.sleep(0)
        score = self.scores[aspect.aspect]
        if isinstance(score, Exception):
            raise score
        return score  # type: ignore[return-value]

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ('{"match_score": 2}', 2),
        ('{"match_score": 0}', 0),
        ('{"match_score":1,"why":"3 of 5 points"}', 1),
        ('{"why": "it is 2 of 3", "match_score": 1}', 1),
        ('```json\n{"match_score": 2}\n```', 2),
        ('```\n{\n  "match_score": 1\n}\n```', 1),
        ('Here it is:\n```json\n{"match_score": 1}\n```\nIt names 2 of the 3 lenses.', 1),
        ('I looked at all 5 points. {"match_score": 2} I hope this helps.', 2),
        ("match_score: 2", 2),
        ("match_score = 1", 1),
        ("Match_Score:0", 0),
        ("**match_score**: 2", 2),
        ("`match_score`: `1`", 1),
        ("match score: 1", 1),
        ("match_score：2", 2),
        ("{'match_score': 1}", 1),
        ('{\\"match_score\\": 1}', 1),
        ('{"match_score": "2"}', 2),
        ('{"match_score": 2.0}', 2),
        ('{"match_score": 2.}', 2),
        ("match_score: 2.\n", 2),
        ("match_score: 2 (very well covered)", 2),
        ("match_score: 1 out of 2", 1),
        ("2", 2),
        (" 0\n", 0),
        ("1.", 1),
        ("1.0", 1),
        ('"2"', 2),
        ("**2**", 2),
        ("```\n1\n```", 1),
        ("```json\n1\n```", 1),
        ('{"match_score": 1}\n{"match_score": 1}', 1),
        ('```json\n{"match_score": 1}\n```\n' * 7, 1),
        ('{"match_score": 2} <|im_end|> asdf {{{ "" 17 \ud800\0 ]] 0 1', 2),
        ('{"match_score": 2', 2),
        ('[{"match_score": 2}]', 2),
        ("The scale: 0 is not, 1 somewhat, 2 very well.\n" + '{"match_score": 1}', 1),
        ("match_score can be 0, 1 or 2. match_score: 0", 0),
        ('I must give {"match_score": <grade>}. So: {"match_score": 2}', 2),
        ('<think>match_score: 0? No, 1.</think>\n{"match_score": 2}', 2),
        ('Perhaps match_score: 0.\n</think>\n{"match_score": 2}', 2),
        ('{"match_score": 2}<think>or match_score: 1', 2),
        ("<think>hm</think> 2", 2),
        (
            "<|channel|>analysis<|message|>match_score: 0?<|end|><|channel|>final<|message|>2",
            2,
        ),
        ('<tool_call>{"name": "grade", "arguments": {"match_score": 1}}</tool_call>', 1),
        ("json\n2", 2),
        ("json\n1\n", 1),
        ("2\njson\n2", 2),
        ("2 assistant\n\n2", 2),
        ("1\n\nscore: 1", 1),
    ],
)
def test_a_reply_with_one_score_gives_it(reply: str, score: int) -> None:
    assert parse_score(reply) == score


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "   \n",
        "{}",
        "no idea",
        '{"match_score": null}',
        '{"match_score": "high"}',
        '{"match_score": true}',
        '{"match_score": 3}',
        '{"match_score": -1}',
        '{"match_score": 1.5}',
        '{"match_score": 1.5x}',
        '{"match_score": 20}',
        '{"match_score": 02}',
        '{"match_score": 2e0}',
        '{"match_score": "3"}',
        '{"match_score": {"value": 2}}',
        '{"match_score": [1, 2]}',
        '{"match_score": }',
        '{"score": 2}',
        '{"mismatch_score": 2}',
        "3",
        "-1",
        "1.5",
        "1 2",
        "json",
        "json\n3",
        "json\n1\n2",
        "2\njson\n1",
        "2 of 2",
        "1 to 1",
        "score 2",
        "0/2",
        "2" * 100_000,
        "²",
        "２",
        "score 2 out of 2",
        "2 out of 2",
        "I would say 2.",
        "between 1 and 2",
        "match_score: between 1 and 2",
        "match_score: 1-2",
        "match_score: 1 or 2",
        'match_score: "1" or "2"',
        "match_score: 0/1/2",
        "match_score: 1,5",
        "match_score: 1 ... match_score: 2",
        '{"match_score": 1, "match_score": 2}',
        '{"match_score": 1}\n{"match_score": 1}\n{"match_score": 0}',
        '{"match_score": 2} {"match_score": 3}',
        "<think>match_score: 2</think>",
        "<think>match_score: 2",
        "match_score: 2</think>",
    ],
)
def test_a_reply_with_no_score_or_two_gives_none(reply: str) -> None:
    with pytest.raises(UnjudgedReply):
        parse_score(reply)


_WORDS = ("match_score", "<think>", "</think>", "```", "json", "null", " or ")
_PIECES = st.sampled_from([*_WORDS, *'"\\:={}[] \n0123.-*٣\ud800'])


@given(st.one_of(st.text(), st.lists(_PIECES, max_size=40).map("".join)))
def test_any_text_gives_a_score_or_says_that_it_has_none(reply: str) -> None:
    with suppress(UnjudgedReply):
        assert parse_score(reply) in (0, 1, 2)


_PROSE = st.text(st.characters(exclude_categories=["Nd"], exclude_characters="<>_:="), max_size=60)


@given(before=_PROSE, score=st.integers(0, 2), after=st.text(max_size=60), times=st.integers(1, 4))
def test_words_around_a_block_change_nothing(before: str, score: int, after: str, times: int) -> None:
    blocks = f'```json\n{{"match_score": {score}}}\n```\n' * times
    if "match" not in after.lower() and "<" not in after:
        assert parse_score(f"{before}\n{blocks}{after}") == score


@given(first=st.integers(0, 2), other=st.integers(0, 9), between=_PROSE)
def test_two_labelled_values_are_a_score_only_if_they_are_the_same(
    first: int, other: int, between: str
) -> None:
    reply = f'{{"match_score": {first}}}{between}{{"match_score": {other}}}'
    if first == other:
        assert parse_score(reply) == first
    else:
        with pytest.raises(UnjudgedReply):
            parse_score(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "2" + "." * 100_000 + "x",
        "`" * 100_000 + "x",
        "1 a " * 30_000 + "b",
        "json" + " " * 100_000 + "x",
        "<think>" * 50_000,
        "match_score" + " " * 100_000,
        "match_score: " + "1" * 100_000 + "x",
        "match_score: " * 20_000,
    ],
)
def test_a_hostile_reply_is_read_at_once(reply: str) -> None:
    with pytest.raises(UnjudgedReply):
        parse_score(reply)


WEIGHT = Aspect(aspect="Low weight", reason="", evidence="carry it up mountains daily")


@pytest.mark.parametrize(
    ("response", "score"),
    [
        ("", 0),
        ("Buy the red one.", 0),
        ("One to carry.", 0),  # 1 of low, weight, carry, mountain, daily
        ("A camera that weighs little is easy to carry in the mountain.", 1),
        ("Of low weight, for carrying in mountains.", 2),
    ],
)
async def test_the_lexical_judge_counts_expected_words(response: str, score: int) -> None:
    judge = LexicalJudge()
    assert await judge.judge(question_with("x"), WEIGHT, response) == score
    assert (judge.name, judge.comparable) == ("lexical", False)
    await judge.aclose()


async def test_the_lexical_judge_gives_nothing_for_an_empty_response_whatever_is_expected() -> None:
    for words in ("…", "the", "?!"):
        aspect = Aspect(aspect=words, reason="", evidence="")
        assert await LexicalJudge().judge(question_with("x"), aspect, "") == 0


async def test_aspects_come_back_in_their_order_each_with_its_own_score() -> None:
    judge = Scripted({"a": 2, "b": 0, "c": 1})
    scores = await judged(judge, question_with("c", "a", "b"), "…")
    assert scores == (AspectScore("c", 1), AspectScore("a", 2), AspectScore("b", 0))


@pytest.mark.parametrize("got", [Unjudged("no"), UnjudgedReply("no"), 3, -1, "2", 1.0, True, None])
async def test_what_is_no_score_is_unjudged_and_not_0(got: object) -> None:
    scores = await judged(Scripted({"a": 2, "b": got}), question_with("a", "b"), "…")
    assert scores == (AspectScore("a", 2), AspectScore("b", None))


async def test_a_fault_that_is_no_missing_judgement_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await judged(Scripted({"a": 2, "b": ZeroDivisionError()}), question_with("a", "b"), "…")
