"""OpenRLHF's command line (0.11.2), with our advantages: `python -m training.policy.openrlhf.trainer FLAGS`.

None of its estimators can stand in: each centres the rewards of a question or of the batch, and so takes out
what all samples of a question have in common, as the answer without the profile. What is replaced is one
object, the experience maker. Who has it, the trainer, is a Ray actor in another process: so its class is
exchanged for one that makes ours once it has made its own, and Ray sends a class with all that it holds. The
rest (models, losses, KL, checkpoints, the asynchronous trainer) is OpenRLHF's.
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
    # Of those that want several samples for a question and no critic; its formula is not used.
    *(ESTIMATOR, "group_norm"),
    *("--train.agent_func_path", str(Path(agent.__file__))),
    *("--data.input_key", INPUT, "--data.label_key", LABEL),
)


class ExperienceMaker(RemoteExperienceMaker):  # type: ignore[misc]
    """Makes the advantages of each question's samples by `formula`.

    The parent gets them as rewards and, by an estimator's name that it does not know, leaves them as they
    are: not centred, not whitened. As with its own estimators, `--reward.clip_range` bounds them, and a KL
    that is no loss (`--algo.kl.use_loss`) is taken off token by token afterwards, where unjudged as well.
    Dynamic filtering, by its default range, drops groups that all scored 0 or 1: here they have a gradient.
    """

    def __init__(self, *parts: Any, formula: Formula) -> None:
        """Raises ValueError for options that would change the advantages afterwards."""
        super().__init__(*parts)
        penalties = self.args.reward.overlong_buffer_len, self.args.reward.stop_properly_penalty_coef
        if any(penalty is not None for penalty in penalties):
            raise ValueError(
                "OpenRLHF's penalties for length would be taken off the advantages: leave them out, and set "
                "limits and costs in the configuration"
            )
        self._formula = formula
        self.advantage_estimator = "reinforce"
        self.args.algo.advantage.estimator = "ours"

    @torch.no_grad()
    def compute_advantages_and_returns(self, experiences: list[Any]) -> list[Any]:
        """See RemoteExperienceMaker. Samples of a question follow each other in the order of `index`."""
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
            # What is told of a step is told of the rewards, not of what stood in for them.
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
    """The Ray actor class of a trainer of OpenRLHF's, with our experience maker."""
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
    """OpenRLHF's `compute_eval_metrics`, without the questions for which a sample was not judged.

    A failure of the judge would count as a reward of 0, and decide which checkpoint is the best.
    """

    def compute(dataloader: Any, samples: Sequence[Any], samples_a_prompt: int) -> dict[str, Any]:
        groups = [samples[at : at + samples_a_prompt] for at in range(0, len(samples), samples_a_prompt)]
        judged = [group for group in groups if not any(float(one.info[UNJUDGED].sum()) for one in group)]
        logs = plain(dataloader, list(itertools.chain.from_iterable(judged)), samples_a_prompt)
        return {**logs, "eval_unjudged": float(len(groups) - len(judged))}

    return compute


def main(flags: Sequence[str]) -> None:
    """Train. Raises what `check` raises before anything is started."""
    if any(flag.partition("=")[0] == ESTIMATOR for flag in flags):
        sys.exit(f"leave out {ESTIMATOR}: the configuration's formula says how advantages are made")
    configuration = Configuration.load()
    asyncio.run(check(configuration))
    # Read when Ray sends the trainers' classes, with what they refer to.
    for module in (ppo_trainer, ppo_trainer_async):
        module.compute_eval_metrics = judged_only(module.compute_eval_metrics)
    ppo_trainer.PPOTrainer = with_formula(ppo_trainer.PPOTrainer, configuration.formula)
    ppo_trainer_async.TrainingActor = with_formula(ppo_trainer_async.TrainingActor, configuration.formula)
    sys.argv = ["train_ppo_ray", *itertools.chain(_FLAGS, flags)]
    runpy.run_module("openrlhf.cli.train_ppo_ray", run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
