"""Every method, driven to the end of an episode."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import aclosing

import pytest

from agent import prompts
from agent.driver import drive
from agent.episode import Episode
from agent.methods import METHODS
from agent.policies.extractive import ExtractivePolicy
from agent.policies.phrases import phrases
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Policy
from agent.trajectory import Answer, Information, Invalid, Limits, Message, PolicyProtocol, Search, Trajectory
from index.documents import Passage

QUESTION = "What should I cook for my sister?"
SISTER = Passage("n1", "My sister Ines is coming on 3 March. I bought a kettle.", score=0.9, rank=1)
AUBERGINE = Passage(
    "n2", "My sister cannot stand aubergine.", score=0.8, created_at="2024-02-01T00:00:00Z", rank=2
)
OTHER = Passage("n3", "The boiler was repaired on Friday.", score=0.1, rank=3)
HISTORY = (SISTER, AUBERGINE, OTHER)

ANSWER = "<think>b</think><answer>No aubergine, she cannot stand it [2]. She comes in March [1].</answer>"


class Finds:
    """Returns the first `k` passages, always in the same order, and records the queries."""

    def __init__(self, *passages: Passage, pause: float = 0.0, error: Exception | None = None) -> None:
        self.passages, self.pause, self.error = passages, pause, error
        self.calls: list[tuple[str, int]] = []

    async def __call__(self, one: Search, k: int, exclude: Collection[tuple[str, int]]) -> Sequence[Passage]:
        self.calls.append((one.query, k))
        await asyncio.sleep(self.pause)
        if self.error:
            raise self.error
        return [passage for passage in self.passages if passage.key not in exclude][:k]


async def ask(method: str, policy: Policy, search: Finds, limits: Limits | None = None) -> Trajectory:
    episode = METHODS[method].begin(QUESTION, limits or Limits())
    async with aclosing(drive(episode, policy, search)) as events:
        async for _ in events:
            pass
    return episode.trajectory


def kinds(trajectory: Trajectory) -> list[str]:
    return [step.kind for step in trajectory.steps]


def answer_of(trajectory: Trajectory) -> Answer:
    assert trajectory.answer is not None
    return trajectory.answer


def test_each_method_is_listed_under_its_name_and_the_first_searches() -> None:
    assert list(METHODS) == ["pr2", "rag", "planpers", "prlm", "none"]
    assert [method.name for method in METHODS.values()] == list(METHODS)
    assert [method.reads for method in METHODS.values()] == [True, True, True, True, False]


async def test_pr2_searches_when_the_policy_does() -> None:
    policy = ScriptedPolicy(["<think>a</think><search>my sister</search>", ANSWER])
    search = Finds(*HISTORY)
    trajectory = await ask("pr2", policy, search)
    assert search.calls == [("my sister", 5)]
    assert kinds(trajectory) == ["thought", "search", "information", "thought", "answer"]
    assert [citation.document_id for citation in answer_of(trajectory).citations] == ["n2", "n1"]
    assert trajectory.limits == Limits()


async def test_pr2_may_answer_without_a_search() -> None:
    search = Finds(*HISTORY)
    trajectory = await ask("pr2", ScriptedPolicy(["<think>a</think><answer>Soup.</answer>"]), search)
    assert (trajectory.finish_reason, search.calls) == ("answered", [])


async def test_rag_is_given_the_passages_for_the_question_before_it_writes() -> None:
    search = Finds(*HISTORY)
    trajectory = await ask("rag", ScriptedPolicy([ANSWER]), search)
    assert search.calls == [(QUESTION, 5)]
    assert kinds(trajectory) == ["information", "thought", "answer"]
    information = trajectory.steps[0]
    assert isinstance(information, Information)
    assert [read.passage for read in information.passages] == list(HISTORY)
    assert [segment.author for segment in trajectory.segments] == ["environment", "environment", "policy"]
    assert trajectory.segments[1].text.endswith(f"\n{prompts.ANSWER_NOW}\n</information>\n")
    assert trajectory.searches == 0
    assert trajectory.finish_reason == "answered"


async def test_what_rag_cites_resolves_to_the_first_step() -> None:
    answer = answer_of(await ask("rag", ScriptedPolicy([ANSWER]), Finds(*HISTORY)))
    assert [(c.document_id, c.quote, c.step) for c in answer.citations] == [
        ("n2", "My sister cannot stand aubergine.", 0),
        ("n1", "My sister Ines is coming on 3 March.", 0),
    ]
    assert answer.dropped_marks == 0


@pytest.mark.parametrize(
    ("limits", "k"), [(Limits(top_k=2), 2), (Limits(top_k=5, max_documents=1), 1), (Limits(top_k=3), 3)]
)
async def test_rag_reads_no_more_than_it_may(limits: Limits, k: int) -> None:
    search = Finds(*HISTORY)
    trajectory = await ask("rag", ScriptedPolicy([ANSWER]), search, limits)
    assert search.calls == [(QUESTION, k)]
    assert trajectory.documents_read == ("n1", "n2", "n3")[:k]


@pytest.mark.parametrize("method", ["rag", "prlm"])
async def test_it_answers_also_when_nothing_was_found(method: str) -> None:
    trajectory = await ask(method, ScriptedPolicy(["<think>b</think><answer>Soup [1].</answer>"]), Finds())
    assert prompts.NOTHING_FOUND in trajectory.transcript
    assert (answer_of(trajectory).text, answer_of(trajectory).dropped_marks) == ("Soup.", 1)


async def test_prlm_asks_for_reasoning_about_the_person_from_the_passages_of_one_search() -> None:
    search = Finds(*HISTORY)
    trajectory = await ask("prlm", ScriptedPolicy([ANSWER]), search)
    assert search.calls == [(QUESTION, 5)]
    assert kinds(trajectory) == ["information", "thought", "answer"]
    assert trajectory.segments[0].text.startswith(prompts.REASONING_INSTRUCTIONS)
    assert trajectory.prompt_version == prompts.PROMPT_VERSION
    assert [citation.document_id for citation in answer_of(trajectory).citations] == ["n2", "n1"]
    plain = await ask("rag", ScriptedPolicy([ANSWER]), Finds(*HISTORY))
    assert trajectory.segments[1:] == plain.segments[1:], "the passages are shown alike"


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_opens_looks_for_the_query_or_the_question(method: str) -> None:
    with_query = METHODS[method].begin(QUESTION, Limits(), query="sister")
    without = METHODS[method].begin(QUESTION, Limits())
    opens = METHODS[method].opens
    assert [episode.pending and episode.pending.query for episode in (with_query, without)] == (
        ["sister", QUESTION] if opens else [None, None]
    )
    assert with_query.prompt == without.prompt


@pytest.mark.parametrize("protocol", prompts.REASONING)
def test_prlm_has_its_own_instructions_for_every_protocol(protocol: PolicyProtocol) -> None:
    own = METHODS["prlm"].begin(QUESTION, Limits(), protocol=protocol)
    assert own.instructions == prompts.REASONING[protocol]
    assert own.trajectory.prompt_version == prompts.PROMPT_VERSION
    others = {METHODS[name].begin(QUESTION, Limits(), protocol=protocol).instructions for name in METHODS}
    assert others == {prompts.REASONING[protocol], prompts.BY_PROTOCOL[protocol]}
    changed = Episode(QUESTION, own.instructions + "More.", protocol=protocol)
    assert changed.trajectory.prompt_version == "custom"


@pytest.mark.parametrize(
    ("method", "before"), [("rag", ["information"]), ("prlm", ["information"]), ("none", [])]
)
async def test_a_policy_that_may_not_search_ends_when_it_tries(method: str, before: list[str]) -> None:
    search = Finds(*HISTORY)
    policy = ScriptedPolicy(["<think>a</think><search>more</search>"])
    trajectory = await ask(method, policy, search)
    assert kinds(trajectory) == [*before, "thought", "invalid"]
    last = trajectory.steps[-1]
    assert isinstance(last, Invalid)
    assert last.reason == trajectory.finish_reason == "max_searches"
    assert len(search.calls) == len(before)
    assert trajectory.searches == 0


async def test_none_never_searches_and_is_asked_to_answer_at_once() -> None:
    search = Finds(*HISTORY)
    trajectory = await ask("none", ScriptedPolicy([ANSWER]), search)
    assert search.calls == []
    assert kinds(trajectory) == ["thought", "answer"]
    assert prompts.ANSWER_NOW in trajectory.segments[0].text
    assert trajectory.documents_read == ()
    # Citation marks that it invents are invalid.
    assert (answer_of(trajectory).citations, answer_of(trajectory).dropped_marks) == ((), 2)


@pytest.mark.parametrize(("method", "searches"), [("pr2", 4), ("rag", 0), ("prlm", 0), ("none", 0)])
async def test_the_limits_are_those_asked_for_but_for_the_searches(method: str, searches: int) -> None:
    limits = Limits(4, 3, 7, 100, 5_000)
    trajectory = await ask(method, ScriptedPolicy([ANSWER]), Finds(*HISTORY), limits)
    assert trajectory.limits == Limits(searches, 3, 7, 100, 5_000)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("protocol", prompts.BY_PROTOCOL)
def test_every_method_takes_the_conversation_and_the_protocol(method: str, protocol: PolicyProtocol) -> None:
    said = [Message("user", "Hello."), Message("assistant", "Hi.")]
    episode = METHODS[method].begin(QUESTION, Limits(), conversation=said, protocol=protocol)
    assert isinstance(episode, Episode)
    assert episode.protocol == protocol
    assert "\nuser: Hello.\nassistant: Hi.\n\nQuestion: What should" in episode.prompt
    assert episode.trajectory.conversation == tuple(said)
    assert episode.trajectory.prompt_version == prompts.PROMPT_VERSION


@pytest.mark.parametrize("error", [OSError("the disk is gone"), TimeoutError("the store is slow")])
async def test_a_search_of_rag_that_fails_raises_and_closes_the_episode(error: Exception) -> None:
    episode = METHODS["rag"].begin(QUESTION, Limits())
    policy = ScriptedPolicy([ANSWER])
    with pytest.raises(type(error), match=str(error)):
        async for _ in drive(episode, policy, Finds(error=error)):
            pass
    trajectory = episode.trajectory
    assert (trajectory.finish_reason, trajectory.steps) == ("cancelled", ())
    assert episode.pending is None
    assert [segment.author for segment in trajectory.segments] == ["environment"]


async def test_the_deadline_ends_the_search_of_rag() -> None:
    trajectory = await ask("rag", ScriptedPolicy([ANSWER]), Finds(pause=30), Limits(deadline_ms=40))
    assert (trajectory.finish_reason, trajectory.steps) == ("deadline", ())
    assert trajectory.search_ms > 10
    assert trajectory.policy_ms == 0
    assert Trajectory.from_dict(trajectory.to_dict()) == trajectory


async def test_a_caller_that_leaves_rag_after_its_passages_keeps_them() -> None:
    episode = METHODS["rag"].begin(QUESTION, Limits())
    async with aclosing(drive(episode, ScriptedPolicy([ANSWER]), Finds(*HISTORY))) as events:
        async for event in events:
            assert isinstance(event, Information)
            break
    assert episode.finish_reason == "cancelled"
    assert kinds(episode.trajectory) == ["information"]


async def test_without_a_model_pr2_looks_further_than_rag() -> None:
    searched = {}
    for method in ("pr2", "rag", "none"):
        search = Finds(*HISTORY, *(Passage(f"m{i}", f"Ines likes dish {i}.") for i in range(9)))
        trajectory = await ask(method, ExtractivePolicy(), search, Limits(max_searches=3, top_k=2))
        assert trajectory.finish_reason == "answered"
        searched[method] = (len(search.calls), trajectory.searches, len(trajectory.documents_read))
    assert searched == {"pr2": (2, 2, 4), "rag": (1, 0, 2), "none": (0, 0, 0)}


@pytest.mark.parametrize("method", ["rag", "prlm"])
async def test_without_a_model_it_quotes_what_was_found_for_the_question(method: str) -> None:
    trajectory = await ask(method, ExtractivePolicy(), Finds(*HISTORY))
    assert kinds(trajectory) == ["information", "thought", "answer"]
    answer = answer_of(trajectory)
    assert answer.text.splitlines()[0] == "Your history says:"
    assert "- 2024-02-01: My sister cannot stand aubergine. [2]" in answer.text.splitlines()
    texts = {passage.document_id: passage.text for passage in HISTORY}
    for citation in answer.citations:
        assert citation.step == 0
        assert texts[citation.document_id][citation.start : citation.end] == citation.quote
    assert {citation.document_id for citation in answer.citations} >= {"n1", "n2"}
    assert answer.dropped_marks == 0
    assert trajectory.violations == {}


async def test_without_a_model_rag_says_so_when_nothing_was_found() -> None:
    trajectory = await ask("rag", ExtractivePolicy(), Finds())
    assert answer_of(trajectory).text == "Your history does not tell."


async def test_without_a_model_none_claims_nothing_about_the_history() -> None:
    trajectory = await ask("none", ExtractivePolicy(), Finds(*HISTORY))
    assert kinds(trajectory) == ["thought", "answer"]
    assert answer_of(trajectory).text == phrases("en").unread
    assert "Read 0 documents" not in trajectory.transcript
