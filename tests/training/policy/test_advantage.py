import numpy as np
import pytest

from training.policy.advantage import Formula, advantages, released_rewards

REWARDS = np.array([1.0, 0.0, 0.5, 0.5])
NAN = float("nan")


def test_grpo_centres_and_scales_by_the_unbiased_deviation() -> None:
    assert advantages(REWARDS, 0.9, Formula("grpo")) == pytest.approx([1.2247449, -1.2247449, 0, 0])


def test_the_score_without_profile_shifts_all_samples_equally() -> None:
    formula = Formula("without_profile", weight=0.5, floor=0.1)
    low, high = (advantages(REWARDS, value, formula) for value in (0.0, 1.0))
    std = REWARDS.std(ddof=1)
    assert low - high == pytest.approx(np.full(4, 0.5 / (std + 0.1)))
    assert low == pytest.approx((REWARDS - 0.25) / (std + 0.1))


def test_with_full_weight_only_improvement_over_no_profile_counts() -> None:
    formula = Formula("without_profile", weight=1.0, floor=0.1)
    assert advantages(np.array([0.4, 0.4]), 0.6, formula) == pytest.approx([-2.0, -2.0])
    assert advantages(np.array([0.4, 0.4]), 0.4, formula) == pytest.approx([0.0, 0.0])


def test_without_a_score_without_profile_the_baseline_is_the_group_mean() -> None:
    formula = Formula("without_profile", weight=0.7, floor=0.0)
    assert advantages(REWARDS, None, formula) == pytest.approx(advantages(REWARDS, None, Formula("grpo")))


@pytest.mark.parametrize("name", ["without_profile", "grpo", "released"])
def test_unjudged_samples_get_zero_and_are_left_out_of_the_statistics(name: str) -> None:
    formula = Formula(name)
    with_failures = advantages(np.array([1.0, NAN, 0.0, 0.5, NAN, 0.5]), 0.2, formula)
    assert with_failures[[1, 4]].tolist() == [0, 0]
    assert with_failures[[0, 2, 3, 5]] == pytest.approx(advantages(REWARDS, 0.2, formula))
    assert advantages(np.array([NAN, NAN]), 0.2, formula).tolist() == [0, 0]


@pytest.mark.parametrize("name", ["without_profile", "grpo", "released"])
def test_equal_rewards_and_single_samples_give_finite_advantages(name: str) -> None:
    for rewards in (np.full(4, 0.5), np.array([0.5])):
        assert np.isfinite(advantages(rewards, 0.1, Formula(name))).all()


def test_standardizing_cancels_the_baseline_of_the_released_rewards() -> None:
    shaped = [released_rewards(REWARDS, value) for value in (0.0, 0.2, 1.8)]
    assert not np.allclose(shaped[0], shaped[1])
    after = [advantages(REWARDS, value, Formula("released")) for value in (0.0, 0.2, 1.8)]
    assert after[1] == pytest.approx(after[0], abs=1e-3)
    assert after[2] == pytest.approx(after[0], abs=1e-3)


def test_the_released_rewards_are_those_of_the_formula() -> None:
    # By hand: mu_all = 2.2/5 = .44, std_all = sqrt((.56² + .44² + 2·.06² + .24²)/4) = .37815; std = .40825.
    assert released_rewards(REWARDS, 0.2) == pytest.approx(
        [(s - 0.2 - 0.44) / 0.3781534 - 2 * 0.2 / 0.4082483 for s in REWARDS], rel=1e-5
    )


def test_an_unknown_formula_is_refused_naming_the_known_ones() -> None:
    with pytest.raises(ValueError, match="without_profile, grpo, released"):
        Formula("ppo")
