"""Rollouts with OpenRLHF (0.11.2): its executor for multi-turn agents runs the service's own episode.

`--train.agent_func_path` names this file. For the same sampled text, transcript and token ids equal those of
the service; where OpenRLHF differs, this file, and no other, corrects it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Literal

import torch
from openrlhf.utils.agent import AgentInstanceBase, MultiTurnAgentExecutor

from agent.driver import searched
from agent.episode import Episode
from agent.policy import Chunk
from agent.tags import STOP
from agent.tokenizer import text_tokenizer
from agent.tokens import ANSWER_SHARE
from agent.trajectory import Trajectory
from index.documents import Passage
from index.values import Notice
from training.policy.environment import Configuration, Environment, InvalidConfiguration
from training.policy.reward import Reward
from training.policy.rows import Row

_log = logging.getLogger(__name__)

UNJUDGED, WITHOUT_PROFILE, IS_KNOWN = "unjudged", "without_profile", "without_profile_known"
"""Log entries that advantages are computed from. OpenRLHF averages log entries, so all are numbers."""


class AgentInstance(AgentInstanceBase):  # type: ignore[misc]
    """One rollout. The executor calls `reset` once, and `step` after every turn of the policy."""

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
        """Returns the transcript before the first turn, with the passages that the method opens with.

        Raises InvalidConfiguration if it leaves no room for a turn.
        """
        self._check_room(self._room())
        if self.episode.pending is not None:
            self._check_room(self._room(await self._searched()))
        return {"observation": self.episode.prompt}

    async def step(self, states: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Returns the result of the turn: an information block, or the end of the rollout with its reward.

        If a part of the reward fails, the sample is marked `unjudged`: an exception would end the training.
        """
        episode, sampled = self.episode, self._engine.sampled
        ids = tuple(sampled.token_ids)
        finish: Literal["stop", "length"] = "length" if sampled.finish_reason == "length" else "stop"
        episode.take(Chunk(sampled.text, len(ids), finish, ids))
        feedback = ""
        if episode.pending is not None:
            feedback = await self._searched()
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

    async def _searched(self) -> str:
        """Answer the pending search. Returns the information block."""
        search = partial(self._environment.search, self._row)
        notice = partial(self._environment.notices, self._row)
        return self._provide(*await searched(self.episode, search, notice))

    def _provide(self, found: Sequence[Passage], notices: Sequence[Notice]) -> str:
        """Show as many passages as leave room for the answer; if some are withheld, ask for the answer.

        Feedback that is too long would silently end the rollout before the answer.
        """
        wanted = min(self.episode.tokens_left, max(self._engine.context // ANSWER_SHARE, 1))
        shown = list(found)
        preview = partial(self.episode.preview, notices=notices)
        while shown and self._room(preview(shown, last=len(shown) < len(found))) < wanted:
            shown.pop()
        withheld = len(found) - len(shown)
        if withheld:
            _log.info("the context is full: withheld %d of the %d passages found", withheld, len(found))
        self._left_out += withheld
        return self.episode.provide(shown, last=len(shown) < len(found), notices=notices)

    def _room(self, feedback: str = "") -> int:
        return self._engine.context - self._engine.length - len(self._tokens.encode(feedback))

    def _check_room(self, room: int) -> None:
        if room <= 0:
            # OpenRLHF would truncate it from the left, and lose the instructions.
            context = self._engine.context
            raise InvalidConfiguration(
                f"the prompt of question {self._row.question.id!r} has {context - room} tokens; "
                f"--data.max_len is {context}"
            )


class AgentExecutor(MultiTurnAgentExecutor):  # type: ignore[misc]
    """Runs the rollouts of one process, each with its own episode, in one shared environment."""

    def __init__(self, opened: Callable[[], Awaitable[Environment]] | None = None) -> None:
        """OpenRLHF passes no arguments: then the environment is the one that PR2_TRAINING configures."""
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
        """See MultiTurnAgentExecutor. Raises InvalidConfiguration if the prompt is not the episode's."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        environment = await asyncio.shield(self._opening)
        row = Row.from_label(label)
        episode = environment.episode(row)
        if prompt != episode.prompt:
            raise InvalidConfiguration(
                "the prompt differs from the episode's: prepare the prompts with this configuration, and "
                "give OpenRLHF no template for them"
            )
        tokens = Tokens(hf_tokenizer, episode)
        # All samples of a prompt share one object, which the parent class modifies.
        sampling = deepcopy(sampling_params)
        turn_tokens, sampling.max_tokens = sampling.max_tokens, 1
        # The text has to contain the closing tag, as the token ids do; EOS is in the token ids only.
        sampling.stop, sampling.include_stop_str_in_output = list(STOP), True
        sampling.skip_special_tokens = True
        engine = Turns(llm_engine, episode, max_length, turn_tokens)
        engine.length = len(tokens.encode(prompt, opening=True))
        one = MultiTurnAgentExecutor(AgentInstance)
        one.agent_instance_cls = lambda: AgentInstance(environment, row, episode, engine, tokens)
        rollout: dict[str, Any] = await one.execute(
            prompt, label, sampling, max_length, tokens, engine, images
        )
        return rollout


class Turns:
    """The engine of one rollout: it limits each turn as the service does, and keeps the sampled tokens.

    The executor passes only text to `step`, and allows each turn the rest of the context, ignoring
    `--rollout.max_new_tokens`. Here, that option limits a turn.
    """

    def __init__(self, engine: Any, episode: Episode, context: int, turn_tokens: int | None) -> None:
        self.context = context
        self.length = 0
        """Tokens of the transcript up to the end of the last turn; before the first, of the prompt."""
        self.sampled: Any = None
        self._engine = engine
        self._episode = episode
        self._turn_tokens = turn_tokens

    async def generate(self, token_ids: list[int], sampling: Any, multi_modal_data: Any = None) -> Any:
        """See OpenRLHF's RolloutRayActor. `sampling` applies to this turn only."""
        budget = self._episode.tokens_left
        sampling.max_tokens = min(sampling.max_tokens, budget, self._turn_tokens or budget)
        output = await self._engine.generate(token_ids, sampling, multi_modal_data=multi_modal_data)
        self.sampled = output.outputs[0]
        self.length = len(token_ids) + len(self.sampled.token_ids)
        return output


class Tokens:
    """The tokenizer of one rollout: it adds the model's BOS token to the opening, and to nothing else.

    The parent class would add none, and would encode the opening together with the passages of the first
    search; see agent/tokens.py for the rule.
    """

    def __init__(self, tokenizer: Any, episode: Episode) -> None:
        self._tokenizer = text_tokenizer(tokenizer)
        self._episode = episode
        self._has_begun = False

    def __call__(self, text: str, **_: Any) -> dict[str, torch.Tensor]:
        """Encode the first observation, whose segments the episode knows, and then each feedback."""
        texts = [text] if self._has_begun else [segment.text for segment in self._episode.segments]
        ids: list[int] = []
        for part in texts:
            ids += self.encode(part, opening=not self._has_begun)
            self._has_begun = True
        return {"input_ids": torch.tensor([ids])}

    def encode(self, text: str, *, opening: bool = False) -> list[int]:
        return self._tokenizer.encode(text, opening)


def extra_logs(row: Row, trajectory: Trajectory, reward: Reward) -> dict[str, float]:
    """The log entries of a sample; the keys are always the same, as OpenRLHF requires."""
    known = row.without_profile is not None
    return {
        UNJUDGED: float(reward.total is None),
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
        **{f"bonus_{name}": bonus or 0.0 for name, bonus in reward.bonuses.items()},
        **{f"{name}_failed": float(bonus is None) for name, bonus in reward.bonuses.items()},
    }


async def _configured() -> Environment:
    return await Environment.open(Configuration.load())
