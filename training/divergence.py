"""The divergence that ROPG-KD and RSPG minimize, between softmaxes over the entries that count."""

import torch
from torch import Tensor
from torch.nn import functional


def masked_log_softmax(scores: Tensor, counted: Tensor) -> Tensor:
    """Log-probabilities over each row's counted entries, -inf at all others. Shape (rows, entries)."""
    return functional.log_softmax(scores.masked_fill(~counted, -torch.inf), dim=1)


def divergence(target: Tensor, chosen: Tensor, counted: Tensor) -> Tensor:
    """KL(softmax(target) ‖ softmax(chosen)) of each row over its counted entries, shape (rows,).

    The other entries get no gradient. Each row has a counted entry.
    """
    wanted, found = masked_log_softmax(target, counted), masked_log_softmax(chosen, counted)
    # Without the mask, the entries left out are -inf minus -inf.
    surprise = (wanted - found).masked_fill(~counted, 0.0)
    return (wanted.exp() * surprise).sum(dim=1)
