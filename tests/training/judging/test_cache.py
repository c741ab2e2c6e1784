import asyncio
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.training.judging.test_judge import question_with
from tests.waiting import soon
from training.cachefile import CacheUnavailable
from training.judging.cache import CachedJudge, VerdictCache, key_of
from training.judging.judge import Judge, RubricAspect, RubricQuestion, Unjudged
from training.judging.lexical import LexicalJudge
from training.tasks.lampqa.data import Aspect, Question

QUESTION = question_with("weight")
ASPECT = QUESTION.rubric_aspects[0]


class Slow:
    """Gives one score after another, each when it is let go."""

    name, comparable = "slow@1", True

    def __init__(self, *scores: Any) -> None:
        self.scores = list(scores)
        self.asked = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.closed = False

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        self.asked += 1
        score = self.scores.pop(0)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(score, Exception):
            raise score
        return score  # type: ignore[no-any-return]

    async def aclose(self) -> None:
        self.closed = True


def judge_of(scores: list[Any], cache: VerdictCache, go: bool = True) -> tuple[Slow, CachedJudge]:
    slow = Slow(*scores)
    if go:
        slow.go.set()
    return slow, CachedJudge(slow, cache)


async def test_a_verdict_is_asked_for_once_also_after_a_restart(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as cache:
        slow, judge = judge_of([2], cache)
        assert [await judge.judge(QUESTION, ASPECT, "x") for _ in range(3)] == [2, 2, 2]
        assert (slow.asked, judge.asked, judge.hits) == (1, 1, 2)
    with VerdictCache(tmp_path / "v.db") as cache:
        slow, judge = judge_of([], cache)
        assert await judge.judge(QUESTION, ASPECT, "x") == 2
        assert (slow.asked, judge.hits, len(cache)) == (0, 1, 1)


@pytest.mark.parametrize("failure", [Unjudged("no"), 3, "2", None])
async def test_what_is_no_verdict_is_not_kept(tmp_path: Path, failure: object) -> None:
    with VerdictCache(tmp_path / "v.db") as cache:
        _, judge = judge_of([failure, 1], cache)
        with pytest.raises(Unjudged):
            await judge.judge(QUESTION, ASPECT, "x")
        assert len(cache) == 0
        assert await judge.judge(QUESTION, ASPECT, "x") == 1


async def test_all_that_a_verdict_depends_on_tells_verdicts_apart(tmp_path: Path) -> None:
    other = ASPECT.model_copy
    requests: list[tuple[str, Question, Aspect, str]] = [
        ("a", QUESTION, ASPECT, "x"),
        ("b", QUESTION, ASPECT, "x"),
        ("a", QUESTION.model_copy(update={"question": "?"}), ASPECT, "x"),
        ("a", QUESTION.model_copy(update={"narrative": "?"}), ASPECT, "x"),
        ("a", QUESTION, other(update={"aspect": "?"}), "x"),
        ("a", QUESTION, other(update={"reason": "?"}), "x"),
        ("a", QUESTION, other(update={"evidence": "?"}), "x"),
        ("a", QUESTION, ASPECT, "x "),
        ("a", QUESTION, ASPECT, "\ud800"),
    ]
    assert len({key_of(*request) for request in requests}) == len(requests)
    same = QUESTION.model_copy(update={"id": "q2", "category": "c", "profile": ()})
    assert key_of("a", same, ASPECT, "x") == key_of(*requests[0])


async def test_equal_requests_at_the_same_time_are_one(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as cache:
        slow, judge = judge_of([1], cache, go=False)
        asking = [asyncio.create_task(judge.judge(QUESTION, ASPECT, "x")) for _ in range(5)]
        await asyncio.sleep(0)
        slow.go.set()
        assert await asyncio.gather(*asking) == [1] * 5
        assert (slow.asked, judge.asked, judge.hits) == (1, 1, 4)


async def test_a_failure_is_shared_and_asked_for_again_later(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as cache:
        slow, judge = judge_of([Unjudged("no"), 2], cache, go=False)
        asking = [asyncio.create_task(judge.judge(QUESTION, ASPECT, "x")) for _ in range(3)]
        await asyncio.sleep(0)
        slow.go.set()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert [str(result) for result in results] == ["no"] * 3
        assert await judge.judge(QUESTION, ASPECT, "x") == 2
        assert slow.asked == 2


async def test_whoever_asked_first_may_go_away(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as cache:
        slow, judge = judge_of([1], cache, go=False)
        first, second = (asyncio.create_task(judge.judge(QUESTION, ASPECT, "x")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        slow.go.set()
        assert await second == 1
        assert (slow.asked, slow.cancelled) == (1, 0)


async def test_when_all_go_away_the_judge_is_left(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as cache:
        slow, judge = judge_of([1, 2], cache, go=False)
        asking = [asyncio.create_task(judge.judge(QUESTION, ASPECT, "x")) for _ in range(2)]
        assert await soon(lambda: slow.asked == 1)
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0)
        assert slow.cancelled == 1
        slow.go.set()
        assert await judge.judge(QUESTION, ASPECT, "x") == 2


async def test_it_goes_by_the_name_of_the_judge_behind_it(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as cache:
        slow, judge = judge_of([], cache)
        assert (judge.name, judge.comparable) == ("slow@1", True)
        lexical: Judge = CachedJudge(LexicalJudge(), cache)
        assert await lexical.judge(QUESTION, ASPECT, "its weight") == 2
        await judge.aclose()
        assert slow.closed


def test_what_is_no_score_cannot_be_put(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as cache, pytest.raises(ValueError, match="3 is no score"):
        cache.put("k", "j", 3)


def test_the_first_verdict_stays_and_is_what_everybody_gets(tmp_path: Path) -> None:
    with VerdictCache(tmp_path / "v.db") as one, VerdictCache(tmp_path / "v.db") as two:
        assert one.put("k", "j", 1) == 1
        assert two.put("k", "j", 2) == 1
        assert two.get("k") == 1
        assert two.get("other") is None


WRITER = """
import sys
from training.judging.cache import VerdictCache
cache = VerdictCache(sys.argv[1])
for number in range(int(sys.argv[3])):
    cache.put(f"{sys.argv[2]}{number}", "j", number % 3)
    print(number, flush=True)
"""


def _writer(file: Path, prefix: str, number: int) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, str(file), prefix, str(number)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_processes_share_a_file_and_a_killed_one_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "v.db"
    with _writer(file, "a", 10**9) as killed, _writer(file, "b", 300) as other:
        assert killed.stdout is not None
        for line in killed.stdout:
            if line == "100\n":
                break
        killed.send_signal(signal.SIGKILL)
        last = max((int(line) for line in killed.stdout.read().split("\n")[:-1]), default=100)
        other.communicate()
        assert other.returncode == 0
    with VerdictCache(file) as cache:
        assert [cache.get(f"a{number}") for number in range(last + 1)] == [n % 3 for n in range(last + 1)]
        assert [cache.get(f"b{number}") for number in range(300)] == [n % 3 for n in range(300)]


def test_all_who_open_a_new_file_at_the_same_time_get_it(tmp_path: Path) -> None:
    def open_and_close(file: Path) -> None:
        VerdictCache(file).close()

    with ThreadPoolExecutor(8) as threads:
        for number in range(20):
            list(threads.map(open_and_close, [tmp_path / f"{number}.db"] * 8))


def test_a_file_of_another_kind_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "v.db").write_text("This is a letter to a friend, and it is long enough to be one. " * 9)
    with pytest.raises(CacheUnavailable, match=r"v\.db: file is not a database"):
        VerdictCache(tmp_path / "v.db")
    with pytest.raises(CacheUnavailable, match="unable to open"):
        VerdictCache(tmp_path / "nowhere" / "v.db")
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("CREATE TABLE verdicts (something TEXT)")
    other.close()
    with (
        VerdictCache(tmp_path / "other.db") as cache,
        pytest.raises(CacheUnavailable, match="no such column"),
    ):
        cache.get("k")
