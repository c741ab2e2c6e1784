"""A small version of `make train-prlm`: one seed and fewer steps, from the warm start to every figure."""

import math
from statistics import fmean

import pytest
import torch

from training.demo.prlm.experiment import Plan
from training.demo.prlm.robustness import PASSAGES, RETRIEVERS
from training.demo.prlm.seeds import AWARE, CONTENT, PRLM_BEFORE, RAG_BEFORE, SYSTEMS, learn

PLAN = Plan(people=200, held_out=40, pairs=300, steps=6, groups=8)


@pytest.mark.learning
def test_a_warm_start_its_reward_models_and_its_trainings_give_every_figure() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        result = learn(PLAN, 10)
    finally:
        torch.set_num_threads(threads)
    # The warm start reads, and has a manner only now and then.
    for name in (PRLM_BEFORE, RAG_BEFORE):
        assert fmean(result.sampled[name].content) > 0.6
        assert fmean(result.sampled[name].manner) < 0.5
    assert set(result.sampled) == set(result.greedy) == set(result.grids) == set(SYSTEMS)
    for grid in result.grids.values():
        assert {(name, k) for name, row in grid.items() for k in row} == {
            (name, k) for name in RETRIEVERS for k in PASSAGES
        }
        assert all(len(scores) == PLAN.held_out for row in grid.values() for scores in row.values())
    # More passages tell more.
    for name in (PRLM_BEFORE, RAG_BEFORE):
        assert fmean(result.grids[name]["random"][8]) > fmean(result.grids[name]["random"][1])
    plain = result.judging["user-aware"].plain
    assert plain is not None
    assert plain.interval is not None
    assert plain.interval[0] > 0.5
    # Without a reward model, all answers are preferred alike; a missing one has no preference.
    assert all(0 < point.preference <= 0.5 for point in result.curves[CONTENT])
    first, *_, last = result.curves[AWARE]
    assert (first.step, last.step) == (0, PLAN.steps)
    assert math.isfinite(last.preference)
