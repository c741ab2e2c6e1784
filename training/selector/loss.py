"""The loss of RSPG (Salemi et al. 2024, arXiv 2404.05970, section 4)."""

from torch import Tensor

from training.divergence import divergence as kl


def divergence(scores: Tensor, metrics: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(softmax(metrics / T) ‖ softmax(scores)) of each question, shape (questions,).

    Both have the shape (questions, members); a member whose metric is NaN is left out of both distributions
    and gets no gradient. Each question has a metric. The temperature sharpens the target alone: the released
    code divides log-probabilities by it, which is no distribution.
    """
    return kl(metrics / temperature, scores, ~metrics.isnan())
