"""A small version of `make train-demo`: one seed, fewer steps, and thresholds well inside what it reaches."""

import asyncio

import pytest
import torch

from training.demo.experiment import HOPS, Plan, Setting, reinforce, warm_start
from training.demo.measure import measure, over
from training.policy.advantage import Formula

PLAN = Plan(
    users=200,
    held_out_users=30,
    questions=40,
    reading_documents=4,
    imitation_steps=200,
    demonstrations=2500,
    steps=8,
    evaluate_every=8,
)


@pytest.mark.learning
def test_rewards_teach_the_tiny_model_to_search_as_often_as_a_question_needs() -> None:
    threads = torch.get_num_threads()
    # One: two threads wait for each other on a busy machine, which takes ten times as long.
    torch.set_num_threads(1)
    try:
        setting = Setting.of(0, PLAN)
        model = warm_start(0, setting, PLAN, print)
        rag = over(asyncio.run(measure(model, setting.held_out, "rag")), HOPS)
        before, after = reinforce(model, 0, setting, Formula("without_profile"), PLAN, print)
    finally:
        torch.set_num_threads(threads)
    first, last = over(before.held_out, HOPS), over(after.held_out, HOPS)
    assert last.reward > first.reward + 0.2
    assert last.reward > rag.reward + 0.2
    assert last.invalid < 0.1
    searches = [after.held_out[hops].searches for hops in HOPS]
    assert searches == pytest.approx([0, 1, 2], abs=0.4)
