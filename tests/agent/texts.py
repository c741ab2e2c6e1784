"""Hypothesis strategies for the text of a policy, which can be anything."""

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

TAGS = [f"<{slash}{name}>" for name in ("think", "search", "information", "answer") for slash in ("", "/")]
NEAR_TAGS = [
    "<Search>", "< search>", "</ answer>", "<search", "</answer", "</", "<", ">", "<<think>", "<answers>",
    '<search after="2024-03-01">', '<search last="30d" before=x>', '<search last="', '<search =',
    "<information ", "<//search>", "&lt;search>", "</SEARCH>",
]  # fmt: skip
PROSE = [
    "He likes tea.",
    " ",
    "\n",
    "\u2028",
    "\x1c",
    "é",
    "😀",
    "[1]",
    "[2, 9]",
    "[7]",
    "\ud83d",
    "\ude00",
    "\0",
]

anything = st.text(st.characters(exclude_categories=()), max_size=5)
fragments = st.one_of(st.sampled_from(TAGS), st.sampled_from(TAGS + NEAR_TAGS + PROSE), anything)
turns = st.one_of(
    st.lists(fragments, max_size=16).map("".join),
    # Often close to the format; otherwise few episodes would get far.
    st.tuples(anything, st.sampled_from(["search", "answer"]), st.lists(fragments, max_size=4)).map(
        lambda t: f"<think>{t[0]}</think><{t[1]}>{''.join(t[2])}x</{t[1]}>{t[0]}"
    ),
)
cuts = st.lists(st.integers(0, 200), max_size=12)


def pieces(text: str, positions: Sequence[int]) -> list[str]:
    """`text` split at `positions`; repeated positions make empty pieces."""
    ordered = sorted(min(position, len(text)) for position in positions)
    bounds = [0, *ordered, len(text)]
    return [text[start:end] for start, end in pairwise(bounds)]


def one_by_one(text: str) -> list[str]:
    return list(text)
