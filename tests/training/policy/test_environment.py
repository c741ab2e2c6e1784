import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.driver import searched
from agent.episode import Episode
from agent.methods import METHODS
from agent.policies.scripted import ScriptedPolicy
from agent.prompts import PROMPT_VERSION, dated
from agent.trajectory import Limits, Search, Today
from index.documents import Document
from index.encoding.embedding import reembed
from index.encoding.encoders import SentenceTransformerEncoder, load_space
from index.errors import EncoderMismatch, SpaceUnavailable
from index.profiles import Profiles
from index.storage.store import Store
from tests.index.fakes import HashEncoder
from tests.openrlhf.judge_server import Handler
from training.evaluation.answers import AnswerOptions
from training.evaluation.local import LocalAnswers
from training.judging.cache import CachedJudge, VerdictCache
from training.judging.factory import JudgeConfiguration, JudgeUnavailable
from training.judging.judge import Judge, RubricAspect, RubricQuestion, Unjudged
from training.judging.lexical import LexicalJudge
from training.policy.environment import (
    CONFIGURATION,
    Configuration,
    Environment,
    InvalidConfiguration,
    check,
)
from training.policy.reward import Costs
from training.policy.rows import TRAINABLE, Referenced, Row
from training.policy.rubric_reward import RubricReward
from training.tasks.lampqa.data import Aspect, Question

ROW = Row(
    user="ana",
    question=Question(
        id="q1",
        question="What do I drink?",
        category="",
        narrative="I am at home.",
        rubric_aspects=(
            Aspect(aspect="green tea", reason="", evidence=""),
            Aspect(aspect="no coffee", reason="", evidence=""),
        ),
        profile=(),
    ),
    day=date(2024, 5, 3),
)
TEA = [Document(id="t", text="I drink green tea."), Document(id="c", text="Coffee is for my sister.")]


@pytest.fixture
def encoder() -> HashEncoder:
    return HashEncoder()


@pytest.fixture
def profiles(tmp_path: Path, encoder: HashEncoder) -> Iterator[Profiles]:
    store = Store(f"sqlite:///{tmp_path}/pr2.db", encoder.manifest)
    made = Profiles(store, encoder)
    made.put("ana", TEA)
    yield made
    store.close()


@pytest.fixture
def judge_url(tmp_path: Path) -> Iterator[str]:
    Handler.log = tmp_path / "judge.log"
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        server.shutdown()
        thread.join()


def configured(folder: Path, judge: JudgeConfiguration | None = None) -> Configuration:
    return Configuration(data=folder, retriever="bm25", judge=judge or JudgeConfiguration())


def answered(text: str) -> Episode:
    episode = Episode(ROW.question.question)
    episode.feed(f"<think>So.</think><answer>{text}</answer>")
    return episode


class Failing:
    """Grades the first aspect and fails at the second."""

    name, comparable = "failing", False

    async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
        if aspect == question.rubric_aspects[1]:
            raise Unjudged("no more")
        return 2

    async def aclose(self) -> None:
        pass


def rubric(judge: Judge, address: str | None = None) -> RubricReward:
    return RubricReward(judge, Costs(), address)


def environment(folder: Path, profiles: Profiles, judge: Judge | None = None) -> Environment:
    return Environment(configured(folder), profiles, rubric(judge or LexicalJudge()))


async def test_the_configured_environment_searches_and_scores(tmp_path: Path, profiles: Profiles) -> None:
    opened = await Environment.open(configured(tmp_path))
    found = await opened.search(ROW, Search("tea"), 3, ())
    assert [passage.document_id for passage in found] == ["t"]
    assert await opened.search(ROW, Search("tea"), 3, {found[0].key}) == []
    assert (await opened.reward(ROW, answered("Green tea, and no coffee.").trajectory)).score == 1.0
    await opened.aclose()


def test_only_a_method_that_can_be_trained_is_accepted(tmp_path: Path) -> None:
    written = configured(tmp_path).model_dump_json()
    assert "method" not in json.loads(written), "files that were prepared before there was a choice"
    file = tmp_path / "training.json"
    file.write_text(written, "utf-8")
    assert Configuration.read(file).method == "pr2"
    for name in ("rag", "prlm", "none"):
        file.write_text(json.dumps({**json.loads(written), "method": name}), "utf-8")
        assert Configuration.read(file).method == name
    for name, why in (("psychic", "only for pr2, rag, prlm, none"), ("planpers", "pr2 train planner")):
        file.write_text(json.dumps({**json.loads(written), "method": name}), "utf-8")
        with pytest.raises(InvalidConfiguration, match=f"method: .*'{name}'.* {why}"):
            Configuration.read(file)


@pytest.mark.parametrize("method", TRAINABLE)
async def test_the_episode_is_the_one_of_the_prompt_and_of_the_service(
    tmp_path: Path, profiles: Profiles, method: str
) -> None:
    limits = Limits(max_searches=1)
    configuration = Configuration(data=tmp_path, method=method, limits=limits, retriever="bm25")
    made = Environment(configuration, profiles, rubric(LexicalJudge()))
    asked = ROW.question.model_copy(update={"question": "What did I drink in March 2024?"})
    row = ROW.model_copy(update={"question": asked})
    episode = made.episode(row)
    assert episode.prompt == row.to_record(limits, METHODS[method])["input"]
    if episode.pending:
        found, told = await searched(episode, partial(made.search, row), partial(made.notices, row))
        assert "dated between 2024-03-01 and 2024-03-31." in episode.provide(found, notices=told)
    policy = ScriptedPolicy(["<think>So.</think><answer>Tea.</answer>"])
    episode.feed("<think>So.</think><answer>Tea.</answer>")
    assert dated(Today(ROW.day)) in episode.prompt
    options = AnswerOptions(method, "bm25", {"max_searches": 1}, as_of=ROW.day)
    served = await LocalAnswers(profiles, policy).answer(row.user, asked.question, options)
    assert [(one.author, one.text) for one in episode.segments] == [
        (one.author, one.text) for one in served.segments
    ]
    assert (served.prompt_version, served.finish_reason) == (PROMPT_VERSION, "answered")


async def test_inputs_of_lamp_ask_nothing_about_days(tmp_path: Path, profiles: Profiles) -> None:
    asked = Referenced(id="q", question="In March 2024?", category="LaMP_4", reference="On tea")
    row = ROW.model_copy(update={"question": asked})
    made = environment(tmp_path, profiles)
    assert await made.notices(row, "In March 2024?", Search("tea")) == ()
    assert len(await made.notices(ROW, "In March 2024?", Search("tea"))) == 1


async def test_a_row_is_searched_on_its_day(tmp_path: Path, profiles: Profiles) -> None:
    def note(name: str, moment: datetime) -> Document:
        return Document(id=name, text=f"The market, {name}.", created_at=moment)

    days = {"before": datetime(2024, 4, 2, tzinfo=UTC), "after": datetime(2024, 5, 4, tzinfo=UTC)}
    profiles.put("eve", [note(*item) for item in days.items()])
    made = environment(tmp_path, profiles)
    row = ROW.model_copy(update={"user": "eve"})
    assert [found.document_id for found in await made.search(row, Search("the market"), 5, ())] == ["before"]
    later = row.model_copy(update={"day": date(2024, 5, 4)})
    assert len(await made.search(later, Search("the market"), 5, ())) == 2


async def test_queries_of_concurrent_rollouts_are_encoded_in_one_batch(
    tmp_path: Path, profiles: Profiles, encoder: HashEncoder
) -> None:
    made = Environment(Configuration(data=tmp_path, retriever="dense"), profiles, rubric(LexicalJudge()))
    encoder.calls.clear()
    encoder.hold = threading.Event()
    encoder.entered.clear()
    searches = [asyncio.create_task(made.search(ROW, Search(f"tea {n}"), 1, ())) for n in range(9)]
    # All nine tasks were started before the first batch, so none is still to come.
    await asyncio.to_thread(encoder.entered.wait, 60)
    encoder.hold.set()
    found = await asyncio.gather(*searches)
    assert all(len(passages) == 1 for passages in found)
    assert len(encoder.calls) <= 2
    assert sum(map(len, encoder.calls)) == 9


async def test_an_answer_with_an_unjudged_aspect_has_no_score(tmp_path: Path, profiles: Profiles) -> None:
    reward = await environment(tmp_path, profiles, Failing()).reward(ROW, answered("Tea.").trajectory)
    assert reward.score is None
    assert reward.total is None


async def test_a_cache_that_fails_leaves_the_answer_unjudged(tmp_path: Path, profiles: Profiles) -> None:
    cache = VerdictCache(tmp_path / "verdicts.db")
    cache.close()
    broken = environment(tmp_path, profiles, CachedJudge(LexicalJudge(), cache))
    assert (await broken.reward(ROW, answered("Tea.").trajectory)).score is None


async def test_no_answer_needs_no_judge(tmp_path: Path, profiles: Profiles) -> None:
    episode = Episode(ROW.question.question)
    episode.cut_off("max_tokens")
    reward = await environment(tmp_path, profiles, Failing()).reward(ROW, episode.trajectory)
    assert (reward.score, reward.total) == (0.0, -0.2)


async def test_a_judge_behind_http_is_checked_and_its_verdicts_are_kept(
    tmp_path: Path, profiles: Profiles, judge_url: str
) -> None:
    configuration = configured(tmp_path, JudgeConfiguration(kind="openai", url=judge_url))
    await check(configuration)
    opened = await Environment.open(configuration)
    for _ in range(2):
        assert (await opened.reward(ROW, answered("Tea [1].").trajectory)).score == 0.0, "no passage was read"
    await opened.aclose()
    assert (tmp_path / "judge.log").read_text().splitlines() == ["I am at home."] * 2, "one for each aspect"
    with VerdictCache(tmp_path / "verdicts.db") as cache:
        assert len(cache) == 3


async def test_a_judge_that_does_not_answer_is_named_before_anything_is_trained(
    tmp_path: Path, profiles: Profiles
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(JudgeUnavailable, match=url):
        await check(configured(tmp_path, JudgeConfiguration(kind="openai", url=url)))


async def test_a_judge_that_refuses_is_named_before_anything_is_trained(
    tmp_path: Path, profiles: Profiles
) -> None:
    class Refusing(Failing):
        async def judge(self, question: RubricQuestion, aspect: RubricAspect, response: str) -> int:
            raise Unjudged("it has no model 'judge'")

    configuration = configured(tmp_path, JudgeConfiguration(url="http://judge/v1"))
    with pytest.raises(JudgeUnavailable, match="http://judge/v1 gave no verdict: it has no model 'judge'"):
        await Environment(configuration, profiles, rubric(Refusing(), "http://judge/v1")).check()


async def test_a_judge_needs_an_address(tmp_path: Path, profiles: Profiles) -> None:
    with pytest.raises(InvalidConfiguration, match="address is missing"):
        await Environment.open(configured(tmp_path, JudgeConfiguration(kind="openai")))


async def test_another_encoder_than_the_stores_is_refused(
    tmp_path: Path, profiles: Profiles, minilm: SentenceTransformerEncoder
) -> None:
    with pytest.raises(EncoderMismatch, match="made with the encoder hash"):
        await Environment.open(Configuration(data=tmp_path, encoder="minilm"))


async def test_a_space_of_the_store_can_be_searched_in_training(
    tmp_path: Path, profiles: Profiles, minilm: SentenceTransformerEncoder
) -> None:
    configuration = Configuration(data=tmp_path, retriever="ropg", spaces={"ropg": "minilm"})
    opened = await Environment.open(configuration)
    with pytest.raises(SpaceUnavailable):
        await opened.search(ROW, Search("green tea"), 1, ())
    reembed(profiles.store, load_space("minilm"), space="ropg")
    assert [found.document_id for found in await opened.search(ROW, Search("green tea"), 1, ())] == ["t"]
    await opened.aclose()
    assert Configuration.model_validate_json(configuration.model_dump_json()) == configuration
    assert "spaces" not in Configuration(data=tmp_path).model_dump_json()


def test_a_missing_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="there is no store"):
        asyncio.run(Environment.open(configured(tmp_path)))
    assert not list(tmp_path.iterdir())


async def test_prompts_of_another_version_are_refused(tmp_path: Path, profiles: Profiles) -> None:
    old = configured(tmp_path).model_copy(update={"prompt_version": "0"})
    with pytest.raises(InvalidConfiguration, match="prepared in version 0"):
        await Environment.open(old)


def test_the_configuration_is_read_from_the_file_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CONFIGURATION, raising=False)
    with pytest.raises(InvalidConfiguration, match=CONFIGURATION):
        Configuration.load()
    file = tmp_path / "training.json"
    monkeypatch.setenv(CONFIGURATION, str(file))
    with pytest.raises(InvalidConfiguration, match="cannot be read"):
        Configuration.load()
    file.write_text('{"data": "x", "formula": {"name": "ppo"}}', "utf-8")
    with pytest.raises(InvalidConfiguration, match="unknown formula 'ppo'"):
        Configuration.load()
    file.write_text(configured(tmp_path).model_dump_json(), "utf-8")
    assert Configuration.load() == configured(tmp_path)
