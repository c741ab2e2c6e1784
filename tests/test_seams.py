"""The seams hold: a toy engine, a toy retriever and a toy task are evaluated together, end to end.

Each is one class and one registration, in the tests of its own package.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.engines.factory import make_policy
from agent.engines.registry import ENGINES
from agent.engines.registry import register as register_engine
from agent.engines.settings import EngineSettings
from index.profiles import Profiles
from index.storage.store import Store
from tests.agent.engines.test_registry import Toy
from tests.index.fakes import HashEncoder
from tests.index.ranking.test_retrievers import OwnSpace
from tests.training.evaluation.test_toy_task import CHOICES, Preferences
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.loading import read_trajectories
from training.evaluation.local import LocalAnswers
from training.judging.lexical import LexicalJudge
from training.tasks import TASKS, task_named
from training.tasks import register as register_task


@pytest.fixture
def registered() -> Iterator[None]:
    register_engine(Toy())
    register_task(Preferences())
    yield
    del ENGINES["toy"], TASKS["preferences"]


@pytest.mark.usefixtures("registered")
async def test_a_toy_task_is_answered_by_a_toy_engine_over_a_toy_retriever(tmp_path: Path) -> None:
    encoder = HashEncoder()
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
    profiles = Profiles(store, encoder)
    own = OwnSpace()
    profiles.retrievers.register(own)
    answers = LocalAnswers(profiles, make_policy(EngineSettings(engine="toy")))
    evaluation: Evaluation[Any] = Evaluation(
        tmp_path / "run", task_named("preferences"), retriever=own.name, most=1
    )
    outcome = await evaluate(evaluation, answers, LexicalJudge())
    store.close()
    question = CHOICES[0]
    trajectory = read_trajectories(tmp_path / "run", [question.id])[question.id]
    assert trajectory.answer is not None
    assert trajectory.answer.citations[0].quote == question.profile[0].text
    assert outcome.summary.macro.score == 1
    assert own.model.calls == [["I prefer green tea."], ["tea"]]
