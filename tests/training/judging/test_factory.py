import socket
from contextlib import aclosing
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.engine import Engine, fails, in_order
from tests.training.judging.test_judge import question_with
from tests.training.judging.test_llm import CHAT, verdict
from training.judging.cache import VerdictCache
from training.judging.factory import InvalidJudge, JudgeConfiguration, JudgeUnavailable, open_judge

QUESTION = question_with("a")


def test_a_configuration_without_engine_arguments_is_written_as_before() -> None:
    assert JudgeConfiguration().model_dump(mode="json") == {
        "kind": "lexical",
        "url": None,
        "model": "",
        "timeout_s": 120.0,
        "at_once": 256,
    }
    given = JudgeConfiguration(kind="vllm", model="m", engine_args={"seed": 1})
    assert JudgeConfiguration.model_validate_json(given.model_dump_json()) == given


def test_a_judge_is_lexical_or_an_engine_with_a_model() -> None:
    with pytest.raises(ValidationError, match="must be one of lexical, openai, vllm"):
        JudgeConfiguration(kind="extractive")


@pytest.mark.parametrize(
    ("configuration", "says"),
    [
        (JudgeConfiguration(kind="openai"), r"judge\.url: .* its address is missing"),
        (JudgeConfiguration(kind="openai", url="nowhere"), "judge: base_url"),
        (JudgeConfiguration(kind="vllm"), "judge: vllm needs a model"),
    ],
)
async def test_what_is_missing_is_named(tmp_path: Path, configuration: JudgeConfiguration, says: str) -> None:
    with pytest.raises(InvalidJudge, match=says):
        await open_judge(configuration, tmp_path / "verdicts.db")


async def test_a_server_that_is_away_is_named_even_if_its_model_is_known(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(JudgeUnavailable, match=url):
        await open_judge(JudgeConfiguration(kind="openai", url=url, model="m"), tmp_path / "verdicts.db")


async def test_a_server_that_is_down_is_asked_once(tmp_path: Path) -> None:
    with Engine(in_order(verdict(2)), dialect=CHAT) as engine:
        engine.instead["/v1/models"] = fails(503)
        configuration = JudgeConfiguration(kind="openai", url=engine.base_url, model="m")
        with pytest.raises(JudgeUnavailable, match=engine.base_url):
            await open_judge(configuration, tmp_path / "verdicts.db")
    assert [request.path for request in engine.requests] == ["/v1/models"]


async def test_closing_a_judge_closes_its_verdicts_which_are_kept(tmp_path: Path) -> None:
    with Engine(in_order(verdict(2)), dialect=CHAT) as engine:
        configuration = JudgeConfiguration(kind="openai", url=engine.base_url)
        async with aclosing(await open_judge(configuration, tmp_path / "verdicts.db")) as judge:
            assert await judge.judge(QUESTION, QUESTION.rubric_aspects[0], "x") == 2
    with VerdictCache(tmp_path / "verdicts.db") as cache:
        assert len(cache) == 1
