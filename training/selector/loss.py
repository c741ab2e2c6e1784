"""The loss of RSPG (Salemi et al. 2024, arXiv 2404.05970, section 4)."""

import torch
from torch import Tensor
from torch.nn import functional


def divergence(scores: Tensor, metrics: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(metrics / T) ‖ softmax(scores)) of each question, shape (questions,).

    Both have the shape (questions, members); a member whose metric is NaN is left out of both distributions
    and gets no gradient. Each question has a metric. The temperature sharpens the target alone: the released
    code divides log-probabilities by it, which is no distribution.
    """
    unscored = metrics.isnan()
    target = functional.log_softmax((metrics / temperature).masked_fill(unscored, -torch.inf), dim=1)
    chosen = functional.log_softmax(scores.masked_fill(unscored, -torch.inf), dim=1)
    # Without the mask, the members left out are -inf minus -inf.
    surprise = (target - chosen).masked_fill(unscored, 0.0)
    return (target.exp() * surprise).sum(dim=1)
