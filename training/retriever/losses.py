"""The losses of ROPG (Salemi et al. 2024, arXiv 2404.05970, section 3), as functions of scores and a mask.

The retriever is a policy: π(d|x) = softmax of q·d / T over the documents of a question that have feedback.
All others (padding, documents that nobody judged) have probability 0 and get no gradient, whatever their
scores are.

Shapes: `scores`, `utility` and `judged` are (questions, documents); each question has a judged document.
"""

from torch import Tensor

from training.divergence import divergence, masked_log_softmax


def log_policy(scores: Tensor, judged: Tensor, temperature: float = 1.0) -> Tensor:
    """log π(d|x), shape (questions, documents); -inf where a document is not judged."""
    return masked_log_softmax(scores / temperature, judged)


def distillation(scores: Tensor, utility: Tensor, judged: Tensor, temperature: float = 1.0) -> Tensor:
    """ROPG-KD: KL(p_t ‖ π) with p_t = softmax(utility / T), the mean over questions.

    It is 0 if and only if the scores equal the utility up to a constant for each question. The released code
    passes probabilities on to a loss that takes a softmax of its own, so it cannot reach 0.
    """
    return divergence(utility / temperature, scores / temperature, judged).mean()


def reinforce(
    scores: Tensor, utility: Tensor, judged: Tensor, drawn: Tensor, temperature: float = 1.0
) -> Tensor:
    """ROPG-RL: -log π(drawn|x) · (mean utility of the drawn documents - utility of d_b), averaged.

    d_b is the first document, the best of the initial ranking; it has to be judged. `drawn`, shape
    (questions, draws), are documents from `draw`: with several, log π is that of drawing them one after the
    other, each from those that are left. Draws of documents that are not judged are ignored.
    """
    left, total = judged.clone(), scores.new_zeros(len(scores))
    for document in drawn.T[:, :, None]:
        real = left.gather(1, document)
        # A question that has run out of documents gets a policy without meaning, of which nothing is used.
        policy = log_policy(scores, left | ~left.any(dim=1, keepdim=True), temperature)
        total = total + policy.gather(1, document).masked_fill(~real, 0.0)[:, 0]
        left = left.scatter(1, document, False)
    counted = judged.gather(1, drawn)
    gained = utility.gather(1, drawn).masked_fill(~counted, 0.0).sum(dim=1) / counted.sum(dim=1)
    return -(total * (gained - utility[:, 0])).mean()


def draw(scores: Tensor, judged: Tensor, noise: Tensor, draws: int = 1, temperature: float = 1.0) -> Tensor:
    """Draw documents from the policy without replacement: indices of shape (questions, draws).

    `noise` is standard Gumbel noise in the shape of the scores: the documents with the largest sums of
    log-probability and noise are such a sample, in order (Kool et al. 2019, arXiv 1903.06059). A question
    with fewer documents than draws also gets documents that are not judged, after all the others.
    """
    keys = log_policy(scores, judged, temperature) + noise
    return keys.topk(min(draws, keys.shape[1]), dim=1).indices
