import asyncio

import pytest

from agent.episode import Episode
from agent.trajectory import Information
from training.demo.prlm.experiment import WITHOUT, rewarded, weighted
from training.demo.prlm.people import Task
from training.demo.prlm.preference import collect, response
from training.demo.prlm.rollout import NONE, PRLM, RAG, Outcome, roll_out
from training.policy.prlm import Weights

from .worlds import PEOPLE, Writer, searching, turn

TASK = Task(PEOPLE[0], "snack")
BOTH = [TASK, Task(PEOPLE[1], "game")]


def _answered(answer: str, method: str = PRLM, k: int = 4) -> Outcome:
    writer = Writer(lambda episode: turn(answer))
    (outcome,) = asyncio.run(roll_out([TASK], writer, method, searching(), k))
    return outcome


@pytest.mark.parametrize(("method", "k", "read"), [(PRLM, 4, 4), (PRLM, 1, 1), (RAG, 8, 8), (NONE, 4, 0)])
def test_as_many_passages_are_read_as_asked_for(method: str, k: int, read: int) -> None:
    outcome = _answered("old figs", method, k)
    passages = [p for s in outcome.trajectory.steps if isinstance(s, Information) for p in s.passages]
    assert len(passages) == read
    assert {each.passage.text for each in passages} <= set(TASK.person.history)
    assert outcome.trajectory.searches == 0


def test_the_score_is_content_and_manner_with_equal_weight() -> None:
    right, manner = TASK.content, TASK.person.manner
    assert _answered(manner(right)).score == 1
    assert _answered(right).score == 0.5
    assert _answered(manner("old")).score < 0.75
    assert _answered(right).content == _answered(manner(right)).content == 1


def test_an_answer_that_is_missing_scores_nothing() -> None:
    writer = Writer(lambda episode: "<think> it is not known.</think>")
    (outcome,) = asyncio.run(roll_out([TASK], writer, PRLM, searching()))
    assert (outcome.answer, outcome.score) == ("", 0)
    (parts,) = rewarded([outcome], lambda responses: [100.0] * len(responses))
    assert parts.total(Weights()) == 0


def test_the_training_reward_does_not_see_the_manner() -> None:
    plain, own = _answered(TASK.content), _answered(TASK.person.manner(TASK.content))
    totals = [each.total(WITHOUT.weights) for each in rewarded([plain, own], WITHOUT.scorer)]
    assert totals == [1.1, 1.1]


def test_the_reward_model_adds_its_preference_to_the_content() -> None:
    plain, own = _answered("old"), _answered(TASK.person.manner(TASK.content))
    with_model = rewarded([plain, own], lambda responses: [0.0, 50.0])
    assert [each.preference for each in with_model] == [0.5, 1.0]
    assert with_model[1].total(Weights()) == pytest.approx(1 + 0.1 + 0.1)


def test_a_reward_model_reads_the_passages_of_the_episode() -> None:
    outcome = _answered("old figs", k=2)
    read = response(outcome)
    assert (read.question, read.answer, len(read.history)) == (TASK.question, "old figs", 2)
    assert response(_answered("old figs", NONE)).history == ()


def test_advantages_are_centred_within_a_question() -> None:
    outcomes = [_answered(answer) for answer in (TASK.content, "old", "old figs", "old figs")]
    first, second, third, fourth = weighted(outcomes, [1.0, 0.0, 0.7, 0.7], 2)
    assert first.weight == pytest.approx(-second.weight)
    assert first.weight > 0
    assert (third.weight, fourth.weight) == (0, 0)


def test_each_pair_has_its_own_sides() -> None:
    pairs = collect(Writer(_last_word), PEOPLE, searching(), 20, seed=1)
    assert len({pair.id for pair in pairs}) == len(pairs) == 20
    by_name = {person.name: person for person in PEOPLE}
    for pair in pairs:
        person = by_name[pair.user]
        assert set(pair.history) <= set(person.history)
        assert pair.personalized == pair.history[0].split()[-1].strip(".?")
        assert pair.plain == "old"
        assert pair.other is not None
        others = {
            note.split()[-1].strip(".?") for other in PEOPLE if other is not person for note in other.history
        }
        assert pair.other in others


def test_pairs_with_an_empty_side_are_left_out() -> None:
    def silent_without_passages(episode: Episode) -> str:
        return turn("old figs") if episode.reads else "<think> it is not known.</think>"

    assert collect(Writer(silent_without_passages), PEOPLE, searching(), 5, seed=1) == []


def _last_word(episode: Episode) -> str:
    """Answers with the last word of the first passage, or "old" without one."""
    return turn(episode.reads[0].passage.text.split()[-1].strip(".?") if episode.reads else "old")
