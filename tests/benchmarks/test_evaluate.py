"""The evaluation benchmark: its bound checked by hand, its simulated server, and a small run; no timings."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.engines.sse import EventDecoder
from benchmarks import evaluate, judge
from benchmarks.evaluate import Load, bound
from benchmarks.judge import Pace, Station
from benchmarks.speed import PROFILE
from training.evaluation.records import MANIFEST, SCORE, SCORES, AspectScore, Record, by_rubric, read_records
from training.evaluation.runs import RunOutcome
from training.evaluation.summary import mean_score, summarize

QUICK = Load(20, 2, Pace(4, 0.01), Pace(4, 0.01))


def test_a_station_works_at_its_pace_in_the_order_of_arrival() -> None:
    station = Station(Pace(2, 3.0))
    assert [station.take(at) for at in (0.0, 1.0, 2.0, 9.0)] == [(0, 3), (1, 4), (3, 6), (9, 12)]


def test_one_question_is_answered_and_then_judged_in_waves() -> None:
    # Answered at 1; aspects 1 and 2 at 3, aspects 3 and 4 at 5, the last at 7.
    assert bound(Load(1, 5, Pace(8, 1.0), Pace(2, 2.0))) == 7.0


def test_where_answers_are_slow_only_the_last_one_waits_for_its_judge() -> None:
    # Two at a time: answered at 10, 20 and 30, and 1 more to judge the last.
    assert bound(Load(5, 2, Pace(2, 10.0), Pace(4, 1.0))) == 31.0


def test_where_judging_is_slow_only_the_first_answer_is_waited_for() -> None:
    # 1 for the first answer, and then 3 × 2 aspects, one at a time, for 10 each.
    assert bound(Load(3, 2, Pace(3, 1.0), Pace(1, 10.0))) == 61.0


def test_a_question_in_flight_keeps_the_next_from_being_asked() -> None:
    load = Load(3, 1, Pace(1, 2.0), Pace(1, 3.0))
    # One in flight: 3 × (2 + 3). Two: answers at 2, 4 and 7, judged at 5, 8 and 11, as without a limit.
    assert [bound(load, 1), bound(load, 2), bound(load)] == [15.0, 11.0, 11.0]


def test_nothing_to_do_takes_no_time() -> None:
    assert bound(Load(0, 5)) == 0.0


def test_the_load_of_the_benchmark_keeps_both_servers_busy() -> None:
    least = bound(Load())
    assert bound(Load(), evaluate.AT_ONCE) == pytest.approx(least)
    alone = [bound(Load(aspects=0)), Load().questions * Load().aspects * evaluate.JUDGE.seconds / 64]
    assert max(alone) < least < 1.1 * min(alone)


def test_questions_are_all_different_and_made_when_they_are_asked_for() -> None:
    endless = evaluate.questions(10**9, 3)
    first, second = next(endless), next(endless)
    assert (first.id, len(first.rubric_aspects), len(first.profile)) == ("q0", 3, PROFILE)
    assert not {item.text for item in first.profile} & {item.text for item in second.profile}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with judge.running(QUICK.policy, QUICK.judge) as url:
        yield url


async def test_every_question_of_a_small_run_is_answered_and_judged(base_url: str, tmp_path: Path) -> None:
    measured = await evaluate.evaluate(base_url, QUICK, 8, tmp_path)
    records = list(read_records(tmp_path))
    assert (measured.questions, len(records)) == (20, 20)
    assert {record.finish_reason for record in records} == {"answered"}
    assert {record.response for record in records} == {(judge.ANSWER * 14).strip()}
    assert [aspect.score for record in records for aspect in record.aspects] == [judge.GRADE] * 40
    assert json.loads((tmp_path / SCORES).read_text())["score"] == 0.5
    assert json.loads((tmp_path / MANIFEST).read_text())["finished"] is True


def test_a_run_in_a_process_of_its_own_reports_its_memory(base_url: str) -> None:
    evaluate.cost(base_url)
    measured = evaluate.alone(base_url, QUICK, 8)
    assert 1 < measured.before_mb <= measured.peak_mb
    served = evaluate.cost(base_url)
    assert served["connections"] > 2
    assert set(served["late_s"]) == {"p50", "p99"}


def test_a_run_that_left_something_out_is_no_measurement() -> None:
    def outcome(scores: list[int | None], failed: dict[str, str]) -> RunOutcome:
        assessment = by_rubric([AspectScore("a", score) for score in scores])
        record = Record("q0", "Hobbies", "Which?", "This.", "answered", assessment, 0, 0, 1, 1, 1, 1.0)
        return RunOutcome({SCORE: summarize(partial(mean_score, SCORE), lambda: [record])}, failed)

    evaluate.check_complete(outcome([0, 2], {}), 1)
    for left_out, count in ((outcome([0, None], {}), 1), (outcome([0, 2], {"q1": "gone"}), 1),
                            (outcome([0, 2], {}), 2)):  # fmt: skip
        with pytest.raises(RuntimeError, match=f"not every one of {count} questions"):
            evaluate.check_complete(left_out, count)


def test_what_is_held_to_a_bar() -> None:
    load = Load(8, 1, Pace(1, 1.0), Pace(1, 1.0))
    runs = [evaluate.Measured(n, 1, 10.8, 1, 0, 50.0, 50.0 + n) for n in (2, 8, 32)]
    wall, memory = evaluate.figures_of(load, runs[1], runs)
    # Answered at 1 to 8, the last one judged at 9.
    assert wall.value == pytest.approx(1.2)
    assert memory.value == 6.0
    assert [wall.met, memory.met] == [False, True]
    assert evaluate.mb_per_1000(runs[1], runs[2]) == 1000.0


def test_a_turn_comes_in_pieces_and_probes_are_answered_at_once(base_url: str) -> None:
    def pieces(most: int) -> list[dict[str, Any]]:
        body = {"prompt": "<think>", "max_tokens": most, "stream": True}
        reply = httpx.post(f"{base_url}/completions", json=body, trust_env=False)
        *events, done = EventDecoder().decode(reply.content)
        assert done == "[DONE]"
        return [json.loads(event)["choices"][0] for event in events]

    turn, probe = pieces(100), pieces(1)
    assert "".join(piece["text"] for piece in turn) == judge.TURN
    assert [piece["finish_reason"] for piece in turn] == [None, None, None, "stop"]
    assert [piece["finish_reason"] for piece in probe] == ["length"]


def test_what_the_server_does_not_do_is_refused(base_url: str) -> None:
    assert httpx.post(f"{base_url}/tokenize", json={}, trust_env=False).status_code == 404


def test_an_invalid_pace_is_refused() -> None:
    assert judge.pace_of(["3", "0.5"]) == Pace(3, 0.5)
    for words in (["0", "1"], ["1", "-1"], ["1", "nan"], ["x", "1"]):
        with pytest.raises(ValueError, match=r"at a time|invalid literal"):
            judge.pace_of(words)
