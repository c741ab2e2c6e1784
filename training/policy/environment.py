"""The training environment of a policy: the service's own episodes, a store of profiles, and the judge.

Each process that rolls out opens one. The store is prepared in advance and only read.
"""

import asyncio
import logging
import os
import uuid
from collections.abc import Collection, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent.episode import Episode
from agent.methods import METHODS
from agent.prompts import PROMPT_VERSION
from agent.trajectory import Limits, Trajectory
from index.documents import Passage, first_fault
from index.profiles import Profiles, open_profiles
from index.ranking.retrievers import Retrievers
from index.searching import AsyncSearch
from index.storage.location import FILE, file_url
from training.cachefile import CacheUnavailable
from training.errors import TrainingError
from training.judging.factory import InvalidJudge, JudgeConfiguration, JudgeUnavailable, open_judge
from training.judging.judge import Judge, Unjudged, judged
from training.policy.advantage import Formula
from training.policy.reward import Costs, Reward, reward
from training.policy.rows import DEFAULT_METHOD, Row
from training.tasks.lampqa.data import Aspect, Question

CONFIGURATION = "PR2_TRAINING"
"""Environment variable with the path of the configuration file."""

TRAINABLE = (DEFAULT_METHOD,)
"""Methods that a policy can be trained for: it writes every turn and decides itself when to search."""

_log = logging.getLogger(__name__)


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
    formula: Formula = Formula("without_profile")
    """Formula that turns rewards into advantages."""
    prompt_version: str = PROMPT_VERSION

    @field_validator("method")
    @classmethod
    def _is_trainable(cls, name: str) -> str:
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
    """Begins episodes, searches profiles and scores answers. For use in one event loop."""

    def __init__(
        self,
        configuration: Configuration,
        profiles: Profiles,
        judge: Judge,
    ) -> None:
        """See `open`, which creates the profiles and the judge. `aclose` closes both."""
        self.configuration = configuration
        self._method = METHODS[configuration.method]
        self._profiles = profiles
        self._judge = judge
        self._search = AsyncSearch(profiles)

    @classmethod
    async def open(cls, configuration: Configuration) -> "Environment":
        """Open the store, load the encoder, and reach the judge.

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
            judge = await open_judge(configuration.judge, configuration.data / "verdicts.db")
        except InvalidJudge as error:
            profiles.store.close()
            raise InvalidConfiguration(str(error)) from None
        except BaseException:
            profiles.store.close()
            raise
        return cls(configuration, profiles, judge)

    async def check(self) -> None:
        """Have the judge grade an answer that no cache can hold. Raises JudgeUnavailable."""
        aspect = Aspect(aspect="It greets", reason="", evidence="")
        question = Question(
            id="check",
            question="What do you say to me?",
            category="",
            narrative="",
            rubric_aspects=(aspect,),
            profile=(),
        )
        try:
            await self._judge.judge(question, aspect, f"Hello, {uuid.uuid4().hex}!")
        except Unjudged as error:
            raise JudgeUnavailable(
                f"the judge {self._judge.name} at {self.configuration.judge.url} gave no verdict: {error}"
            ) from None

    def episode(self, row: Row) -> Episode:
        """Begin the episode of the row's question exactly as the service does."""
        return self._method.begin(row.question.question, self.configuration.limits)

    async def search(
        self, user: str, query: str, k: int, exclude: Collection[tuple[str, int]]
    ) -> Sequence[Passage]:
        """See Profiles.search. Runs in a thread; queries of concurrent rollouts are encoded as one batch."""
        found = await self._search.search(user, [query], k, self.configuration.retriever, exclude)
        return found[0]

    async def reward(self, row: Row, trajectory: Trajectory) -> Reward:
        """Reward the trajectory; its score is None if the judge failed.

        The judge sees only the answer, as in an evaluation.
        """
        aspects = None
        if trajectory.answer is not None:
            try:
                aspects = await judged(self._judge, row.question, trajectory.answer.text)
            except CacheUnavailable as error:
                _log.warning("an answer is left unjudged: %s", error)
        return reward(trajectory, aspects, self.configuration.costs)

    async def aclose(self) -> None:
        """Close connections and files."""
        await self._judge.aclose()
        self._profiles.store.close()


async def check(configuration: Configuration) -> None:
    """Open an environment and check its judge, before hours of training. Raises what both raise."""
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
