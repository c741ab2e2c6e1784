"""Plays the turns of a policy that is written out."""

from collections.abc import Sequence

from agent.episode import Episode
from agent.methods import METHODS
from agent.trajectory import Limits, Trajectory
from index.documents import Passage


def played(
    turns: Sequence[str], question: str = "?", passages: Sequence[str] = (), method: str = "pr2"
) -> Trajectory:
    """The trajectory of these turns; each search finds `passages`."""
    episode: Episode = METHODS[method].begin(question, Limits())
    found = [
        Passage(document_id=f"d{number}", text=text, rank=number) for number, text in enumerate(passages, 1)
    ]
    if episode.pending:
        episode.provide(found)
    for turn in turns:
        episode.feed(turn)
        episode.end_turn()
        if episode.pending:
            episode.provide(found)
    return episode.trajectory
