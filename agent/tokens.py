"""Transcripts as token ids, and how they fit into a policy's context.

The policy's next turn sees exactly the tokens that it sampled, if its engine reports them: then only segments
that the environment wrote are encoded. Each is encoded separately, since the whole transcript as one string
could give other tokens than the policy wrote. Training follows the same rule.
"""

import logging
from collections.abc import Awaitable, Callable

from agent.engines.errors import EngineError
from agent.episode import Episode

_log = logging.getLogger(__name__)

Encode = Callable[[str, bool], Awaitable[list[int]]]
"""Encodes a text. The flag is True for the opening, which begins with the model's BOS token, if any."""

ANSWER_SHARE = 4
"""The fraction of the context reserved for the next turn: one in ANSWER_SHARE."""


async def prompt_ids(episode: Episode, encode: Encode) -> list[int]:
    """The tokens of the transcript so far, for the policy to continue. Raises what `encode` raises."""
    ids: list[int] = []
    for index, segment in enumerate(episode.segments):
        known = segment.token_ids
        if known is None:
            known = tuple(await encode(segment.text, index == 0))
            if segment.author == "environment":
                episode.encode(index, known)
        ids += known
    return ids


def estimated(text: str) -> int:
    """Estimates the number of tokens of a text, rather too high than too low.

    A token is 4 to 5 bytes of English text, and about 3 bytes in most other scripts.
    """
    return -(-len(text.encode()) // 3)


async def make_room(
    episode: Episode, context: int | None, max_tokens: int, count: Callable[[], Awaitable[int]]
) -> int:
    """How many tokens the policy may write now, at most `max_tokens`, in a context of `context` tokens.

    `count` returns the length of the transcript in tokens. If it leaves no room for a turn, passages are
    dropped, oldest first. Returns 0 if the policy itself has filled the context. Raises EngineError if not
    even the instructions and the question fit.
    """
    if context is None:
        return max_tokens
    wanted = min(max_tokens, max(context // ANSWER_SHARE, 1))
    before = episode.passages_dropped
    while (room := context - await count()) < wanted:
        if not episode.drop_oldest_passage():
            break
    if dropped := episode.passages_dropped - before:
        _log.info("the context of %d tokens is full: dropped %d passages, oldest first", context, dropped)
    if room <= 0 and all(segment.author == "environment" for segment in episode.segments):
        raise EngineError(
            "refused", f"the question does not fit into the policy's context of {context} tokens"
        )
    return max(min(room, max_tokens), 0)
