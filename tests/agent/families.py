"""Small tokenizers with the added tokens of real model families.

The tables follow the models' tokenizer_config.json and tokenizer.json: contents, whether they are special,
normalized, or take the spaces around them; of long runs of reserved tokens, the first are here. Qwen3's
tokens of tools and infilling, some of gpt-oss and StarCoder, and the first of DeepSeek were compared with
public copies on 2026-11-30. The rest is written from knowledge of the models and was not compared.

Vocabularies and merges are made here, from a few lines that repeat the control strings, so that a model could
also merge them from their letters.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from agent.prompts import INSTRUCTIONS
from agent.tags import TAGS


@dataclass(frozen=True)
class Family:
    """The added tokens of a family, and how it reads text."""

    name: str
    special: tuple[str, ...]
    """Marked as special."""
    other: tuple[str, ...] = ()
    """Added, but not marked as special."""
    kind: Literal["bytes", "pieces", "unigram"] = "bytes"
    """BPE of bytes, BPE of SentencePiece's pieces, or SentencePiece's unigrams."""
    normalizer: Literal["NFC", "NFKC", ""] = ""
    normalized: tuple[str, ...] = ()
    """Added tokens that are looked for in normalized text."""
    strips: tuple[str, ...] = ()
    """Added tokens that take the spaces around them."""
    bos: str = ""
    unknown: str = ""

    @property
    def controls(self) -> tuple[str, ...]:
        """The strings that no text may spell: without the protocol's tags, spaces and words."""
        return tuple(one for one in (*self.special, *self.other) if one not in TAGS and one.strip("▁ \n\t"))


def _run(pattern: str, numbers: Iterable[int]) -> tuple[str, ...]:
    return tuple(pattern.format(number) for number in numbers)


def _piped(names: str) -> tuple[str, ...]:
    return tuple(f"<|{name}|>" for name in names.split())


FAMILIES = (
    Family(
        "llama-3",
        (
            *_piped("begin_of_text end_of_text"),
            *_run("<|reserved_special_token_{}|>", range(4)),
            *_piped("finetune_right_pad_id step_id start_header_id end_header_id eom_id eot_id python_tag"),
        ),
        bos="<|begin_of_text|>",
    ),
    Family(
        "qwen3",
        _piped(
            "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start quad_end "
            "vision_start vision_end vision_pad image_pad video_pad"
        ),
        (
            *("<tool_call>", "</tool_call>"),
            *_piped("fim_prefix fim_middle fim_suffix fim_pad repo_name file_sep"),
            *("<tool_response>", "</tool_response>", "<think>", "</think>"),
        ),
        normalizer="NFC",
    ),
    Family(
        "mistral-v3",
        (
            *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"),
            *("[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", *_run("[control_{}]", range(8, 11))),
        ),
        kind="pieces",
        bos="<s>",
        unknown="<unk>",
    ),
    Family(
        "mistral-tekken",
        (
            *("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
            *("[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]"),
            *("[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
            "[TOOL_CONTENT]",
            *_run("<SPECIAL_{}>", range(20, 24)),
            *("[AUDIO]", "[BEGIN_AUDIO]", "[ARGS]", "[CALL_ID]", "[THINK]", "[/THINK]", "[MODEL_SETTINGS]"),
        ),
        bos="<s>",
    ),
    Family(
        "gemma-3",
        (
            *("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<2mass>", "[@BOS@]"),
            *_run("<unused{}>", range(4)),
            *("<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>", "<image_soft_token>"),
        ),
        ("\n\n", "\n\n\n", "▁▁", "▁▁▁", "\t\t", "<table>", "</table>", "<h1>", "<b>", "</b>"),
        kind="pieces",
        bos="<bos>",
        unknown="<unk>",
    ),
    Family(
        "phi-4",
        _piped("endoftext fim_prefix fim_middle fim_suffix im_start im_end im_sep dummy_0 endofprompt"),
        strips=_piped("fim_prefix fim_middle fim_suffix im_start im_end im_sep"),
    ),
    Family(
        "deepseek-v3",
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<|EOT|>"),
        (
            *("<｜User｜>", "<｜Assistant｜>", "<｜fim▁hole｜>", "<｜fim▁begin｜>", "<｜fim▁end｜>"),
            *("<think>", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>"),
            *("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>", "<｜tool▁outputs▁begin｜>"),
            *("<｜tool▁output▁end｜>", "</think>"),
        ),
        normalized=("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<|EOT|>"),
        bos="<｜begin▁of▁sentence｜>",
    ),
    Family(
        "gpt-oss",
        (
            *_piped("startoftext endoftext reserved_200000 reserved_200001 return constrain reserved_200004"),
            *_piped("channel start end message call endofprompt"),
        ),
    ),
    Family(
        "exaone",
        ("[PAD]", "[BOS]", "[EOS]", "[UNK]", "[|endofturn|]"),
        ("[|system|]", "[|user|]", "[|assistant|]", "[|tool|]", "PI:URL", "<think>", "</think>"),
        normalizer="NFC",
    ),
    Family(
        "t5",
        ("<pad>", "</s>", "<unk>", *_run("<extra_id_{}>", range(6))),
        kind="unigram",
        normalizer="NFKC",
        unknown="<unk>",
    ),
    Family(
        "starcoder",
        (
            *("<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>"),
            *("<gh_stars>", "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>"),
            *("<jupyter_text>", "<jupyter_code>", "<jupyter_output>", "<empty_output>", "<commit_before>"),
            *("<commit_msg>", "<commit_after>", "<reponame>"),
        ),
    ),
    Family(
        "nemotron",
        ("<unk>", "<s>", "</s>", *_run("<SPECIAL_{}>", range(10, 14))),
        ("<think>", "</think>", "<tool_response>", "<AVAILABLE_TOOLS>", "</AVAILABLE_TOOLS>", "<TOOLCALL>"),
        bos="<s>",
    ),
    Family(
        "baichuan",
        ("<unk>", "<s>", "</s>", *_run("<reserved_{}>", range(104, 108))),
        kind="pieces",
        unknown="<unk>",
    ),
    Family(
        "internlm",
        (
            *("<unk>", "<s>", "</s>", *_piped("im_start im_end action_start action_end interpreter plugin")),
            *_run("[UNUSED_TOKEN_{}]", (140, 145)),
        ),
        kind="pieces",
        bos="<s>",
        unknown="<unk>",
    ),
    Family(
        "glm-4",
        (
            *("<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>"),
            *_piped("system user assistant observation begin_of_image end_of_image"),
        ),
        ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "/nothink", "<tool_call>", "</tool_call>"),
    ),
    Family(
        "minimax",
        ("]~b]", "]~!b[", "[e~[", "]<]minimax[>[", "]<]start of image[>[", "<fim_prefix>"),
        ("<think>", "</think>", "<minimax:tool_call>", "</minimax:tool_call>"),
    ),
    Family("seed", ("<seed:bos>", "<seed:eos>", "<seed:pad>"), ("<seed:think>", "</seed:think>")),
    Family("falcon", (">>TITLE<<", ">>QUESTION<<", ">>ANSWER<<", ">>SUMMARY<<", "<|endoftext|>")),
    Family("bert-like", ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]"), normalizer="NFKC",
           normalized=("[CLS]", "[SEP]", "[MASK]", "[unused0]")),
    Family("added-tags", ("<s>", "</s>"), ("<search>", "</search>", "<information>", "[|user|]"),
           normalizer="NFKC", normalized=("<search>", "</search>", "<information>", "[|user|]"), bos="<s>"),
)  # fmt: skip
"""The last two are no real families: control strings and the protocol's tags as normalized added tokens."""

CONTROLS = tuple(dict.fromkeys(string for family in FAMILIES for string in family.controls))


@cache
def tokenizer(family: Family) -> Tokenizer:
    """The tokenizer of a family."""
    made = _MAKERS[family.kind](family)
    for content in (*family.special, *family.other):
        token = AddedToken(
            content,
            normalized=content in family.normalized,
            lstrip=content in family.strips,
            rstrip=content in family.strips,
        )
        if content in family.special:
            made.add_special_tokens([token])
        else:
            made.add_tokens([token])
    if family.bos:
        made.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", special_tokens=[(family.bos, made.token_to_id(family.bos))]
        )
    return made


@cache
def transformer(family: Family) -> PreTrainedTokenizerFast:
    """The tokenizer of a family, as transformers loads it, with a chat template of its control strings."""
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer(family))
    first, last = family.special[0], family.special[-1]
    made.chat_template = (
        "{% for message in messages %}" + first + "{{ message['content'] }}" + last + "{% endfor %}"
    )
    return made


def control_ids(family: Family) -> frozenset[int]:
    """The ids of the control strings, without the one that unknown characters become."""
    known = tokenizer(family)
    ids = {known.token_to_id(content) for content in family.controls if content != family.unknown}
    return frozenset(number for number in ids if number is not None)


def _bytes(family: Family) -> Tokenizer:
    made = Tokenizer(models.BPE())
    if family.normalizer:
        made.normalizer = getattr(normalizers, family.normalizer)()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    made.train_from_iterator(_corpus(family), trainer)
    return made


def _pieces(family: Family) -> Tokenizer:
    """As SentencePiece's models are converted: one word, spaces as ▁, other characters as bytes."""
    made = Tokenizer(models.BPE(byte_fallback=True, unk_token=family.unknown, fuse_unk=True))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    bytes_ = [f"<0x{number:02X}>" for number in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=[*family.special, *bytes_], show_progress=False
    )
    made.train_from_iterator(_corpus(family), trainer)
    # Without the bytes as added tokens.
    plain = Tokenizer(made.model)
    plain.normalizer, plain.decoder = made.normalizer, made.decoder
    return plain


def _unigram(family: Family) -> Tokenizer:
    letters = sorted(set("".join(_corpus(family)).replace(" ", "▁")) - {"<"})
    # SentencePiece gives control tokens the score 0, better than any other.
    scored = [*((token, 0.0) for token in family.special[:3]), *((letter, -3.0) for letter in letters)]
    made = Tokenizer(models.Unigram(scored, unk_id=family.special.index(family.unknown)))
    made.normalizer = getattr(normalizers, family.normalizer)()
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    made.decoder = decoders.Metaspace(prepend_scheme="never")
    return made


def _corpus(family: Family) -> Iterator[str]:
    yield INSTRUCTIONS
    for control in family.controls:
        yield from [f"{control}{control} {control}"] * 20


_MAKERS = {"bytes": _bytes, "pieces": _pieces, "unigram": _unigram}
