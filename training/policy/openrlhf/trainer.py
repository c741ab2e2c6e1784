"""OpenRLHF's command line (0.11.2), with our advantages: `python -m training.policy.openrlhf.trainer FLAGS`.

None of its estimators fits: each centres the rewards of a question or of the batch, which cancels every term
that all samples of a question share, such as the score without the profile. One object is replaced, the
experience maker. It belongs to the trainer, a Ray actor in another process, so the trainer's class is
replaced by a subclass that creates our experience maker after its own; Ray ships a class with everything it
references. Models, losses, KL, checkpoints and the asynchronous trainer are OpenRLHF's.
"""

import asyncio
import itertools
import runpy
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch
from openrlhf.trainer import ppo_trainer, ppo_trainer_async
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker

from training.policy.advantage import Formula, advantages
from training.policy.environment import Configuration, check
from training.policy.openrlhf import agent
from training.policy.openrlhf.agent import IS_KNOWN, UNJUDGED, WITHOUT_PROFILE
from training.policy.rows import INPUT, LABEL

ESTIMATOR = "--algo.advantage.estimator"
_FLAGS = (
    # One that takes several samples per question and no critic; its formula is not used.
    *(ESTIMATOR, "group_norm"),
    *("--train.agent_func_path", str(Path(agent.__file__))),
    *("--data.input_key", INPUT, "--data.label_key", LABEL),
)


class ExperienceMaker(RemoteExperienceMaker):  # type: ignore[misc]
    """Computes the advantages of each question's samples by `formula`.

    The parent class receives them as rewards; the name of an estimator that it does not know keeps it from
    centring or whitening them. As with its own estimators, `--reward.clip_range` bounds them, and without
    `--algo.kl.use_loss` the KL is subtracted from each token afterwards, also for unjudged samples. With its
    default range, dynamic filtering drops groups that all scored 0 or 1, although they have a gradient here.
    """

    def __init__(self, *parts: Any, formula: Formula) -> None:
        """Raises ValueError for options that would alter the advantages."""
        super().__init__(*parts)
        penalties = self.args.reward.overlong_buffer_len, self.args.reward.stop_properly_penalty_coef
        if any(penalty is not None for penalty in penalties):
            raise ValueError(
                "OpenRLHF's length penalties would be subtracted from the advantages: remove them, and set "
                "limits and costs in the configuration"
            )
        self._formula = formula
        self.advantage_estimator = "reinforce"
        self.args.algo.advantage.estimator = "ours"

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences: list[Any]) -> list[Any]:
        """See RemoteExperienceMaker. In the order of `index`, samples of a question are adjacent."""
        order = torch.tensor([number for experience in experiences for number in experience.index])

        def groups(values: Iterable[torch.Tensor]) -> torch.Tensor:
            found = torch.cat([value.to(torch.float64) for value in values])
            ordered = torch.empty_like(found)
            ordered[order] = found
            return ordered.reshape(-1, self.args.rollout.n_samples_per_prompt)

        infos = [experience.info for experience in experiences]
        rewards = groups(experience.rewards for experience in experiences)
        rewards[groups(info[UNJUDGED] for info in infos) > 0] = torch.nan
        known = groups(info[IS_KNOWN] for info in infos)[:, 0] > 0
        without = groups(info[WITHOUT_PROFILE] for info in infos)[:, 0].where(known, torch.nan)
        shaped = torch.from_numpy(_shaped(rewards.numpy(), without.tolist(), self._formula)).flatten()[order]
        own = [experience.rewards for experience in experiences]
        parts = torch.split(shaped.float(), [len(part) for part in own])
        for experience, part in zip(experiences, parts, strict=True):
            experience.rewards = part
        made: list[Any] = super().compute_advantages_and_returns(experiences)
        for experience, reward in zip(made, own, strict=True):
            # Logs report the rewards, not the advantages that replaced them.
            experience.rewards = experience.info["reward"] = reward
            experience.info.pop("group_reward_std", None)
        return made


def _shaped(rewards: Any, without_profile: Sequence[float], formula: Formula) -> Any:
    return np.stack(
        [
            advantages(group, None if np.isnan(baseline) else baseline, formula)
            for group, baseline in zip(rewards, without_profile, strict=True)
        ]
    )


def with_formula(trainer: Any, formula: Formula) -> Any:
    """Return the Ray actor class of an OpenRLHF trainer with our experience maker."""
    plain: Any = trainer.__ray_metadata__.modified_class.__ray_actor_class__

    class Trainer(plain):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.experience_maker = ExperienceMaker(
                self.actor_model_group,
                self.critic_model_group,
                self.reward_model_group,
                self.reference_model_group,
                self.kl_ctl,
                self.strategy,
                self.tokenizer,
                formula=formula,
            )

    return ray.remote(Trainer)


def judged_only(plain: Any) -> Any:
    """Wrap OpenRLHF's `compute_eval_metrics` to leave out questions with an unjudged sample.

    Otherwise a failure of the judge would count as a reward of 0 and could decide which checkpoint is best.
    """

    def compute(dataloader: Any, samples: Sequence[Any], samples_a_prompt: int) -> dict[str, Any]:
        groups = [samples[at : at + samples_a_prompt] for at in range(0, len(samples), samples_a_prompt)]
        judged = [group for group in groups if not any(float(one.info[UNJUDGED].sum()) for one in group)]
        logs = plain(dataloader, list(itertools.chain.from_iterable(judged)), samples_a_prompt)
        return {**logs, "eval_unjudged": float(len(groups) - len(judged))}

    return compute


def main(flags: Sequence[str]) -> None:
    """Check the environment, then train. Raises what `check` raises."""
    if any(flag.partition("=")[0] == ESTIMATOR for flag in flags):
        sys.exit(f"remove {ESTIMATOR}: the formula in the configuration determines the advantages")
    configuration = Configuration.load()
    asyncio.run(check(configuration))
    # Replaced before Ray ships the trainers' classes with what they reference.
    for module in (ppo_trainer, ppo_trainer_async):
        module.compute_eval_metrics = judged_only(module.compute_eval_metrics)
    ppo_trainer.PPOTrainer = with_formula(ppo_trainer.PPOTrainer, configuration.formula)
    ppo_trainer_async.TrainingActor = with_formula(ppo_trainer_async.TrainingActor, configuration.formula)
    sys.argv = ["train_ppo_ray", *itertools.chain(_FLAGS, flags)]
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
