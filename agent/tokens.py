"""Transcripts as token ids, and how they fit into a policy's context.

What the policy sampled is what its next turn sees: its own tokens are kept, and only what the environment
wrote is encoded, each segment by itself. Text that was encoded as one string could fall into other tokens
than the policy has written. Training follows the same rule.
"""

import logging
from collections.abc import Awaitable, Callable

from agent.engines.errors import EngineError
from agent.episode import Episode

_log = logging.getLogger(__name__)

Encode = Callable[[str, bool], Awaitable[list[int]]]
"""Gives the tokens of a text. True for the opening, which begins as the model's texts do (a BOS token)."""

ANSWER_SHARE = 4
"""At least this part of the context, one in so many, is kept free for a turn to be written in."""


async def prompt_ids(episode: Episode, encode: Encode) -> list[int]:
    """The tokens of the transcript so far, for the policy to continue."""
    ids: list[int] = []
    for index, segment in enumerate(episode.segments):
        known = segment.token_ids
        if known is None:
            known = tuple(await encode(segment.text, index == 0))
            episode.encode(index, known)
        ids += known
    return ids


def estimated(text: str) -> int:
    """About how many tokens a text has, rather more than fewer, where nobody can count them.

    A token of an English text is 4 to 5 bytes, of most other scripts about 3.
    """
    return -(-len(text.encode()) // 3)


async def make_room(
    episode: Episode, context: int | None, max_tokens: int, count: Callable[[], Awaitable[int]]
) -> int:
    """How many tokens the policy may write now, at most `max_tokens`, in a context of so many tokens.

    `count` says how long the transcript is. If it leaves no room for a turn, passages are dropped, the
    oldest first. 0 when the policy itself has filled the context. Raises EngineError when not even the
    instructions and the question fit.
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
