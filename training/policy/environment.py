"""Where a policy is trained: the service's own episodes, each over its own person's profile, and the judge.

One object in each process that rolls out. The store is prepared beforehand and only read.
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
from training.errors import TrainingError
from training.judging.cache import CacheUnavailable
from training.judging.factory import InvalidJudge, JudgeConfiguration, JudgeUnavailable, open_judge
from training.judging.judge import Judge, Unjudged, judged
from training.policy.advantage import Formula
from training.policy.reward import Costs, Reward, reward
from training.policy.rows import DEFAULT_METHOD, Row
from training.tasks.lampqa.data import Aspect, Question

CONFIGURATION = "PR2_TRAINING"
"""The environment variable that names the configuration's file."""

TRAINABLE = (DEFAULT_METHOD,)
"""The methods whose policy can be trained: each turn is the policy's, and its searches are its own."""

_log = logging.getLogger(__name__)


class InvalidConfiguration(TrainingError, ValueError):
    """Nothing can be trained with this configuration. The message says what to change."""


class Configuration(BaseModel):
    """What the environment is made of; written as JSON by `pr2 train prepare`, read by every worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path
    """The folder of the store."""
    method: str = Field(DEFAULT_METHOD, exclude_if=lambda name: name == DEFAULT_METHOD)
    """How episodes begin, a name in agent.methods. The default is not written, so that folders prepared
    before there was a choice can be used."""
    encoder: str = "minilm"
    """The one that the store was made with; it is loaded where the retriever needs vectors."""
    retriever: str = "hybrid"
    limits: Limits = Limits()
    judge: JudgeConfiguration = JudgeConfiguration()
    costs: Costs = Costs()
    formula: Formula = Formula("without_profile")
    """How rewards become advantages."""
    prompt_version: str = PROMPT_VERSION

    @field_validator("method")
    @classmethod
    def _is_trainable(cls, name: str) -> str:
        if name not in TRAINABLE:
            raise ValueError(f"there is no training for the method {name!r}, only for {', '.join(TRAINABLE)}")
        return name

    @classmethod
    def load(cls) -> "Configuration":
        """Read the file that PR2_TRAINING names. Raises InvalidConfiguration."""
        file = os.environ.get(CONFIGURATION)
        if not file:
            raise InvalidConfiguration(
                f"{CONFIGURATION} names no file with the configuration of the training"
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
    """Gives episodes, looks into profiles, and scores what was answered. Use it in one event loop."""

    def __init__(
        self,
        configuration: Configuration,
        profiles: Profiles,
        judge: Judge,
    ) -> None:
        """`open` makes one of what the configuration names. `judge` is closed with it."""
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
                f"the prompts were prepared in version {configuration.prompt_version}, and episodes are in "
                f"version {PROMPT_VERSION}: prepare them anew (pr2 train prepare)"
            )
        profiles = await asyncio.to_thread(_profiles, configuration)
        try:
            # Beside the store: what one process has paid for serves the others, and the next run.
            judge = await open_judge(configuration.judge, configuration.data / "verdicts.db")
        except InvalidJudge as error:
            profiles.store.close()
            raise InvalidConfiguration(str(error)) from None
        except BaseException:
            profiles.store.close()
            raise
        return cls(configuration, profiles, judge)

    async def check(self) -> None:
        """Have the judge grade something that no cache knows. Raises JudgeUnavailable."""
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
        """The episode of the row's question, as the service would begin it."""
        return self._method.begin(row.question.question, self.configuration.limits)

    async def search(
        self, user: str, query: str, k: int, exclude: Collection[tuple[str, int]]
    ) -> Sequence[Passage]:
        """See Profiles.search. In a thread; the queries of concurrent rollouts are encoded together."""
        found = await self._search.search(user, [query], k, self.configuration.retriever, exclude)
        return found[0]

    async def reward(self, row: Row, trajectory: Trajectory) -> Reward:
        """What the trajectory is worth; without a score where no verdict was got.

        The judge sees the answer alone, as it does in an evaluation.
        """
        aspects = None
        if trajectory.answer is not None:
            try:
                aspects = await judged(self._judge, row.question, trajectory.answer.text)
            except CacheUnavailable as error:
                _log.warning("an answer stays unjudged: %s", error)
        return reward(trajectory, aspects, self.configuration.costs)

    async def aclose(self) -> None:
        """Let go of connections and files."""
        await self._judge.aclose()
        self._profiles.store.close()


async def check(configuration: Configuration) -> None:
    """Show that everything is there, before hours of training begin. Raises what `open` and `check` raise."""
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
    needs_vectors = Retrievers().get(configuration.retriever).needs_vectors
    profiles = open_profiles(file_url(configuration.data), configuration.encoder if needs_vectors else None)
    try:
        profiles.store.open()
    except BaseException:
        profiles.store.close()
        raise
    return profiles
