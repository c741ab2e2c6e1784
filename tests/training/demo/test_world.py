import asyncio
import os
import random
import subprocess
import sys

import pytest

from agent.trajectory import Search
from training.demo import world
from training.demo.demonstrations import reading
from training.demo.experiment import Plan, Setting
from training.demo.vocabulary import Vocabulary

PLAN = Plan(users=40, held_out_users=40, questions=25)
SETTING = Setting.of(7, PLAN)


def _found(user: world.User, query: str) -> list[str]:
    return [f" {passage.text}" for passage in asyncio.run(user.search(Search(query), 2, ()))]


def test_what_held_out_people_like_and_whom_they_know_is_never_seen_in_training() -> None:
    def pairs(users: list[world.User]) -> set[object]:
        found: set[object] = set()
        for user in users:
            found |= {(topic, words) for (_, topic), words in user.tastes.items()}
            found |= set(user.relatives.items()) | set(user.seconds.values())
        return found

    strangers = [task.user for task in SETTING.held_out]
    seen, unseen = pairs(list(SETTING.users)), pairs(strangers)
    assert seen
    assert unseen
    assert not seen & unseen


def test_reading_practice_shows_no_held_out_pair() -> None:
    vocabulary, rng = Vocabulary(), random.Random(0)
    practice = "".join(vocabulary.decode(reading(rng, vocabulary, 7).ids) for _ in range(200))
    for task in SETTING.held_out:
        for fact in task.path:
            if " of " not in fact.text:
                assert fact.text not in practice


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_as_many_searches_as_a_question_has_hops_find_its_answer(hops: int) -> None:
    for task in SETTING.held_out:
        if task.hops == hops:
            assert len(task.path) == hops
            for fact in task.path:
                assert fact.text in _found(task.user, fact.query)
            assert task.answer in task.path[-1].text


def _names(text: str) -> set[str]:
    return {name for name in world.NAMES if f" {name}" in f" {text}"}


@pytest.mark.parametrize("hops", [2, 3])
def test_no_query_can_be_written_before_the_search_that_finds_its_name(hops: int) -> None:
    for task in SETTING.held_out:
        if task.hops == hops:
            written = task.question.question
            for fact in task.path:
                assert _names(fact.query) <= _names(written)
                assert not (_names(fact.text) - _names(fact.query)) & _names(written)
                written += fact.text
            assert _names(task.path[-1].query)


def test_whose_boss_it_is_cannot_be_told_without_the_name() -> None:
    for user in SETTING.users:
        assert len({relation for relation, _ in user.seconds.values()}) == 1
        assert len({name for _, name in user.seconds.values()}) == len(user.relatives) > 1


def test_a_question_asked_as_it_stands_rarely_finds_what_needs_two_searches() -> None:
    two = [task for task in SETTING.held_out if task.hops == 2]
    found = [task.path[-1].text in _found(task.user, task.question.question) for task in two]
    assert sum(found) < 0.4 * len(two)


def test_every_person_has_facts_that_answer_and_earlier_questions_that_do_not() -> None:
    texts = [passage.text for user in SETTING.users for passage in user.passages]
    assert any(text.endswith("?") for text in texts)
    assert all(Vocabulary().decode(Vocabulary().encode(f" {text}")) == f" {text}" for text in texts[:200])


def test_text_that_is_no_token_is_refused() -> None:
    with pytest.raises(ValueError, match="no token"):
        Vocabulary().encode(" for a snack i like pizza.")


def test_a_world_is_the_same_in_every_process() -> None:
    program = (
        "import hashlib\n"
        "from training.demo.experiment import Plan, Setting\n"
        "setting = Setting.of(7, Plan(users=20, held_out_users=20, questions=25))\n"
        "users = [*setting.users, *(task.user for task in setting.held_out)]\n"
        "words = [passage.text for user in users for passage in user.passages]\n"
        "words += [task.question.question + task.answer for task in setting.held_out]\n"
        "print(hashlib.sha256('|'.join(words).encode()).hexdigest())\n"
    )
    worlds = [
        subprocess.run(
            [sys.executable, "-c", program],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert worlds[0] == worlds[1]
