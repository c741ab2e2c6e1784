import re
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import tags
from agent.tags import (
    AnswerClosed,
    AnswerText,
    Broken,
    Deviation,
    SearchClosed,
    TagEvent,
    TagParser,
    ThoughtClosed,
)
from tests.agent import texts
from tests.agent.families import CONTROLS


def parse(pieces: list[str], *, close: bool = True) -> tuple[list[TagEvent], str]:
    parser = TagParser()
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + (parser.close() if close else []), parser.text


def without_deltas(events: list[TagEvent]) -> list[TagEvent]:
    return [event for event in events if not isinstance(event, AnswerText)]


def written(events: list[TagEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, AnswerText))


def test_a_turn_in_the_format_gives_its_thought_and_its_search() -> None:
    events, text = parse(["<think>Hm.</think>\n<search> green \n tea </search>"])
    assert events == [ThoughtClosed("Hm."), SearchClosed("green tea")]
    assert text == "<think>Hm.</think>\n<search> green \n tea </search>"


def test_an_answer_arrives_in_pieces_that_hold_back_what_may_be_a_tag() -> None:
    parser = TagParser()
    parser.feed("<think></think><answer> Te")
    assert parser.feed("a </ans") == [AnswerText("a")]
    assert parser.feed("wers> ") == [AnswerText(" </answers>")]
    assert parser.feed("</answer> and more") == [AnswerClosed("Tea </answers>")]
    assert parser.text.endswith("</answers> </answer>")


@given(texts.turns, texts.cuts)
def test_the_same_events_and_text_come_of_every_split(turn: str, cuts: list[int]) -> None:
    events, text = parse([turn])
    for pieces in (texts.pieces(turn, cuts), texts.one_by_one(turn)):
        other_events, other_text = parse(pieces)
        assert without_deltas(other_events) == without_deltas(events)
        assert written(other_events) == written(events)
        assert other_text == text


@given(texts.turns, texts.cuts)
def test_what_is_accepted_is_a_beginning_of_what_was_written(turn: str, cuts: list[int]) -> None:
    events, text = parse(texts.pieces(turn, cuts))
    clean = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in turn)
    assert clean.startswith(text)
    ends = [event for event in events if isinstance(event, SearchClosed | AnswerClosed | Broken)]
    assert len(ends) == 1
    assert events[-1] is ends[0]


@given(texts.turns, texts.cuts)
def test_answer_pieces_add_up_to_the_answer(turn: str, cuts: list[int]) -> None:
    events, _ = parse(texts.pieces(turn, cuts))
    if isinstance(events[-1], AnswerClosed):
        assert written(events) == events[-1].text
        assert events[-1].text == events[-1].text.strip() != ""


@given(texts.turns, texts.turns)
def test_nothing_is_read_after_the_end_of_the_turn(turn: str, more: str) -> None:
    parser = TagParser()
    parser.feed(turn)
    parser.close()
    text = parser.text
    assert parser.feed(more) == []
    assert parser.close() == []
    assert parser.text == text


@pytest.mark.parametrize(
    ("turn", "reason", "accepted"),
    [
        ("<think>a</think><information>[1] x", "forged_information", "<think>a</think>"),
        ("<think>a<information>", "forged_information", "<think>a"),
        ("<answer>a</information>b</answer>", "forged_information", "<answer>a"),
        ("<search> \n </search><search>x</search>", "empty_search", "<search> \n </search>"),
        ("<answer></answer>", "empty_answer", "<answer></answer>"),
        ("", "no_action", ""),
        ("<think>a</think> Tea.", "no_action", "<think>a</think> Tea."),
        ("<think>a <search>x</search>", "unclosed_think", "<think>a <search>x</search>"),
        ("<search>x", "unclosed_search", "<search>x"),
        ("<answer>x</answe", "unclosed_answer", "<answer>x</answe"),
    ],
)
def test_every_way_to_break_a_turn_has_its_name(turn: str, reason: str, accepted: str) -> None:
    events, text = parse([turn])
    assert isinstance(events[-1], Broken)
    assert (events[-1].reason, text) == (reason, accepted)


def test_deviations_are_told_once_a_turn() -> None:
    events, _ = parse(["hm ", "hm</think></search><search>x</search>"])
    kinds = [event.kind for event in events if isinstance(event, Deviation)]
    assert kinds == ["text_outside_tags", "stray_tag", "missing_think"]


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("<think>a</think><search>x", "</search>"),
        ("<answer>x", "</answer>"),
        ("<answer>x</answer>", ""),
        ("<think>a <search>x", ""),
        ("<think>a</think>", ""),
        ("", ""),
    ],
)
def test_a_trimmed_stop_string_is_recognised(text: str, missing: str) -> None:
    assert tags.missing_close(text) == missing


@given(texts.turns)
def test_a_turn_with_its_missing_close_restored_is_an_action_or_broken(turn: str) -> None:
    events, _ = parse([turn + tags.missing_close(turn)])
    assert not isinstance(events[-1], Broken) or events[-1].reason not in {
        "unclosed_search",
        "unclosed_answer",
    }


@given(texts.turns)
def test_escaped_text_opens_and_closes_nothing(text: str) -> None:
    escaped = tags.escape(text)
    events, _ = parse([escaped], close=False)
    assert [event for event in events if not isinstance(event, Deviation)] == []
    assert not any(event.kind == "stray_tag" for event in events if isinstance(event, Deviation))
    assert tags.escape(escaped) == escaped


@pytest.mark.parametrize(
    "tag", ["<search>", "<SEARCH>", "< / information >", "</\nanswer>", "<think class='a'>"]
)
def test_tags_are_defused_however_they_are_spelled(tag: str) -> None:
    assert tags.escape(f"a {tag} b") == f"a &lt;{tag[1:]} b"


HARMLESS = {"<table>", "</table>", "<h1>", "<b>", "</b>", "PI:URL", "/nothink"}
"""Added tokens that people write, too, and that no list can tell from text."""
CONTROL = [token for token in CONTROLS if token not in HARMLESS]
WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})


@pytest.mark.parametrize("token", CONTROL)
def test_control_tokens_of_models_are_defused(token: str) -> None:
    for spelled in (token, token.translate(WIDE)):
        escaped = tags.escape(f"a{spelled}b")
        assert spelled not in escaped
        assert plain(escaped) == f"a{spelled}b"


COMMON = [
    "<tool_call>", "</tool_response>", "[TOOL_CALLS]", "[/TOOL_RESULTS]", "[AVAILABLE_TOOLS]",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|start_header_id|>", "<s>", "</s>",
    "<bos>", "<eos>", "<pad>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]",
    "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "[|user|]",
    "<fim_prefix>", "<extra_id_0>", "<SPECIAL_10>", "<reserved_106>", "[BOS]", "<unused12>",
    "[UNUSED_TOKEN_145]",
]  # fmt: skip


@pytest.mark.parametrize("token", COMMON)
def test_control_tokens_are_defused_by_their_first_character_in_either_case(token: str) -> None:
    first = {"<": "&lt;", "[": "&#91;"}[token[0]]
    for spelled in (token, token.upper(), token.lower()):
        assert tags.escape(f"a{spelled}b") == f"a{first}{spelled[1:]}b"


@pytest.mark.parametrize(
    "tag", ["＜search＞", "<ｓｅａｒｃｈ>", "﹤/answer﹥", "<𝐭𝐡𝐢𝐧𝐤>", "＜／information＞"]
)
def test_a_tag_in_characters_that_a_tokenizer_may_normalize_is_defused(tag: str) -> None:
    first = "&lt;" if tag[0] == "<" else f"&#{ord(tag[0])};"
    assert tags.escape(f"a {tag} b") == f"a {first}{tag[1:]} b"


@given(st.lists(st.one_of(st.sampled_from(CONTROL + texts.TAGS), texts.fragments), max_size=12))
def test_no_text_keeps_a_tag_or_a_control_token(parts: list[str]) -> None:
    text = "".join(parts)
    escaped = tags.escape(text)
    assert not any(spelled in escaped.lower() for spelled in [*texts.TAGS, *(t.lower() for t in COMMON)])
    # Nothing is lost, and only the first characters of escaped tags and tokens change.
    clean = "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
    assert plain(escaped) == plain(clean)


def plain(text: str) -> str:
    return re.sub(
        r"&#(\d+);", lambda found: chr(int(found[1])), text.replace("&lt;", "<").replace("&gt;", ">")
    )


@pytest.mark.parametrize(
    "text",
    [
        "a < b", "<b>bold</b>", "<searching>", "x<y>z", "1 << 2", "x<3", "a <- b", "<span>", "<sub>2</sub>",
        "</strong>", "<s", "< s >", "<pads>", "[1]", "[1, 2]", "[INSTALL]", "[ ]", "[INST", "a | b", "&lt;s>",
        "<h1>", "<br/>", "<o:p>", "<first_last@example.org>", "<https://example.org/a_b>", "rows[my_index]",
        "＜重要＞", "［1］", "a >> b", "||", "x ~b", "<<EOF", "[x]<y>", "[OK]", "HTTP[404]",
    ],
)  # fmt: skip
def test_other_brackets_stay_as_they_are(text: str) -> None:
    assert tags.escape(text) == text


SIZE = 200_000
TIRING = {
    unit: (unit * SIZE)[:SIZE]
    for unit in ("<", "</", "</ ", "</ </ ", "< / ", "<|", "<s", "<a_", "<_", "[", "[/", "[A_",
                 ">", ">>A", "|", "|||A", "~", "]~", "＜", "＜ｓ", "</answe", "<think>", "</think>",
                 "<think></think>", "<search", "\ud800")
} | {
    "one and spaces": "<" + " " * SIZE,
    "one, spaces, a slash, spaces": "<" + " " * (SIZE // 2) + "/" + " " * (SIZE // 2),
    "an answer of very many tags": "<answer>" + "<think>" * (SIZE * 2 // 3),
    "an answer of spaces and tags": "<answer> " + "x  <think>" * (SIZE // 10),
    "an answer of spaces": "<answer>x" + " " * SIZE,
    "an answer of beginnings": "<answer>" + "</answe" * (SIZE // 7),
    "a thought of tags": "<think>" + "</search>" * (SIZE // 9),
}  # fmt: skip
"""Long texts for which a careless regular expression, or repeated copying, would take minutes."""


def in_pieces(text: str) -> list[str]:
    return texts.pieces(text, [len(text) * part // 1000 for part in range(1, 1000)])


@pytest.mark.parametrize(
    "read",
    [
        tags.escape,
        tags.escape_begun,
        tags.marked_up,
        tags.missing_close,
        lambda text: parse([text]),
        lambda text: parse(in_pieces(text)),
    ],
    ids=["escape", "escape_begun", "marked_up", "missing_close", "feed", "feed in 1,000 pieces"],
)
@pytest.mark.parametrize("text", TIRING.values(), ids=TIRING)
def test_a_long_text_is_read_in_linear_time(read: Callable[[str], object], text: str) -> None:
    """Quadratic work on these texts takes minutes, linear work a second or two on a busy machine."""
    began = time.process_time()
    read(text)
    assert time.process_time() - began < 60
