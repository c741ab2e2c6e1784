"""The training environment of a policy: the service's own episodes, a store of profiles, and the reward.

Each process that rolls out opens one. The store is prepared in advance and only read.
"""

import asyncio
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent.episode import Episode
from agent.history import History
from agent.methods import METHODS
from agent.prompts import PROMPT_VERSION
from agent.trajectory import Limits, Search, Trajectory
from index.documents import Passage, first_fault
from index.profiles import Profiles, open_profiles
from index.ranking.retrievers import Retrievers
from index.searching import AsyncSearch
from index.storage.location import FILE, file_url
from index.values import Notice
from index.when.scope import scope_as_of
from training.errors import TrainingError
from training.judging.factory import InvalidJudge, JudgeConfiguration
from training.policy.advantage import Formula
from training.policy.prlm_reward import PrlmSettings
from training.policy.reward import Costs, Reward, RewardFunction
from training.policy.rows import DEFAULT_METHOD, TRAINABLE, Referenced, Row
from training.policy.rubric_reward import RubricSettings

CONFIGURATION = "PR2_TRAINING"
"""Environment variable with the path of the configuration file."""


class InvalidConfiguration(TrainingError, ValueError):
    """Training cannot use this configuration; the message says what to change."""


class Configuration(BaseModel):
    """Settings of the environment, written as JSON by `pr2 train prepare` and read by every worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    """Folder of the store."""
    method: str = Field(DEFAULT_METHOD, exclude_if=lambda name: name == DEFAULT_METHOD)
    """Method that begins episodes, by its name in agent.methods. The default is not written to the file, so
    that folders prepared before the field existed stay valid."""
    encoder: str = "minilm"
    """The encoder that the store was made with. It is loaded only if the retriever needs vectors."""
    spaces: dict[str, str] = Field({}, exclude_if=lambda spaces: not spaces)
    """Further embedding spaces of the store: name → encoder. As with `method`, the default is not written."""
    retriever: str = "hybrid"
    limits: Limits = Limits()
    judge: JudgeConfiguration = JudgeConfiguration()
    costs: Costs = Costs()
    reward: Annotated[RubricSettings | PrlmSettings, Field(discriminator="name")] = Field(
        RubricSettings(), exclude_if=lambda settings: settings.name == "rubric"
    )
    """The reward, by its name. As with `method`, the default is not written."""
    formula: Formula = Formula("without_profile")
    """Formula that turns rewards into advantages."""
    prompt_version: str = PROMPT_VERSION

    @field_validator("method")
    @classmethod
    def _is_trainable(cls, name: str) -> str:
        if name in METHODS and METHODS[name].plans:
            raise ValueError(f"the plan of {name!r} is a model's of its own, which pr2 train planner trains")
        if name not in TRAINABLE:
            raise ValueError(f"no policy can be trained for {name!r}, only for {', '.join(TRAINABLE)}")
        return name

    @classmethod
    def load(cls) -> "Configuration":
        """Read the file that PR2_TRAINING names. Raises InvalidConfiguration."""
        file = os.environ.get(CONFIGURATION)
        if not file:
            raise InvalidConfiguration(
                f"{CONFIGURATION} is not set: it must be the path of the training configuration"
            )
        return cls.read(Path(file))

    @classmethod
    def read(cls, file: Path) -> "Configuration":
        """Read a configuration that `pr2 train prepare` wrote. Raises InvalidConfiguration."""
        try:
            return cls.model_validate_json(file.read_text("utf-8"))
        except OSError as error:
            raise InvalidConfiguration(f"{file} cannot be read: {error.strerror}") from None
        except ValidationError as error:
            raise InvalidConfiguration(f"{file}, {first_fault(error, 'file')}") from None


class Environment:
    """Begins episodes, searches profiles and rewards trajectories. For use in one event loop."""

    def __init__(
        self,
        configuration: Configuration,
        profiles: Profiles,
        rewards: RewardFunction,
    ) -> None:
        """See `open`, which creates the profiles and the reward. `aclose` closes both."""
        self.configuration = configuration
        self._method = METHODS[configuration.method]
        self._profiles = profiles
        self._rewards = rewards
        self._search = AsyncSearch(profiles)

    @classmethod
    async def open(cls, configuration: Configuration) -> "Environment":
        """Open the store, load the encoder, and reach what the reward needs.

        Raises InvalidConfiguration, JudgeUnavailable, CacheUnavailable, EncoderUnavailable, EncoderMismatch,
        StoreUnavailable, UnknownRetriever.
        """
        if configuration.prompt_version != PROMPT_VERSION:
            raise InvalidConfiguration(
                f"the prompts were prepared in version {configuration.prompt_version}, but episodes use "
                f"version {PROMPT_VERSION}: prepare them again (pr2 train prepare)"
            )
        profiles = await asyncio.to_thread(_profiles, configuration)
        try:
            # Next to the store, so that other processes and later runs use the verdicts.
            rewards = await configuration.reward.open(
                configuration.judge, configuration.data / "verdicts.db", configuration.costs
            )
        except InvalidJudge as error:
            profiles.store.close()
            raise InvalidConfiguration(str(error)) from None
        except BaseException:
            profiles.store.close()
            raise
        return cls(configuration, profiles, rewards)

    async def check(self) -> None:
        """Raises TrainingError if the reward's judge or reward model does not answer, or not with a score."""
        await self._rewards.check()

    def episode(self, row: Row) -> Episode:
        """Begin the episode of the row's question exactly as the service does."""
        return row.begin(self.configuration.limits, self._method)

    async def search(
        self, row: Row, search: Search, k: int, exclude: Collection[tuple[str, int]]
    ) -> Sequence[Passage]:
        """Search the row's profile on its day, see agent.driver.Searcher.

        Runs in a thread; queries of concurrent rollouts are encoded as one batch.
        """
        return await self._history(row).search(search, k, exclude)

    async def notices(self, row: Row, question: str, search: Search) -> Sequence[Notice]:
        """See agent.driver.Noticer. None for LaMP: its inputs ask nothing of a history, and evaluations of
        them have none either."""
        if isinstance(row.question, Referenced):
            return ()
        return await self._history(row).notice(question, search)

    def _history(self, row: Row) -> History:
        return History(self._search, row.user, self.configuration.retriever, scope_as_of(row.day))

    async def reward(self, row: Row, trajectory: Trajectory) -> Reward:
        """Reward the trajectory; its total is None if the judge or the reward model failed.

        Only the answer is scored, as in an evaluation.
        """
        return await self._rewards.reward(row, trajectory)

    async def aclose(self) -> None:
        """Close connections and files."""
        await self._rewards.aclose()
        self._profiles.store.close()


async def check(configuration: Configuration) -> None:
    """Open an environment and check its reward, before hours of training. Raises what both raise."""
    environment = await Environment.open(configuration)
    try:
        await environment.check()
    finally:
        await environment.aclose()


def _profiles(configuration: Configuration) -> Profiles:
    if not (configuration.data / FILE).exists():
        raise InvalidConfiguration(
            f"there is no store in {configuration.data}: prepare it (pr2 train prepare)"
        )
    name, spaces = configuration.retriever, configuration.spaces
    needs_vectors = name not in spaces and Retrievers().get(name).needs_vectors
    profiles = open_profiles(
        file_url(configuration.data),
        configuration.encoder if needs_vectors else None,
        spaces={name: spaces[name]} if name in spaces else None,
    )
    try:
        profiles.store.open()
    except BaseException:
        profiles.store.close()
        raise
    return profiles
