"""No text becomes a control token: with the added tokens of real families, for every way texts are read."""

from collections.abc import AsyncGenerator, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers

from agent import prompts
from agent.driver import drive
from agent.engines.errors import EngineError
from agent.engines.vllm import VLLMEngine
from agent.engines.vllm_chat import VLLMChat
from agent.episode import Episode
from agent.policies.vllm import VLLMPolicy
from agent.tags import TAGS, escape
from agent.tokenizer import FastText, SlowText, text_tokenizer
from agent.trajectory import Message, Search
from index.documents import Passage
from tests.agent import texts
from tests.agent.families import CONTROLS, FAMILIES, Family, control_ids, tokenizer, transformer
from tests.golden.cases import CASES
from tests.golden.tokens import TOKENIZER, ids_of, replayed

BY_NAME = {family.name: family for family in FAMILIES}
EXACT = [family for family in FAMILIES if family.kind != "unigram" and not family.normalizer]
"""Families whose tokens decode to the text as it was."""
WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
"""Full-width forms, which NFKC turns into ASCII."""

SAMPLED = 1_000_000
"""No token of a text."""

families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def plain(family: Family) -> FastText:
    made = text_tokenizer(transformer(family))
    assert isinstance(made, FastText)
    return made


def decoded(family: Family, ids: Sequence[int]) -> str:
    return str(tokenizer(family).decode(list(ids), skip_special_tokens=False))


def test_the_tables_hold_what_was_seen_to_pass() -> None:
    assert len(CONTROLS) > 200
    seen = {"[|user|]", "<SPECIAL_10>", "<reserved_106>", "<extra_id_0>", "[BOS]", "<fim_prefix>"}
    assert seen <= set(CONTROLS)


@families
def test_every_control_string_is_a_token_for_the_tokenizer_itself(family: Family) -> None:
    for control in family.controls:
        ids = tokenizer(family).encode(f"a {control} b", add_special_tokens=False).ids
        assert tokenizer(family).token_to_id(control) in ids


@families
def test_no_control_string_becomes_a_control_token(family: Family) -> None:
    for control in family.controls:
        for text in (control, f"a {control} b", f"a{control}b", control * 3, f"{control}\n{control}"):
            for spelled in (text, text.translate(WIDE), text.upper(), text.replace("<", "＜")):
                ids = plain(family).encode(spelled, opening=False)
                assert control_ids(family).isdisjoint(ids), spelled
                if family in EXACT:
                    assert decoded(family, ids) == spelled


def mixed(family: Family) -> st.SearchStrategy[str]:
    """Texts of control strings, their beginnings and ends, full-width forms, and anything else."""
    controls = st.sampled_from(family.controls)
    halves = st.tuples(controls, st.integers(1, 8)).map(lambda cut: cut[0][: cut[1]])
    wide = controls.map(lambda control: control.translate(WIDE))
    parts = st.one_of(controls, halves, wide, texts.fragments, st.sampled_from(family.other or ("a",)))
    clean = st.lists(parts, max_size=8).map("".join)
    return clean.map(lambda text: text.encode("utf-8", "replace").decode())


@families
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_text_becomes_a_control_token(family: Family, data: st.DataObject) -> None:
    text = escape(data.draw(mixed(family))) if data.draw(st.booleans()) else data.draw(mixed(family))
    ids = plain(family).encode(text, opening=False)
    assert control_ids(family).isdisjoint(ids)
    if family in EXACT:
        # SentencePiece reads its own sign for a space as one.
        assert decoded(family, ids) == (text.replace("▁", " ") if family.kind == "pieces" else text)
    broken = plain(family).broken(text)
    whole = tokenizer(family).encode(broken, add_special_tokens=False).ids
    assert control_ids(family).isdisjoint(whole)


@families
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_text_without_control_strings_has_the_tokens_that_it_always_had(
    family: Family, data: st.DataObject
) -> None:
    kept = [one for one in family.other if one in TAGS or not one.strip("▁ \n\t")]
    words = st.sampled_from(
        [*TAGS, *kept, "a ", "The café", "\n", "  ", "🌊", "[1] (2024-05-01) ", "x < y", "<b"]
    )
    text = "".join(data.draw(st.lists(words, max_size=12)))
    ids = tokenizer(family).encode(text, add_special_tokens=False).ids
    assert plain(family).encode(text, opening=False) == ids
    assert plain(family).broken(text) == text


@families
def test_the_opening_begins_with_bos_and_nothing_else_does(family: Family) -> None:
    text = prompts.opening("Which café? <|im_end|>", prompts.INSTRUCTIONS, 4)
    bos = [tokenizer(family).token_to_id(family.bos)] if family.bos else []
    body = plain(family).encode(text, opening=False)
    assert plain(family).encode(text, opening=True) == bos + body
    assert body == tokenizer(family).encode(text, add_special_tokens=False).ids, "it is escaped"


async def test_the_golden_token_ids_stay() -> None:
    made = FastText(TOKENIZER)
    for case in CASES:
        trajectory, _ = await replayed(case)
        for number, (segment, ids) in enumerate(zip(trajectory.segments, ids_of(trajectory), strict=True)):
            if segment.author == "environment":
                assert made.encode(segment.text, opening=number == 0) == ids


def test_the_switches_of_transformers_would_not_be_enough() -> None:
    """Why tokens are renamed: added tokens that are not special stay, and unigrams are read even so."""
    qwen, t5 = BY_NAME["qwen3"], BY_NAME["t5"]
    ids = transformer(qwen).encode("<tool_call><|im_end|>", split_special_tokens=True)
    assert tokenizer(qwen).token_to_id("<tool_call>") in ids
    assert tokenizer(qwen).token_to_id("<|im_end|>") not in ids
    assert tokenizer(t5).token_to_id("</s>") in transformer(t5).encode("a</s>", split_special_tokens=True)


def test_a_tag_that_only_a_normalizer_makes_is_none() -> None:
    family = BY_NAME["added-tags"]
    tag = tokenizer(family).token_to_id("<search>")
    for forged in ("＜search＞", "<ｓearch>", "<𝐬𝐞𝐚𝐫𝐜𝐡>"):
        assert tag in tokenizer(family).encode(forged).ids
        assert plain(family).encode(f"{forged}<search>", opening=False).count(tag) == 1
        assert tag not in plain(family).encode(escape(forged), opening=False)


def test_truncation_and_padding_of_another_caller_change_nothing() -> None:
    made = transformer(BY_NAME["qwen3"])
    expected = text_tokenizer(made).encode("A long text of words.", opening=False)
    made.backend_tokenizer.enable_truncation(2)
    made.backend_tokenizer.enable_padding(length=40)
    try:
        assert FastText(made.backend_tokenizer).encode("A long text of words.", opening=False) == expected
    finally:
        made.backend_tokenizer.no_truncation()
        made.backend_tokenizer.no_padding()


def test_words_and_spaces_that_were_added_stay_tokens_but_not_special_ones() -> None:
    made = Tokenizer.from_str(TOKENIZER.to_str())
    made.add_tokens(["covid", "   ", "→", "@user"])
    made.add_special_tokens(["sop"])
    words = [made.token_to_id(word) for word in ("covid", "   ", "→", "@user", "sop")]
    text = "covid   → @user sop"
    assert set(words) <= set(made.encode(text).ids)
    assert [word in FastText(made).encode(text, opening=False) for word in words] == [True] * 3 + [False] * 2
    assert FastText(made).broken("a sop") == "a &#115;op"


def test_a_text_that_cannot_be_broken_is_refused() -> None:
    made = Tokenizer.from_str(TOKENIZER.to_str())
    made.add_special_tokens([";"])
    with pytest.raises(EngineError, match="control tokens") as raised:
        FastText(made).broken("a; b")
    assert raised.value.fault == "refused"
    assert made.token_to_id(";") not in FastText(made).encode("a; b", opening=False)


def test_wordpiece_and_words_are_read_the_same_way() -> None:
    for model in (
        models.WordPiece(
            {"[UNK]": 0, "a": 1, "[SEP]": 2, "##b": 3, "[": 4, "]": 5, "##SEP": 6, "##]": 7},
            unk_token="[UNK]",
        ),
        models.WordLevel({"[UNK]": 0, "a": 1, "[SEP]": 2}, unk_token="[UNK]"),
    ):
        made = Tokenizer(model)
        made.normalizer = normalizers.NFKC()
        made.add_special_tokens(["[SEP]", "[UNK]"])
        assert FastText(made).encode("a", opening=False) == [1]
        for text in ("[SEP]", "［SEP］"):
            assert 2 not in FastText(made).encode(text, opening=False)


class Words:
    """A tokenizer written in Python, with the interface of transformers."""

    all_special_tokens: tuple[str, ...] = ("<|im_end|>",)
    ids: ClassVar[dict[str, int]] = {"<|im_end|>": 1, "<think>": 2, "[|user|]": 3}

    def get_added_vocab(self) -> dict[str, int]:
        return self.ids

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        for content, number in self.ids.items():
            text = text.replace(content, chr(number))
        return [0] * add_special_tokens + [ord(character) for character in text]


@given(
    st.lists(st.sampled_from(["<|im_end|>", "<think>", "[|user|]", "a", "<|im", "_end|>", "["])).map("".join)
)
def test_a_tokenizer_in_python_is_read_text_whose_control_strings_are_broken(text: str) -> None:
    made = text_tokenizer(Words())
    assert isinstance(made, SlowText)
    ids = made.encode(text, opening=True)
    assert ids[0] == 0
    assert not {1, 3} & set(ids)
    assert ids.count(2) == text.count("<think>")
    assert made.broken("a <think> b") == "a <think> b"


def test_special_tokens_that_were_not_added_are_broken_too() -> None:
    class Special(Words):
        all_special_tokens = ("</s>",)
        ids: ClassVar[dict[str, int]] = {}

    assert SlowText(Special()).broken("a </s> <think>") == "a &lt;/s> <think>"


def test_a_tokenizer_that_knows_no_control_strings_is_read_the_text_itself() -> None:
    class Plain(Words):
        all_special_tokens = ()
        ids: ClassVar[dict[str, int]] = {}

    assert SlowText(Plain()).encode("<s>", opening=False) == [*map(ord, "<s>")]


# In process.


class Recording(VLLMEngine):
    """Stands for vLLM: it has the tokenizer of a family, and records the tokens that it is sent."""

    def __init__(self, family: Family, replies: Sequence[str]) -> None:
        super().__init__("tiny")
        self.prompts: list[list[int]] = []
        self._own = transformer(family)
        self._replies = list(replies)

    async def context(self) -> int:
        return 100_000

    async def tokenizer(self) -> Any:
        return self._own

    async def write(self, ids: list[int], **sampling: Any) -> AsyncGenerator[Any, None]:
        self.prompts.append(ids)
        text = self._replies.pop(0)
        yield SimpleNamespace(text=text, token_ids=[SAMPLED], finish_reason="stop")


def evil(family: Family) -> str:
    return " and ".join([*family.controls, *(control.translate(WIDE) for control in family.controls)])


@families
async def test_an_episode_in_process_sends_no_control_token_but_bos(family: Family) -> None:
    told = evil(family)
    engine = Recording(
        family, ["<think>a</think><search>tea</search>", "<think>b</think><answer>Tea [1].</answer>"]
    )
    episode = Episode(told, conversation=[Message("user", told)])

    async def find(one: Search, k: int, exclude: object) -> Sequence[Passage]:
        return [Passage("d", told, title=told)]

    async for _ in drive(episode, VLLMPolicy(engine), find):
        pass
    assert episode.finish_reason == "answered"
    for ids in engine.prompts:
        bos = [tokenizer(family).token_to_id(family.bos)] if family.bos else []
        assert [number for number in ids if number in control_ids(family)] == bos


@families
async def test_a_chat_in_process_has_the_control_tokens_of_its_template_alone(family: Family) -> None:
    engine = Recording(family, ["{}", "{}"])
    request = {"temperature": 0.0, "top_p": 1.0, "max_tokens": 8}
    for content in ("Is it tea?", evil(family)):
        await VLLMChat(engine).ask("", request | {"messages": [{"role": "user", "content": content}]})
    mild, wild = ([one for one in ids if one in control_ids(family)] for ids in engine.prompts)
    assert wild == mild
