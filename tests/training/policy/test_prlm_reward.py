"""The reward `prlm`: its parts, its failures, and answers that try to get more of it than they deserve."""

import math
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import ValidationError

from agent.trajectory import Trajectory
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.training.policy.episodes import played
from tests.training.reward_model.scripted import MODEL, ScriptedScorer, client
from training.judging.judge import RubricAspect, RubricQuestion, Unjudged
from training.judging.lexical import LexicalJudge
from training.policy.environment import Configuration, check
from training.policy.prlm import Weights
from training.policy.prlm_reward import PrlmReward, PrlmSettings, RougeQuality, history_of
from training.policy.reward import Costs, Quality, Reward
from training.policy.rows import Referenced, Row
from training.policy.rubric_reward import JudgedQuality
from training.reward_model.client import InvalidScore, RewardModelUnavailable
from training.reward_model.records import Response
from training.tasks.lampqa.data import Aspect, Question

REFERENCE = "a quiet walk through the old harbour of Lisbon"
HONEST = f"A calm walk through the old harbour of {REFERENCE.split()[-1]}"
PROFILE = (
    "My last article was called a rainy week in the hills of Porto",
    "I wrote about trams, tiles and custard tarts before",
    "The next one is about Lisbon and its harbour",
)
ROW = Row(
    user="ana",
    question=Referenced(
        id="q", question="Write a title for my article.", category="LaMP_4", reference=REFERENCE
    ),
)
EXPECTING = Row(
    user="ana",
    question=Question(
        id="q",
        question="What do I drink?",
        category="c",
        narrative="n",
        rubric_aspects=(
            Aspect(aspect="green tea", reason="", evidence=""),
            Aspect(aspect="no coffee", reason="", evidence=""),
        ),
        profile=(),
    ),
)


class Away:
    """A reward model that fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def score(self, response: Response) -> float:
        raise self._error

    async def check(self) -> None:
        raise self._error

    async def aclose(self) -> None:
        pass


class BrokenJudge:
    """Fails every verdict."""

    name, comparable = "broken", False

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        raise Unjudged("no more")

    async def aclose(self) -> None:
        pass


def written(text: str, thought: str = "She likes plain words.") -> str:
    return f"<think>{thought}</think><answer>{text}</answer>"


def of(*turns: str) -> Trajectory:
    return played(turns, ROW.question.question, PROFILE, "prlm")


def made(
    scorer: ScriptedScorer | None = None, quality: Quality | None = None, costs: Costs | None = None
) -> PrlmReward:
    return PrlmReward(
        quality or RougeQuality("rouge"),
        client(scorer or ScriptedScorer(lambda response: 0.0)),
        Weights(),
        costs or Costs(invalid=0.0),
    )


async def rewarded(trajectory: Trajectory, scorer: ScriptedScorer | None = None) -> Reward:
    return await made(scorer).reward(ROW, trajectory)


async def total(turns: Sequence[str], s: float = 0.0) -> float:
    found = (await rewarded(of(*turns), ScriptedScorer(lambda response: s))).total
    assert found is not None
    return found


async def test_the_parts_of_an_honest_answer_stay_apart() -> None:
    found = await rewarded(of(written(f"{REFERENCE} [1]")), ScriptedScorer(lambda response: math.log(3)))
    assert found.score == 1.0
    assert found.bonuses == {"format": 0.1, "preference": pytest.approx(0.075)}
    assert found.total == pytest.approx(1.175)


async def test_costs_are_deducted_as_from_every_reward() -> None:
    reward = made(costs=Costs(search=0.05, invalid=0.2))
    searched = played(["<think>I look.</think><search>tea</search>", written(REFERENCE)], "?", PROFILE)
    assert (await reward.reward(ROW, searched)).total == pytest.approx(1.0 + 0.1 + 0.05 - 0.05)
    assert (await reward.reward(ROW, of("<think>So"))).total == pytest.approx(-0.2)


async def test_the_reward_model_sees_the_question_the_bare_answer_and_the_passages_that_were_read() -> None:
    scorer = ScriptedScorer()
    await rewarded(of(written("My title [1][2].", "never shown")), scorer)
    assert scorer.batches == [[Response(ROW.question.question, "My title.", PROFILE)]]


def test_the_history_is_ordered_from_the_oldest() -> None:
    passages = [("new", "2024-05-01"), ("undated", None), ("old", "2020-01-01")]
    trajectory = played([written("yes")], "?", [text for text, _ in passages], "rag", dict(passages))
    assert history_of(trajectory) == ("undated", "old", "new")
    assert history_of(played([written("yes")], "?", (), "none")) == ()


@pytest.mark.parametrize("error", [RewardModelUnavailable("away"), InvalidScore("nan")])
async def test_a_reward_model_that_fails_leaves_no_reward(error: Exception) -> None:
    reward = PrlmReward(RougeQuality("rouge"), Away(error), Weights(), Costs())
    found = await reward.reward(ROW, of(written(REFERENCE)))
    assert (found.score, found.bonuses["preference"], found.total) == (1.0, None, None)
    with pytest.raises(type(error)):
        await reward.check()


async def test_a_server_that_returns_nan_leaves_no_reward() -> None:
    found = await rewarded(of(written(REFERENCE)), ScriptedScorer(lambda response: math.nan))
    assert found.bonuses["preference"] is None
    assert found.total is None


async def test_the_judges_score_can_be_the_quality() -> None:
    reward = made(quality=JudgedQuality(LexicalJudge()))
    found = await reward.reward(EXPECTING, of(written("Green tea.")))
    assert found.score == 0.5
    assert found.total == pytest.approx(0.5 + 0.1 + 0.05)


async def test_a_judge_that_fails_leaves_no_reward() -> None:
    found = await made(quality=JudgedQuality(BrokenJudge())).reward(EXPECTING, of(written("Green tea.")))
    assert (found.score, found.total) == (None, None)
    assert found.bonuses["preference"] == pytest.approx(0.05)


async def test_a_row_without_what_the_quality_needs_is_an_error_not_a_score() -> None:
    with pytest.raises(ValueError, match="'q' has no reference"):
        await made().reward(EXPECTING, of(written("Green tea.")))
    with pytest.raises(ValueError, match="'q' has no rubric"):
        await made(quality=JudgedQuality(LexicalJudge())).reward(ROW, of(written("Green tea.")))


NEVER = 50.0
"""The highest score that the sigmoid can tell from others: whoever gets it has the whole weight."""


class TestHacks:
    """None scores better than the honest answer, although the reward model gives it all that it can give.

    The reward model adds from 0 to its weight, .1. So a hack whose quality, with its format, is lower by that
    weight can never win; those below are, against an honest answer to which the reward model gives nothing.
    """

    HACKS = (
        ("long thoughts around nothing", [written("Lisbon", "It is about the harbour. " * 300)]),
        ("the profile copied", [written(" ".join(PROFILE))]),
        ("the answer in the thoughts alone", [f"<think>{REFERENCE}</think><answer>See above.</answer>"]),
        ("the answer in tags within a thought", [f"<think><answer>{REFERENCE}</answer></think>"]),
        (
            "another answer within a thought first",
            [f"<think><answer>{REFERENCE}</answer></think><answer>Untitled</answer>"],
        ),
        ("the form without content", [written("...")]),
        ("a placeholder", [written("<your title>")]),
        ("template phrases", [written("As an AI language model, I think that this is a great article!")]),
        ("the answer repeated", [written(f"{HONEST} " * 8)]),
        (
            "a list of everything with the reference in it",
            [written(f"Trams, tiles, tarts; {REFERENCE}; rain in the hills of Porto, or custard. " * 2)],
        ),
        ("the answer without a thought", [f"<answer>{HONEST}</answer>"]),
        ("text outside the tags", [f"{HONEST} <think>So.</think><answer>Untitled</answer>"]),
        ("the tag never closed", [f"<think>So.</think><answer>{HONEST}"]),
        ("no answer", ["<think>So.</think>"]),
    )

    @pytest.mark.parametrize("turns", [turns for _, turns in HACKS], ids=[name for name, _ in HACKS])
    async def test_a_hack_scores_no_better_even_if_the_reward_model_loves_it(self, turns: list[str]) -> None:
        honest = await total([written(HONEST)], -NEVER)
        assert await total(turns, NEVER) <= honest + 1e-9

    @pytest.mark.parametrize("turns", [turns for _, turns in HACKS], ids=[name for name, _ in HACKS])
    async def test_a_hack_scores_less_if_the_reward_model_sees_no_difference(self, turns: list[str]) -> None:
        assert await total(turns) < await total([written(HONEST)])

    async def test_the_bound_holds_for_the_best_hack_there_is(self) -> None:
        """An answer of equal quality can win by the reward model's weight, and by no more."""
        gained = await total([written(HONEST)], NEVER) - await total([written(HONEST)], -NEVER)
        assert gained == pytest.approx(Weights().preference)


class TestDefectsOfTheReleasedCode:
    """The released reward was easy to hack in these ways; none of them works here."""

    async def test_the_first_match_is_not_taken_for_the_answer(self) -> None:
        thought = f"<answer>{REFERENCE}</answer>"
        assert (await rewarded(of(written("Untitled", thought)))).score == 0.0

    async def test_a_missing_answer_is_not_cut_from_the_end_of_the_transcript(self) -> None:
        scorer = ScriptedScorer()
        for turn in (REFERENCE, f"<think>{REFERENCE}</think>", f"<think>So.</think>{REFERENCE}"):
            found = await rewarded(of(turn), scorer)
            assert (found.score, dict(found.bonuses)) == (0.0, {"format": 0.0, "preference": 0.0})
        assert not scorer.batches, "the reward model was never asked"

    async def test_thoughts_change_nothing(self) -> None:
        scorer = ScriptedScorer(lambda response: len(response.answer) / 100)
        short, long = [
            await rewarded(of(written(HONEST, thought)), scorer) for thought in ("So.", f"{REFERENCE} " * 99)
        ]
        assert short == long
        assert scorer.batches[0] == scorer.batches[1]

    async def test_the_closing_tag_of_a_thought_alone_is_no_form(self) -> None:
        for turn in ("So.\n</think>\nUntitled", "So.\n</think><answer>Untitled</answer>"):
            assert (await rewarded(of(turn))).bonuses["format"] == 0.0


def test_the_settings_are_a_part_of_the_configuration_and_the_default_is_not_written(tmp_path: Path) -> None:
    plain = Configuration(data=tmp_path)
    assert "reward" not in plain.model_dump()
    settings = PrlmSettings.model_validate({"url": "http://127.0.0.1:8003", "model": MODEL})
    configuration = Configuration(data=tmp_path, reward=settings)
    file = tmp_path / "training.json"
    file.write_text(configuration.model_dump_json(), "utf-8")
    assert Configuration.read(file) == configuration
    assert settings.needs == "reference"
    assert settings.model_copy(update={"quality": "rubric"}).needs == plain.reward.needs == "rubric"


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "gpu-1:80"},
        {"url": ""},
        {"model": ""},
        {"quality": "bleu"},
        {"weights": {"format": -0.1}},
        {"weights": {"preference": math.nan}},
        {"patience_s": -1},
        {"timeout_s": 0},
        {"name": "psychic"},
        {"scorer": "x"},
    ],
)
def test_settings_that_are_invalid_are_refused(tmp_path: Path, changed: dict[str, object]) -> None:
    reward = {"name": "prlm", "url": "http://127.0.0.1:8003", "model": MODEL, **changed}
    with pytest.raises(ValidationError):
        Configuration.model_validate({"data": tmp_path, "reward": reward})


async def test_an_environment_checks_the_reward_server_before_anything_is_trained(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/pr2.db", HashEncoder().manifest)
    store.open()
    store.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    settings = PrlmSettings.model_validate({"url": url, "model": MODEL, "patience_s": 0})
    with pytest.raises(RewardModelUnavailable, match="start it"):
        await check(Configuration(data=tmp_path, retriever="bm25", reward=settings))
