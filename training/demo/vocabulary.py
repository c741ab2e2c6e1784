"""The tiny model's tokenizer: whole words, so that a small model spends nothing on spelling.

Tokens are pieces of text that concatenate to it exactly. Fixed texts of the episode, such as the
instructions, are one token each.
"""

import re
from collections.abc import Sequence

from agent import prompts, tags
from agent.trajectory import Limits
from training.demo import world

INSTRUCTIONS = "Answer for this person."
LIMITS = Limits(max_searches=4, top_k=2, max_documents=8, max_tokens=80, deadline_ms=3_600_000)
"""Limits of an episode with searches. The deadline is out of reach, so that no result depends on speed."""

QUESTION, END_OF_QUESTION = "Question:", "\n\n"
OPENINGS = tuple(prompts.opening("", INSTRUCTIONS, searches) for searches in (LIMITS.max_searches, 0))


class Vocabulary:
    """All tokens, by id. Encoding raises ValueError if the text contains anything else.

    `openings` are the prompts that an episode may begin with, for an empty question; `words` the words of the
    world.
    """

    def __init__(self, openings: Sequence[str] = OPENINGS, words: Sequence[str] = world.WORDS) -> None:
        openings = [opening.removesuffix(f"{QUESTION} {END_OF_QUESTION}") for opening in openings]
        blocks = ["\n<information>\n", "\n</information>\n", prompts.ANSWER_NOW, prompts.NOTHING_FOUND]
        marks = [f"[{number}]" for number in range(1, LIMITS.max_documents + 1)]
        opened = [tag.replace("/", "") for tag in ("</think>", *tags.STOP)]
        self.tokens = (
            *openings,
            QUESTION,
            END_OF_QUESTION,
            *blocks,
            *marks,
            *opened,
            "</think>",
            *tags.STOP,
            *(f" ({date})" for date in world.DATES),
            *(f" {word}" for word in words),
            ".",
            "?",
            "\n",
        )
        self._ids = {token: number for number, token in enumerate(self.tokens)}
        longest_first = sorted(self.tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        self.stops = tuple(self._ids[tag] for tag in tags.STOP)

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        found = self._pattern.findall(text)
        if sum(map(len, found)) != len(text):
            raise ValueError(f"{text!r} contains text that is no token")
        return [self._ids[token] for token in found]

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.tokens[number] for number in ids)
