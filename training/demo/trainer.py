"""Supervised steps and policy gradients for the tiny model, in plain PyTorch.

TRL's GRPOTrainer accepts a rollout function, but it takes rewards, not advantages, and always subtracts the
mean of each group. The score of the answer without the profile is constant within a group, so it would cancel
as part of the baseline. Here the advantages are used unchanged.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from agent.trajectory import Trajectory
from training.demo.model import TinyLlama
from training.demo.vocabulary import Vocabulary

_TOKENS_AT_ONCE = 4096


@dataclass(frozen=True)
class Sample:
    """A transcript as tokens, and whether the policy wrote each of them."""

    ids: tuple[int, ...]
    written: tuple[bool, ...]
    weight: float = 1.0
    """Weight of the log-probability of the written tokens: an advantage, or 1 for imitation."""


def sample_of(trajectory: Trajectory, weight: float = 1.0) -> Sample:
    """Collect the tokens of the trajectory, up to the last one that the policy wrote.

    A block that arrived after the policy had used up its tokens was never read. Raises ValueError if any
    other text was not encoded.
    """
    ids: list[int] = []
    written: list[bool] = []
    segments = list(trajectory.segments)
    while segments and segments[-1].author == "environment":
        segments.pop()
    for segment in segments:
        if segment.token_ids is None:
            raise ValueError("a segment was never encoded")
        ids += segment.token_ids
        written += [segment.author == "policy"] * len(segment.token_ids)
    return Sample(tuple(ids), tuple(written), weight)


def sample_from(pieces: Iterable[tuple[str, bool]], vocabulary: Vocabulary) -> Sample:
    """Encode pieces of text, each with whether it is to be imitated.

    Raises ValueError if a piece contains text that is no token.
    """
    ids: list[int] = []
    written: list[bool] = []
    for text, imitated in pieces:
        piece = vocabulary.encode(text)
        ids += piece
        written += [imitated] * len(piece)
    return Sample(tuple(ids), tuple(written))


def loss(model: TinyLlama, samples: Sequence[Sample]) -> Tensor:
    """-Σ weight · log p(token) over the tokens that the policy wrote; a sum, not a mean.

    Each update uses samples of the current model, so this is the whole policy gradient: no older policy needs
    a correction.
    """
    longest = max(len(sample.ids) for sample in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    weights = torch.zeros(len(samples), longest)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = torch.tensor(sample.ids)
        weights[row, : len(sample.ids)] = torch.tensor(sample.written) * sample.weight
    trained = weights[:, 1:] != 0
    logits = model.logits(model(ids[:, :-1])[trained])
    taken = functional.cross_entropy(logits, ids[:, 1:][trained], reduction="none")
    return (weights[:, 1:][trained] * taken).sum()


class Trainer:
    """Adam with a warm-up and a linear decay to 0 over a fixed number of steps."""

    def __init__(self, model: TinyLlama, *, learning_rate: float, steps: int, warm_up: int) -> None:
        self._model = model
        self._optimizer = torch.optim.AdamW(
            model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0
        )
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: min((step + 1) / warm_up, (steps - step) / steps)
        )

    def step(self, samples: Sequence[Sample]) -> float:
        """Make one update by the mean over all tokens that the policy wrote. Returns the loss."""
        written = sum(sum(sample.written) for sample in samples)
        total = 0.0
        for part in _parts([sample for sample in samples if sample.weight]):
            value = loss(self._model, part) / written
            torch.autograd.backward(value)
            total += value.item()
        torch.nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()
        return total


def _parts(samples: Sequence[Sample]) -> Iterator[Sequence[Sample]]:
    """Group samples of similar length, to reduce padding."""
    ordered = sorted(samples, key=lambda sample: len(sample.ids), reverse=True)
    at = 0
    while at < len(ordered):
        rows = max(_TOKENS_AT_ONCE // len(ordered[at].ids), 1)
        yield ordered[at : at + rows]
        at += rows
