"""The selector's loss equals an independent reference, and masked members have no part in it."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.selector.loss import divergence


def drawn(seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores and metrics of four questions; some metrics are missing, but never all of a question."""
    random = np.random.default_rng(seed)
    members = int(random.integers(2, 8))
    scores = random.normal(size=(4, members)) * 5
    metrics = random.random((4, members))
    metrics[random.random(metrics.shape) < 0.3] = np.nan
    metrics[:, 0] = np.where(np.isnan(metrics).all(axis=1), 0.5, metrics[:, 0])
    return scores, metrics


def reference(scores: NDArray[np.float64], metrics: NDArray[np.float64], temperature: float) -> list[float]:
    """Σ p log(p / q), question by question, over the members that have a metric."""
    found = []
    for row, measured in zip(scores, metrics, strict=True):
        kept = ~np.isnan(measured)
        p = np.exp(measured[kept] / temperature)
        q = np.exp(row[kept] - row[kept].max())
        p, q = p / p.sum(), q / q.sum()
        found.append(float(sum(one * np.log(one / other) for one, other in zip(p, q, strict=True))))
    return found


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 1.0, 2.0]))
def test_it_equals_the_reference(seed: int, temperature: float) -> None:
    scores, metrics = drawn(seed)
    found = divergence(torch.tensor(scores), torch.tensor(metrics), temperature)
    assert found.tolist() == pytest.approx(reference(scores, metrics, temperature), abs=1e-6)


@given(st.integers(0, 10_000), st.floats(-3, 3))
def test_a_perfect_fit_has_no_loss(seed: int, shift: float) -> None:
    _, metrics = drawn(seed)
    scores = torch.tensor(np.nan_to_num(metrics, nan=9.0) / 0.1 + shift)
    assert divergence(scores, torch.tensor(metrics), 0.1).tolist() == pytest.approx([0.0] * 4, abs=1e-9)


@given(st.integers(0, 10_000))
def test_members_without_a_metric_change_nothing_and_get_no_gradient(seed: int) -> None:
    scores, metrics = drawn(seed)
    measured = torch.tensor(metrics)
    learned = torch.tensor(scores, requires_grad=True)
    loss = divergence(learned, measured)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert learned.grad is not None
    assert learned.grad[measured.isnan()].tolist() == [0.0] * int(measured.isnan().sum())
    assert learned.grad.isfinite().all()
    other = torch.tensor(np.where(np.isnan(metrics), 1e6, scores))
    assert torch.equal(divergence(other, measured), loss.detach())


def test_a_single_member_has_no_loss_rather_than_a_wrong_one() -> None:
    metrics = torch.tensor([[0.2, torch.nan]])
    assert divergence(torch.tensor([[3.0, 5.0]]), metrics).tolist() == [0.0]
