"""Golden token ids: the tokens of every segment of the golden trajectories, the same for every driver.

The tokenizer is made here, so no model file is needed. It merges across borders: a tag and the newline after
it are one token. The policy's sampled tokens always differ from the encoded text, so text that is encoded
again, or together with its neighbour, gives other tokens.
`python -m tests.golden.tokens --write` rewrites the expected file.
"""

import asyncio
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from agent.driver import Searcher
from agent.tags import STOP
from agent.tokens import prompt_ids
from agent.trajectory import Search, Trajectory
from index.documents import Passage
from tests.golden.cases import CASES, OPENED, Case, passages, replay

FILES = {
    Path(__file__).with_name("tokens.json"): CASES,
    Path(__file__).with_name("tokens_opened.json"): OPENED,
}

BOS, EOS = "<s>", "</s>"
_MERGES = (
    "t h|th e|i n|a n|a r|e r|o u|o r|e n|r e|s e|n d|in g|e a|o n|ar c|arc h|se arch|th in|thin k|"
    "an s|w er|ans wer|Ġ the|Ġ a|Ġ i|Ġ t|Ġ w|, Ġ|. Ġ|< /|</ search|< search|> Ċ|Ċ <|Ċ Ċ|. Ċ|: Ġ|] .|. <"
)
"""In the alphabet of byte-level tokenizers: Ġ is a space and Ċ a newline."""


def _tokenizer() -> Tokenizer:
    letters = [BOS, EOS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [(left, right) for left, right in (merge.split(" ") for merge in _MERGES.split("|"))]
    vocabulary = {token: number for number, token in enumerate([*letters, *map("".join, merges)])}
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocabulary[BOS])]
    )
    made.add_special_tokens([BOS, EOS])
    return made


TOKENIZER = _tokenizer()


def encode(text: str, opening: bool) -> list[int]:
    """The tokens of a text; the opening begins with BOS."""
    return TOKENIZER.encode(text, add_special_tokens=opening).ids


def decode(ids: Sequence[int]) -> str:
    """The text, without special tokens and without an incomplete character at the end."""
    return TOKENIZER.decode(list(ids)).rstrip("\ufffd")


def written(case: Case, turn_index: int) -> str:
    """The part of a turn that an engine generates: up to and including the first stop string."""
    turn = case.turns[turn_index]
    ends = [turn.index(stop) + len(stop) for stop in STOP if stop in turn]
    return turn[: min(ends)] if ends else turn


def sampled(case: Case, turn_index: int) -> list[int]:
    """The tokens that the policy sampled for `written`.

    The first half of the text is sampled as single bytes. The last token of a search extends past it, into
    the next line; that of a turn without an action is EOS.
    """
    text = written(case, turn_index)
    half = len(text) // 2
    ids = [number for character in text[:half] for number in _bytes(character)]
    if text.endswith("</search>"):
        text += "\n"
    elif not text.endswith(STOP):
        text += EOS
    return [*ids, *encode(text[half:], opening=False)]


def streamed(case: Case, turn_index: int) -> list[tuple[str, list[int]]]:
    """`sampled`, token by token, with the text that each of them completes."""
    text, ids = written(case, turn_index), sampled(case, turn_index)
    reached = [min(len(decode(ids[: end + 1])), len(text)) for end in range(len(ids))]
    return [
        (text[start:end], [number]) for start, end, number in zip([0, *reached], reached, ids, strict=False)
    ]


def expected_ids(case: Case) -> list[list[int]]:
    """The tokens of each segment, as stored."""
    file = next(file for file, cases in FILES.items() if case in cases)
    stored: dict[str, list[list[int]]] = json.loads(file.read_text("utf-8"))
    return stored[case.name]


def expected_prompts(case: Case) -> list[list[int]]:
    """The prompt of each turn of the policy, in tokens."""
    segments, authors = expected_ids(case), [segment.author for segment in replay(case).segments]
    return [joined(segments[:end]) for end, author in enumerate(authors) if author == "policy"]


def expected_ranges(case: Case) -> list[tuple[int, int]]:
    """Where each turn of the policy begins and ends, in tokens of the transcript."""
    segments = zip(replay(case).segments, expected_ids(case), strict=True)
    turns = [ids for segment, ids in segments if segment.author == "policy"]
    starts = map(len, expected_prompts(case))
    return [(start, start + len(turn)) for start, turn in zip(starts, turns, strict=True)]


def joined(segments: Iterable[Sequence[int]]) -> list[int]:
    return [number for segment in segments for number in segment]


def searcher(case: Case) -> Searcher:
    """Returns the results of the case's searches, in order."""
    found = iter(case.found)

    async def search(one: Search, k: int, exclude: Collection[tuple[str, int]]) -> list[Passage]:
        return passages(case, next(found))

    return search


async def replayed(case: Case) -> tuple[Trajectory, list[list[int]]]:
    """The case without an engine: its trajectory, and the prompts that an engine would receive."""

    async def encoded(text: str, opening: bool) -> list[int]:
        return encode(text, opening)

    episode = case.begin()
    search = searcher(case)
    prompts: list[list[int]] = []
    while episode.finish_reason is None:
        if episode.pending is not None:
            episode.provide(await search(episode.pending, case.limits.top_k, episode.passages_read))
            continue
        turn_index = len(prompts)
        prompts.append(await prompt_ids(episode, encoded))
        if episode.feed(written(case, turn_index), sampled(case, turn_index)) is None:
            episode.end_turn()
    return episode.trajectory, prompts


def ids_of(trajectory: Trajectory) -> list[list[int] | None]:
    return [None if segment.token_ids is None else list(segment.token_ids) for segment in trajectory.segments]


def render(golden: Iterable[Case]) -> str:
    """The contents of a golden file: one line per segment."""
    cases = []
    for case in golden:
        trajectory, _ = asyncio.run(replayed(case))
        segments = ",\n    ".join(json.dumps(ids, separators=(",", ":")) for ids in ids_of(trajectory))
        cases.append(f"  {json.dumps(case.name)}: [\n    {segments}\n  ]")
    return "{\n" + ",\n".join(cases) + "\n}\n"


def _bytes(character: str) -> list[int]:
    """One token per byte: the tokenizer has no merges within a character."""
    return encode(character, opening=False)


def main() -> None:
    for file, cases in FILES.items():
        if "--write" in sys.argv:
            file.write_text(render(cases), "utf-8")
        elif file.read_text("utf-8") != render(cases):
            sys.exit("the token ids have changed; --write accepts the change")


if __name__ == "__main__":
    main()
