"""Models' replies: thoughts, answers, and calls written as text, however they are marked and split."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.replies import Call, ModelReply, ReplyReader, parsed, read, tool_name, without_thoughts
from tests.agent import texts

HARMONY_THOUGHT = "<|channel|>analysis<|message|>Which café?<|end|><|start|>assistant"

THOUGHTS = {
    "a pair": "<think>Which café?</think>\nThe Strandcafé.",
    "another name": "<thinking>Which café?</thinking>The Strandcafé.",
    "capitals": "<Think>Which café?</THINK>The Strandcafé.",
    "Mistral's": "[THINK]Which café?[/THINK]The Strandcafé.",
    "Kimi's": "◁think▷Which café?◁/think▷The Strandcafé.",
    "Seed's": "<seed:think>Which café?</seed:think>The Strandcafé.",
    "a lone closing tag": "Which café?\n</think>\n\nThe Strandcafé.",
    "after the answer, unclosed": "The Strandcafé.<think>Which café?",
    "twice opened": "<think><think>Which café?</think>The Strandcafé.",
    "harmony": HARMONY_THOUGHT + "<|channel|>final<|message|>The Strandcafé.<|return|>",
    "harmony without its messages": "<|channel|>analysis Which café?<|channel|>final The Strandcafé.",
    "harmony, its first thought opened by the template": (
        "Which café?<|end|><|start|>assistant<|channel|>final<|message|>The Strandcafé."
    ),
}


@pytest.mark.parametrize("text", THOUGHTS.values(), ids=THOUGHTS)
def test_a_thought_is_taken_off_however_it_is_marked(text: str) -> None:
    reply = read(text)
    assert reply.thought == "Which café?"
    assert reply.text.strip() == "The Strandcafé."
    assert reply.call is None
    assert without_thoughts(text).strip() == "The Strandcafé."


def test_a_thought_that_never_ends_leaves_no_answer() -> None:
    assert read("<think>Hm.") == ModelReply("Hm.", "", None)
    assert read("<|channel|>analysis<|message|>Hm.") == ModelReply("Hm.", "", None)


@pytest.mark.parametrize(
    "text",
    ["a <|end|> b", "a <|message|> b", "The token <|channel|> opens one.", "< / Think >", "<thinks>", "<b"],
)
def test_what_marks_nothing_is_text(text: str) -> None:
    assert read(text) == ModelReply("", text, None)


CAFE = '{"name": "search_profile", "arguments": {"query": "café"}}'
CALLS = {
    "in tags": f"<tool_call>\n{CAFE}\n</tool_call>",
    "in an unclosed tag": f"<tool_call>{CAFE}",
    "in a fence in tags": f"<tool_call>```json\n{CAFE}\n```</tool_call>",
    "parameters for arguments": f"<tool_call>{CAFE.replace('arguments', 'parameters')}</tool_call>",
    "XML": "<function=search_profile>\n<parameter=query>\ncafé\n</parameter>\n</function>",
    "XML in tags": "<tool_call>\n<function=search_profile><parameter=query>café</tool_call>",
    "XML without its ends": "<function=search_profile><parameter=query>café",
    "JSON in XML": '<function=search_profile>{"query": "café"}</function>',
    "GLM's": "<tool_call>search_profile\n<arg_key>query</arg_key>\n<arg_value>café</arg_value>\n</tool_call>",
    "bare": CAFE,
    "bare in a fence": f"```json\n{CAFE}\n```",
    "bare, in a list": f"[{CAFE}]",
    "bare, twice": f"{CAFE}\n{CAFE}",
    "bare, with a control token": f"{CAFE}<|im_end|>",
    "bare, as a function": f'{{"type": "function", "function": {CAFE}}}',
    "bare, arguments in a string": json.dumps({"name": "search_profile", "arguments": '{"query": "café"}'}),
    "Mistral's": f"[TOOL_CALLS] [{CAFE}]",
    "Mistral's newer": '[TOOL_CALLS]search_profile[ARGS]{"query": "café"}',
    "Llama's": f"<|python_tag|>{CAFE}",
    "in a namespace": CAFE.replace("search_profile", "functions.search_profile"),
    "harmony": (
        "<|channel|>commentary to=functions.search_profile <|constrain|>json<|message|>"
        '{"query": "café"}<|call|>'
    ),
    "harmony, recipient first": (
        '<|start|>assistant to=functions.search_profile<|channel|>commentary json<|message|>{"query": "café"}'
    ),
}  # fmt: skip


@pytest.mark.parametrize("before", ["", "<think>Hm. <tool_call>{}</tool_call></think>", "Hm.</think>\n"])
@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_a_call_written_as_text_is_a_call(text: str, before: str) -> None:
    reply = read(before + text)
    assert reply.call is not None
    assert (reply.call.name, parsed(reply.call.arguments)) == ("search_profile", {"query": "café"})
    assert reply.thought.startswith("Hm.") == bool(before)
    assert reply.text.strip() == ""


def test_what_is_said_before_a_marked_call_is_kept_apart() -> None:
    assert read(f"Let me look. <tool_call>{CAFE}</tool_call>").text == "Let me look. "


def test_a_marked_call_that_is_malformed_is_still_a_call() -> None:
    assert read('<tool_call>{"name": "search_profile", "arg').call == Call("search_profile", "")
    assert read("[TOOL_CALLS] [{]").call == Call("", "")


@pytest.mark.parametrize(
    "text",
    [
        '{"query": "café"}',
        '{"name": "Ines", "age": 7}',
        '{"name": "Ines", "arguments": "none"}',
        f"You could send {CAFE}",
        f"{CAFE} is what you could send.",
        "Write <tool_call> around it.",
        "[1] says so.",
        "[]",
        "{",
    ],
)
def test_other_text_is_no_call(text: str) -> None:
    assert read(text) == ModelReply("", text, None)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("search_profile", "search_profile"),
        ("functions.search_profile", "search_profile"),
        ("functions.search_profile:0", "search_profile"),
        ("search_profile<|channel|>commentary", "search_profile"),
        ("a b", "a b"),
        ("", ""),
    ],
)
def test_a_tools_name_is_read_without_what_surrounds_it(written: str, name: str) -> None:
    assert tool_name(written) == name


@pytest.mark.parametrize(
    "arguments",
    [
        '{"query": "café"}',
        '```json\n{"query": "café"}\n```',
        json.dumps('{"query": "café"}'),
        '{"query": "café"}{"query": "tea"}',
    ],
)
def test_arguments_are_read_in_a_fence_in_a_string_and_one_after_the_other(arguments: str) -> None:
    assert parsed(arguments) == {"query": "café"}


MARKS = [
    "<think>", "</think>", "[THINK]", "[/THINK]", "<tool_call>", "<function=", "[TOOL_CALLS]", "{", "[", "}",
    "<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "final", "analysis", "to=functions.x",
    '"', "assistant", "```", "name", ":", " ", "a", "search_profile", CAFE, "<parameter=", ">", "<arg_key>",
]  # fmt: skip
replies = st.lists(st.one_of(st.sampled_from(MARKS), texts.anything), max_size=14).map("".join)


@given(replies, texts.cuts)
def test_any_text_gives_the_same_reply_however_it_is_split(text: str, cuts: list[int]) -> None:
    whole = read(text)
    for pieces in (texts.pieces(text, cuts), texts.one_by_one(text)):
        reader = ReplyReader()
        for piece in pieces:
            reader.feed(piece)
        assert reader.close() == whole


_PROSE = st.text(st.characters(exclude_characters="<>[]{}|`◁▷", exclude_categories=["Cs"]), max_size=40)


@given(thought=_PROSE, answer=_PROSE, opening=st.sampled_from(["<think>", ""]))
def test_thought_and_answer_are_never_mixed(thought: str, answer: str, opening: str) -> None:
    assert read(f"{opening}{thought}</think>{answer}") == ModelReply(thought.strip(), answer, None)


@given(_PROSE)
def test_prose_is_the_answer_as_it_is(answer: str) -> None:
    assert read(answer) == ModelReply("", answer, None)


@pytest.mark.parametrize(
    "mark", [*MARKS, "<tool_call>{", "<function=a>", "<think></think>a", "<|channel|>final"]
)
def test_a_hostile_reply_is_read_at_once(mark: str) -> None:
    # 400,000 characters: quadratic work would take minutes.
    text = mark * (400_000 // len(mark))
    read(text)
    read(text + " " * 100_000 + "x")
