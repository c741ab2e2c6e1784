"""Rollouts on OpenRLHF (0.11.2): its executor of multi-turn agents drives the service's own episode.

`--train.agent_func_path` names this file. The transcript and the token ids are those that the service has for
the same sampled text; where OpenRLHF would do otherwise, it is put right here and nowhere else.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import Any, Literal

import torch
from openrlhf.utils.agent import AgentInstanceBase, MultiTurnAgentExecutor

from agent.episode import Episode
from agent.policy import Chunk
from agent.tags import STOP
from agent.tokens import ANSWER_SHARE
from agent.trajectory import Trajectory
from index.documents import Passage
from training.policy.environment import Configuration, Environment, InvalidConfiguration
from training.policy.reward import Reward
from training.policy.rows import Row

_log = logging.getLogger(__name__)

UNJUDGED, WITHOUT_PROFILE, IS_KNOWN = "unjudged", "without_profile", "without_profile_known"
"""What the advantages are made of, beside the reward. All values are numbers: OpenRLHF averages them."""


class AgentInstance(AgentInstanceBase):  # type: ignore[misc]
    """One rollout, as the executor calls it: `reset` once, and `step` after every turn of the policy."""

    def __init__(
        self, environment: Environment, row: Row, episode: Episode, engine: "Turns", tokens: "Tokens"
    ) -> None:
        self.episode = episode
        self._environment = environment
        self._row = row
        self._engine = engine
        self._tokens = tokens
        self._left_out = 0

    async def reset(self, states: dict[str, Any], **_: Any) -> dict[str, Any]:
        """The first text of the transcript."""
        return {"observation": self.episode.prompt}

    async def step(self, states: dict[str, Any], **_: Any) -> dict[str, Any]:
        """What the turn leads to: an information block, or the end with the reward.

        It does not raise when the judge fails, which would end the training: the sample is `unjudged`.
        """
        episode, sampled = self.episode, self._engine.sampled
        ids = tuple(sampled.token_ids)
        finish: Literal["stop", "length"] = "length" if sampled.finish_reason == "length" else "stop"
        episode.take(Chunk(sampled.text, len(ids), finish, ids))
        feedback = ""
        if episode.pending is not None:
            found = await self._environment.search(
                self._row.user, episode.pending.query, episode.passages_wanted, episode.passages_read
            )
            feedback = self._provide(found)
            if self._room(feedback) <= 0 or episode.tokens_left <= 0:
                episode.cut_off("max_tokens")
        done = episode.finish_reason is not None
        rewarded = await self._outcome() if done else {"rewards": torch.tensor(0.0), "scores": 0.0}
        return {"environment_feedback": feedback, "done": done, **rewarded}

    async def _outcome(self) -> dict[str, Any]:
        trajectory = self.episode.trajectory
        reward = await self._environment.reward(self._row, trajectory)
        logs = extra_logs(self._row, trajectory, reward) | {"passages_left_out": float(self._left_out)}
        return {
            "rewards": torch.tensor(reward.total or 0.0, dtype=torch.float64),
            "scores": reward.score or 0.0,
            "extra_logs": logs,
        }

    def _provide(self, found: Sequence[Passage]) -> str:
        """Show as many of the passages as leave room for the answer; if they are not all, ask for it.

        Feedback that is too long would end the rollout without a word, before it was answered.
        """
        wanted = min(self.episode.tokens_left, max(self._engine.context // ANSWER_SHARE, 1))
        shown = list(found)
        while shown and self._room(self.episode.preview(shown, last=len(shown) < len(found))) < wanted:
            shown.pop()
        withheld = len(found) - len(shown)
        if withheld:
            _log.info("the context is full: withheld %d of the %d passages found", withheld, len(found))
        self._left_out += withheld
        return self.episode.provide(shown, last=len(shown) < len(found))

    def _room(self, feedback: str) -> int:
        return self._engine.context - self._engine.length - len(self._tokens.encode(feedback))


class AgentExecutor(MultiTurnAgentExecutor):  # type: ignore[misc]
    """Runs the rollouts of one process, each with an episode of its own, over one environment."""

    def __init__(self, opened: Callable[[], Awaitable[Environment]] | None = None) -> None:
        """OpenRLHF gives nothing: the environment is then the one of PR2_TRAINING."""
        super().__init__(AgentInstance)
        self._open = opened or _configured
        self._opening: asyncio.Future[Environment] | None = None

    async def execute(
        self,
        prompt: str,
        label: str,
        sampling_params: Any,
        max_length: int,
        hf_tokenizer: Any,
        llm_engine: Any,
        images: Any = None,
    ) -> dict[str, Any]:
        """See MultiTurnAgentExecutor. Raises InvalidConfiguration for a prompt that is not the episode's."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        environment = await asyncio.shield(self._opening)
        row = Row.from_label(label)
        episode = environment.episode(row)
        if prompt != episode.prompt:
            raise InvalidConfiguration(
                "the prompt is not the one of the episode: prepare the prompts with this configuration, and "
                "give OpenRLHF no template for them"
            )
        tokens = Tokens(hf_tokenizer)
        opening = len(tokens.encode(prompt, opening=True))
        if opening >= max_length:
            # OpenRLHF would cut it from the left, and with it the instructions.
            raise InvalidConfiguration(
                f"question {row.question.id!r} begins with {opening} tokens; --data.max_len is {max_length}"
            )
        # One object serves all samples of a prompt, and the parent writes into it.
        sampling = deepcopy(sampling_params)
        turn_tokens, sampling.max_tokens = sampling.max_tokens, 1
        # The token ids hold the closing tag, so the text has to; of EOS, they alone do.
        sampling.stop, sampling.include_stop_str_in_output = list(STOP), True
        sampling.skip_special_tokens = True
        engine = Turns(llm_engine, episode, max_length, turn_tokens)
        one = MultiTurnAgentExecutor(AgentInstance)
        one.agent_instance_cls = lambda: AgentInstance(environment, row, episode, engine, tokens)
        rollout: dict[str, Any] = await one.execute(
            prompt, label, sampling, max_length, tokens, engine, images
        )
        return rollout


class Turns:
    """The engine of one rollout. It caps each turn as the service does, and keeps what was sampled.

    `step` is told the text alone; and the executor gives every turn all that is left of the context, whatever
    `--rollout.max_new_tokens` says. Here that is the most that a turn gets.
    """

    def __init__(self, engine: Any, episode: Episode, context: int, turn_tokens: int | None) -> None:
        self.context = context
        self.length = 0
        """Tokens of the transcript, up to the end of the last turn."""
        self.sampled: Any = None
        self._engine = engine
        self._episode = episode
        self._turn_tokens = turn_tokens

    async def generate(self, token_ids: list[int], sampling: Any, multi_modal_data: Any = None) -> Any:
        """See OpenRLHF's RolloutRayActor. `sampling` is for this turn alone."""
        budget = self._episode.tokens_left
        sampling.max_tokens = min(sampling.max_tokens, budget, self._turn_tokens or budget)
        output = await self._engine.generate(token_ids, sampling, multi_modal_data=multi_modal_data)
        self.sampled = output.outputs[0]
        self.length = len(token_ids) + len(self.sampled.token_ids)
        return output


class Tokens:
    """The tokenizer of one rollout: the opening begins as the model's texts do, and nothing else does.

    The parent encodes all of them alike, without a BOS token; see agent/tokens.py for the rule.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._has_begun = False

    def __call__(self, text: str, **_: Any) -> dict[str, torch.Tensor]:
        ids = self.encode(text, opening=not self._has_begun)
        self._has_begun = True
        return {"input_ids": torch.tensor([ids])}

    def encode(self, text: str, *, opening: bool = False) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=opening)
        return ids


def extra_logs(row: Row, trajectory: Trajectory, reward: Reward) -> dict[str, float]:
    """What is told of a sample beside its reward; the same keys for every one, as OpenRLHF needs."""
    known = row.without_profile is not None
    return {
        UNJUDGED: float(reward.score is None),
        WITHOUT_PROFILE: row.without_profile or 0.0,
        IS_KNOWN: float(known),
        "answered": float(trajectory.answer is not None),
        "cut_off": float(trajectory.finish_reason == "max_tokens"),
        "searches": float(trajectory.searches),
        "passages_read": float(len(trajectory.documents_read)),
        "policy_tokens": float(trajectory.policy_tokens),
        "violations": float(sum(trajectory.violations.values())),
        "cost_searches": reward.searches,
        "cost_violations": reward.violations,
        "cost_invalid": reward.invalid,
    }


async def _configured() -> Environment:
    return await Environment.open(Configuration.load())
