"""OpenRLHF's own code from rewards to the gradient: how the baseline is lost, and kept by ours."""

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from openrlhf.models import PolicyLoss
from openrlhf.trainer.ppo_trainer import compute_eval_metrics
from openrlhf.trainer.ppo_utils.experience import Experience
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from openrlhf.trainer.ppo_utils.kl_controller import FixedKLController

from training.policy.advantage import Formula, advantages
from training.policy.openrlhf.agent import IS_KNOWN, UNJUDGED, WITHOUT_PROFILE
from training.policy.openrlhf.trainer import ExperienceMaker, judged_only

OURS, GRPO = Formula("without_profile"), Formula("grpo")
LENGTH = 6


def arguments(samples: int, estimator: str = "group_norm", **reward: Any) -> Namespace:
    """The part of OpenRLHF's arguments that its advantages depend on, with its defaults."""
    length = {"overlong_buffer_len": None, "overlong_penalty_factor": 1, "stop_properly_penalty_coef": None}
    advantage = Namespace(estimator=estimator, gamma=1.0, lambd=1.0, no_std_norm=False)
    return Namespace(
        algo=Namespace(advantage=advantage),
        rollout=Namespace(n_samples_per_prompt=samples, max_new_tokens=None),
        reward=Namespace(clip_range=(-10, 10), **(length | reward)),
    )


def stock(samples: int, estimator: str = "group_norm") -> Any:
    strategy = Namespace(args=arguments(samples, estimator))
    return RemoteExperienceMaker(None, None, None, None, FixedKLController(0.0), strategy, None)


def ours(samples: int, formula: Formula = OURS, **reward: Any) -> Any:
    strategy = Namespace(args=arguments(samples, **reward))
    return ExperienceMaker(None, None, None, None, FixedKLController(0.0), strategy, None, formula=formula)


def batch(
    rewards: Sequence[float],
    without_profile: float | None = None,
    unjudged: Sequence[int] = (),
    index: Sequence[int] | None = None,
) -> Any:
    """Samples as the experience maker gets them. Of six tokens, the policy wrote the second and third."""
    count = len(rewards)
    mask = torch.zeros(count, LENGTH - 1)
    mask[:, 1:3] = 1
    known = without_profile is not None
    info = {
        UNJUDGED: torch.tensor([float(number in unjudged) for number in range(count)]),
        WITHOUT_PROFILE: torch.full((count,), without_profile or 0.0),
        IS_KNOWN: torch.full((count,), float(known)),
    }
    return Experience(
        index=list(index or range(count)),
        sequences=torch.arange(count * LENGTH).reshape(count, LENGTH) % 11,
        attention_mask=torch.ones(count, LENGTH, dtype=torch.long),
        action_mask=mask,
        rewards=torch.tensor(rewards, dtype=torch.float64),
        kl=torch.zeros(count, LENGTH - 1),
        info=info,
    )


def made(maker: Any, *batches: Any) -> list[float]:
    """The advantage of each sample, equal for all tokens of the policy."""
    found = []
    for experience in maker.compute_advantages_and_returns(list(batches)):
        own = experience.advantages[experience.action_mask.bool()].reshape(len(experience.index), -1)
        assert (own == own[:, :1]).all()
        found += own[:, 0].tolist()
    return found


def test_openrlhf_alone_loses_the_answer_without_the_profile() -> None:
    rewards = [1.0, 0.0, 0.5, 0.5]
    for estimator in ("group_norm", "rloo", "dr_grpo"):
        reached = {
            tuple(made(stock(4, estimator), batch([reward - baseline for reward in rewards])))
            for baseline in (0.0, 0.25, 0.5)
        }
        assert len(reached) == 1


@pytest.mark.parametrize("baseline", [0.0, 0.3, 0.9])
def test_advantages_follow_the_formula_and_not_the_trainer(baseline: float) -> None:
    rewards = [1.0, 0.0, 0.5, 0.5]
    expected = advantages(np.array(rewards), baseline, OURS)
    assert made(ours(4), batch(rewards, baseline)) == pytest.approx(expected.tolist(), rel=1e-6)


def test_a_group_of_equal_rewards_has_an_advantage_over_the_answer_without_the_profile() -> None:
    assert made(stock(3), batch([0.8] * 3, 0.2)) == pytest.approx([0.0] * 3, abs=1e-6)
    assert made(ours(3), batch([0.8] * 3, 0.2)) == pytest.approx([3.0] * 3)


def test_our_grpo_is_openrlhfs_group_norm() -> None:
    rewards = [1.0, 0.0, 0.5, 0.5, 0.1, 0.1, 0.7, 0.3]
    assert made(ours(4, GRPO), batch(rewards)) == pytest.approx(made(stock(4), batch(rewards)), rel=1e-5)


def test_questions_do_not_touch_each_other() -> None:
    alone = made(ours(2), batch([1.0, 0.0], 0.5))
    assert made(ours(2), batch([1.0, 0.0], 0.5), batch([0.2, 0.9], 0.1, index=[2, 3]))[:2] == alone


def test_samples_that_were_sorted_by_length_still_meet_their_group() -> None:
    rewards = [1.0, 0.0, 0.3, 0.3]
    in_order = made(ours(2, GRPO), batch(rewards))
    first, second = (
        batch([rewards[2], rewards[0]], index=[2, 0]),
        batch([rewards[1], rewards[3]], index=[1, 3]),
    )
    assert made(ours(2, GRPO), first, second) == [in_order[number] for number in (2, 0, 1, 3)]


def test_an_unjudged_sample_gets_zero_and_is_left_out() -> None:
    assert made(ours(3), batch([1.0, 0.0, 0.5], 0.2, unjudged=[1])) == pytest.approx(
        [*advantages(np.array([1.0, np.nan, 0.5]), 0.2, OURS)]
    )
    assert made(ours(3), batch([1.0, 0.0, 0.5], 0.2, unjudged=[0, 1, 2])) == [0.0] * 3


def test_a_step_logs_rewards_and_not_advantages() -> None:
    experience = batch([1.0, 0.0], 0.5)
    experience.info["reward"] = experience.rewards
    made(ours(2), experience)
    assert experience.info["reward"].tolist() == experience.rewards.tolist() == [1.0, 0.0]
    assert "group_reward_std" not in experience.info


def test_length_penalties_are_refused() -> None:
    with pytest.raises(ValueError, match="length penalties"):
        ours(2, overlong_buffer_len=100.0)
    with pytest.raises(ValueError, match="length penalties"):
        ours(2, stop_properly_penalty_coef=-0.5)


def gradient(maker: Any, *batches: Any) -> torch.Tensor:
    """The gradient of a tiny model through OpenRLHF's PolicyLoss."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Embedding(11, 8), torch.nn.Linear(8, 11))
    for experience in maker.compute_advantages_and_returns(list(batches)):
        logits = model(experience.sequences[:, :-1]).log_softmax(-1)
        log_probs = logits.gather(-1, experience.sequences[:, 1:, None])[..., 0]
        old = log_probs.detach()
        loss, *_ = PolicyLoss()(log_probs, old, experience.advantages, action_mask=experience.action_mask)
        loss.backward()
    return torch.cat(
        [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    )


def test_the_answer_without_the_profile_reaches_the_gradient() -> None:
    rewards = [1.0, 0.0, 0.5, 0.5]
    stocks = [gradient(stock(4), batch(rewards, baseline)) for baseline in (0.0, 0.6)]
    assert torch.equal(*stocks)
    lower, higher = (gradient(ours(4), batch(rewards, baseline)) for baseline in (0.0, 0.6))
    assert not torch.allclose(lower, higher)
    grpo = gradient(ours(4, GRPO), batch(rewards, 0.6))
    assert torch.allclose(grpo, stocks[0], rtol=1e-4, atol=1e-7)


def test_equal_rewards_have_a_gradient_and_unjudged_ones_none() -> None:
    assert gradient(stock(2), batch([1.0, 1.0], 0.0)).abs().max() < 1e-6
    assert gradient(ours(2), batch([1.0, 1.0], 0.0)).abs().max() > 1e-3
    assert not gradient(ours(2), batch([1.0, 1.0], 0.0, unjudged=[0, 1])).any()


def evaluated(samples_a_prompt: int, *rewards: float | None) -> dict[str, float]:
    """Metrics of an evaluation; None is an unjudged sample."""
    samples = [
        Experience(
            prompts=[f"prompt {number // samples_a_prompt}"],
            rewards=torch.tensor(0.0 if reward is None else reward),
            info={UNJUDGED: torch.tensor([float(reward is None)])},
        )
        for number, reward in enumerate(rewards)
    ]
    loader: Any = [(["default"] * len(samples), [sample.prompts[0] for sample in samples], [], [])]
    told: dict[str, float] = judged_only(compute_eval_metrics)(loader, samples, samples_a_prompt)
    return told


def test_an_evaluation_counts_unjudged_questions_and_leaves_them_out() -> None:
    told = evaluated(1, 1.0, None, 0.5)
    assert told["eval_default_pass1"] == pytest.approx(0.75)
    assert (told["eval_unjudged"], told["eval_num_samples"]) == (1, 2)
    assert evaluated(2, 1.0, None, 0.5, 0.0)["eval_default_pass1"] == pytest.approx(0.25)
    assert evaluated(1, None) == {"eval_unjudged": 1}
