"""Losses equal independent references on ragged questions, and masked documents have no part in them."""

from collections.abc import Iterator
from itertools import permutations
from math import prod

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training.retriever.losses import distillation, draw, log_policy, reinforce

Array = npt.NDArray[np.float64]
TEMPERATURES = st.sampled_from([0.05, 0.5, 1.0, 3.0])


class Ragged:
    """Questions with different numbers of documents, some unjudged, padded with harmful values."""

    def __init__(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        count, width = random.integers(1, 6), 8
        self.judged = np.zeros((count, width), bool)
        self.scores, self.utility = random.normal(0, 2, (count, width)), np.full((count, width), 1e3)
        for row in self.judged:
            length = random.integers(1, width)
            row[:length] = random.random(length) < 0.7
            row[0] = True
        self.scores[~self.judged] = 1e3
        self.utility[self.judged] = random.random(int(self.judged.sum()))

    @property
    def rows(self) -> Iterator[tuple[Array, Array]]:
        """Scores and utility of the judged documents of each question."""
        for scores, utility, judged in zip(self.scores, self.utility, self.judged, strict=True):
            yield scores[judged], utility[judged]

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        return torch.tensor(self.scores), torch.tensor(self.utility), torch.tensor(self.judged)


ragged = st.integers(0, 2**32 - 1).map(Ragged)


def softmax(values: Array) -> Array:
    powers = np.exp(values - values.max())
    shares: Array = powers / powers.sum()
    return shares


@given(ragged, TEMPERATURES)
def test_distillation_is_the_divergence_of_the_two_softmaxes(questions: Ragged, temperature: float) -> None:
    expected = []
    for scores, utility in questions.rows:
        target, policy = softmax(utility / temperature), softmax(scores / temperature)
        expected.append(sum(t * np.log(t / p) for t, p in zip(target, policy, strict=True) if t))
    found = float(distillation(*questions.tensors, temperature))
    assert found == pytest.approx(np.mean(expected), abs=1e-6, rel=1e-6)


@given(ragged, TEMPERATURES, st.floats(-5, 5))
def test_distillation_reaches_0_for_a_perfect_fit(
    questions: Ragged, temperature: float, constant: float
) -> None:
    _, utility, judged = questions.tensors
    scores = torch.where(judged, utility + constant, 7.0)
    assert abs(float(distillation(scores, utility, judged, temperature))) < 1e-9


@given(ragged, TEMPERATURES, st.integers(1, 8), st.integers(0, 99))
def test_reinforce_is_the_log_probability_of_the_draws_times_their_gain(
    questions: Ragged, temperature: float, draws: int, seed: int
) -> None:
    scores, utility, judged = questions.tensors
    noise = torch.tensor(np.random.default_rng(seed).gumbel(size=scores.shape))
    drawn = draw(scores, judged, noise, draws, temperature)
    expected = []
    for row in range(len(scores)):
        chosen = [int(document) for document in drawn[row] if judged[row, document]]
        assert len(chosen) == len(set(chosen)) == min(draws, int(judged[row].sum()))
        left = np.flatnonzero(questions.judged[row]).tolist()
        total = 0.0
        for document in chosen:
            policy = softmax(questions.scores[row, left] / temperature)
            total += np.log(policy[left.index(document)])
            left.remove(document)
        gain = questions.utility[row, chosen].mean() - questions.utility[row, 0]
        expected.append(-total * gain)
    found = float(reinforce(scores, utility, judged, drawn, temperature))
    assert found == pytest.approx(np.mean(expected), abs=1e-6, rel=1e-6)


@settings(deadline=None)  # The first gradient loads what computes them.
@given(ragged, TEMPERATURES)
def test_what_is_not_judged_has_no_probability_and_no_gradient(questions: Ragged, temperature: float) -> None:
    scores, utility, judged = questions.tensors
    scores.requires_grad_()
    policy = log_policy(scores, judged, temperature).exp()
    assert torch.all(policy[~judged] == 0)
    torch.testing.assert_close(policy.sum(dim=1), torch.ones(len(scores), dtype=torch.double))
    drawn = draw(scores.detach(), judged, torch.zeros_like(scores), 3, temperature)
    for loss in (
        distillation(scores, utility, judged, temperature),
        reinforce(scores, utility, judged, drawn, temperature),
    ):
        (gradient,) = torch.autograd.grad(loss, scores, retain_graph=True)
        assert torch.all(gradient[~judged] == 0)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("draws", [1, 2, 3, 4, 5])
def test_the_expected_gradient_of_reinforce_is_that_of_the_expected_gain(draws: int) -> None:
    """Weighted by their probabilities, the gradients of all possible draws add up to the exact one."""
    judged = torch.tensor([[True, True, False, True, True, False]])
    utility = torch.tensor([[0.3, 1.0, 9.0, 0.0, 0.6, 9.0]], dtype=torch.double)
    scores = torch.tensor([[0.5, -1.0, 2.0, 0.1, 0.9, 0.0]], dtype=torch.double, requires_grad=True)
    pool = [0, 1, 3, 4]
    gained, average = torch.zeros((), dtype=torch.double), torch.zeros_like(scores)
    for order in permutations(pool, min(draws, len(pool))):
        probability = prod(
            (
                scores[0, document].exp() / scores[0, [d for d in pool if d not in order[:place]]].exp().sum()
                for place, document in enumerate(order)
            ),
            start=torch.ones((), dtype=torch.double),
        )
        gained = gained + probability * (utility[0, list(order)].mean() - utility[0, 0])
        drawn = torch.tensor([[*order, *[2] * (draws - len(order))]])
        (gradient,) = torch.autograd.grad(reinforce(scores, utility, judged, drawn), scores)
        average += probability.detach() * gradient
    (exact,) = torch.autograd.grad(-gained, scores)
    torch.testing.assert_close(average, exact, atol=1e-12, rtol=1e-9)


def test_draws_follow_the_policy() -> None:
    scores, judged = torch.tensor([[1.0, 0.0, 5.0, -1.0]]), torch.tensor([[True, True, False, True]])
    count = 20_000
    noise = torch.tensor(np.random.default_rng(0).gumbel(size=(count, 4)))
    drawn = draw(scores.expand(count, 4), judged.expand(count, 4), noise, temperature=2.0)
    shares = torch.bincount(drawn[:, 0], minlength=4) / count
    expected = log_policy(scores, judged, 2.0).exp()[0]
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)
