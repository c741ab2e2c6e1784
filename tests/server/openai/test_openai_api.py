"""The unmodified client of OpenAI against the API, over a socket where that matters."""

import json
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params

from agent.citations import resolve
from agent.engines.errors import EngineError
from agent.episode import Episode
from agent.policies.scripted import Piece, ScriptedPolicy
from agent.policy import Chunk
from agent.trajectory import Read
from index.documents import Passage
from server.http.app import create_app
from server.openai.bodies import CONVERSATION_CHARACTERS, IGNORED, MODELS, REFUSED, ChatRequest, Marks
from server.service import Service
from tests.agent import texts
from tests.server.conftest import MakeService
from tests.server.live import ANA, BEN, THINK_ANSWER, THINK_SEARCH, Api, api_of, serving, soon

QUESTION: list[Any] = [{"role": "user", "content": "Which fruit do I like?"}]
DANGLING: list[Piece] = [
    *["<think>Now I know.</think><answer>She likes pears", " [", "1, 9", "]. Figs ", " [7", "][", "1] [x] ["],
    *["1234567]\n", "[8]</answer>"],
]


CLIENT: Any = {"api_key": "sk-any", "max_retries": 0}


class Listening(ScriptedPolicy):
    """Keeps what it is asked to continue."""

    def __init__(self, turns: Sequence[str | Sequence[Piece]]) -> None:
        super().__init__(turns)
        self.prompts: list[str] = []

    def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        self.prompts.append(episode.prompt)
        return super().generate(episode, max_tokens)


@dataclass
class Chat:
    """OpenAI's client without a socket, and the API behind it."""

    client: AsyncOpenAI
    api: Api

    async def ask(self, user: str = "ana", **more: Any) -> ChatCompletion:
        arguments = {"model": "pr2", "messages": QUESTION, "user": user, **more}
        completion: ChatCompletion = await self.client.chat.completions.create(**arguments)
        return completion

    async def stream(self, user: str = "ana", **more: Any) -> list[ChatCompletionChunk]:
        arguments = {"model": "pr2", "messages": QUESTION, "user": user, **more}
        async with await self.client.chat.completions.create(stream=True, **arguments) as stream:
            return [chunk async for chunk in stream]

    async def refusal(self, kind: type[openai.APIStatusError], **more: Any) -> dict[str, Any]:
        """What the error says that the client raises."""
        with pytest.raises(kind) as raised:
            await self.ask(**more)
        assert raised.value.type == raised.value.body["type"]  # type: ignore[index]
        error: dict[str, Any] = raised.value.response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


@asynccontextmanager
async def chat_of(service: Service, user: str = "ana") -> AsyncGenerator[Chat, None]:
    async with api_of(service) as api:
        if user:
            await api.put(user, ANA)
        http_client: Any = api.client  # The client is typed with a fork of httpx, and takes both.
        yield Chat(AsyncOpenAI(**CLIENT, base_url="http://api/v1", http_client=http_client), api)


@pytest.fixture
async def chat(make_service: MakeService) -> AsyncGenerator[Chat, None]:
    async with chat_of(make_service()) as chat:
        yield chat


@pytest.fixture
async def bare(make_service: MakeService) -> AsyncGenerator[Chat, None]:
    """For what is refused before anybody's documents are looked at: there are none."""
    async with chat_of(make_service(), user="") as chat:
        yield chat


@contextmanager
def listening(service: Service) -> Iterator[str]:
    """The API behind a socket, with Ana's documents."""
    with serving(create_app(service.settings, service)) as url:
        assert httpx.put(f"{url}/v1/users/ana/documents", json=ANA).status_code == 200
        yield url


def joined(chunks: Sequence[ChatCompletionChunk], field: str) -> str:
    deltas = [choice.delta.to_dict() for chunk in chunks for choice in chunk.choices]
    return "".join(str(delta[field]) for delta in deltas if delta.get(field))


def annotations_of(chunks: Sequence[ChatCompletionChunk]) -> list[Any]:
    deltas: list[Any] = [choice.delta.to_dict() for chunk in chunks for choice in chunk.choices]
    return [annotation for delta in deltas for annotation in delta.get("annotations", [])]


def test_the_client_asks_and_streams_over_a_socket(make_service: MakeService) -> None:
    service = make_service()
    with listening(service) as url, OpenAI(**CLIENT, base_url=f"{url}/v1") as client:
        completion = client.chat.completions.create(model="pr2", messages=QUESTION, user="ana")
        with client.chat.completions.create(
            model="pr2",
            messages=QUESTION,
            user="ana",
            stream=True,
            stream_options={"include_usage": True},
        ) as stream:
            chunks = list(stream)
        with client.chat.completions.stream(model="pr2", messages=QUESTION, user="ana") as events:
            gathered = events.get_final_completion()
        assert [model.id for model in client.models.list()] == ["pr2", "pr2-rag", "pr2-planpers", "pr2-none"]
        link = completion.choices[0].message.annotations[0].url_citation.url  # type: ignore[index]
        assert httpx.get(link).json() == ANA[0]
        answer_id = completion.id.removeprefix("chatcmpl-")
        stored = httpx.get(f"{url}/v1/users/ana/answers/{answer_id}").json()
    message = completion.choices[0].message
    assert message.content == stored["answer"] == "She likes pears [1]."
    assert (completion.choices[0].finish_reason, chunks[-2].choices[0].finish_reason) == ("stop", "stop")
    assert joined(chunks, "content") == gathered.choices[0].message.content == message.content
    assert annotations_of(chunks) == [one.to_dict() for one in message.annotations or []]
    assert chunks[-1].choices == []
    assert chunks[-1].usage == completion.usage
    assert {chunk.usage for chunk in chunks[:-1]} == {None}


async def test_a_completion_has_exactly_openais_shape(chat: Chat) -> None:
    completion = await chat.ask()
    ChatCompletion.model_validate(completion.to_dict())
    assert completion.object == "chat.completion"
    assert completion.usage
    assert (completion.usage.completion_tokens, completion.usage.total_tokens) == (2, 2)
    message: Any = completion.choices[0].message
    assert message.reasoning_content == 'What does she like?\n\nSearched: "favourite food"\n\nNow I know.'
    extras: Any = completion.to_dict()["pr2"]
    stored = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    assert completion.id == f"chatcmpl-{stored['id']}"
    assert {name: extras[name] for name in ("method", "finish_reason", "citations")} == {
        name: stored[name] for name in ("method", "finish_reason", "citations")
    }
    for chunk in await chat.stream():
        ChatCompletionChunk.model_validate(chunk.to_dict())


async def test_a_stream_begins_with_the_role_and_ends_with_the_reason(chat: Chat) -> None:
    chunks = await chat.stream()
    assert chunks[0].choices[0].delta.to_dict() == {"role": "assistant", "content": ""}
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert (chunks[-1].choices[0].finish_reason, chunks[-1].choices[0].delta.to_dict()) == ("stop", {})
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    assert joined(chunks, "reasoning_content") == (
        'What does she like?\n\nSearched: "favourite food"\n\nNow I know.'
    )
    assert all("usage" not in chunk.to_dict() for chunk in chunks)
    answer_id = chunks[-1].to_dict()["pr2"]["answer_id"]  # type: ignore[index]
    assert (await chat.api.client.get(f"/v1/users/ana/answers/{answer_id}")).status_code == 200


async def test_events_have_no_names_and_done_is_last(chat: Chat) -> None:
    body = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": True}
    response = await chat.api.client.post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = response.text.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") for event in events)
    assert events[-1] == "data: [DONE]"


async def test_a_streamed_answer_is_the_answer_without_the_marks_that_point_nowhere(
    make_service: MakeService,
) -> None:
    async with chat_of(make_service(ScriptedPolicy([THINK_SEARCH, DANGLING]))) as chat:
        completion = await chat.ask(extra_body={"limits": {"top_k": 1}})
        chunks = await chat.stream(extra_body={"limits": {"top_k": 1}})
    assert completion.choices[0].message.content == "She likes pears [1]. Figs [1] [x] [1234567]"
    assert joined(chunks, "content") == completion.choices[0].message.content
    assert sum("content" in chunk.choices[0].delta.to_dict() for chunk in chunks) > 4


READS = {number: (Read(number, Passage("tea", "I drink tea.")), 0) for number in (1, 2, 12)}
MARKS = st.sampled_from(
    [
        "[1]",
        "[7]",
        " [2][9]",
        "[7, 1]",
        " [ 1]",
        "[",
        "]",
        "1",
        "12",
        ",",
        " ",
        "\n",
        "\u2003",
        "١",
        "tea",
        "0" * 7,
    ]
)


@given(st.lists(st.one_of(MARKS, MARKS, texts.fragments), max_size=20).map("".join), texts.cuts)
def test_what_is_streamed_is_always_a_beginning_of_the_answer_and_lags_only_behind_marks(
    raw: str, cuts: list[int]
) -> None:
    whole = resolve(raw, READS)[0]
    for pieces in (texts.pieces(raw, cuts), texts.one_by_one(raw)):
        marks = Marks()
        marks.know(read for read, _ in READS.values())
        shown = ""
        for piece in pieces:
            shown += marks.feed(piece)
            assert whole.startswith(shown)
        assert re.fullmatch(r"\s*(\[[\d\s,]*)?", whole[len(shown) :])


async def test_every_mark_is_annotated_with_the_line_that_it_rests_on(make_service: MakeService) -> None:
    lines = "I love ripe pears. I never drink coffee."
    answer = "She loves ripe pears [1]. Never coffee [1, 2]. Ripe pears again, she loves them [1]."
    async with chat_of(make_service(ScriptedPolicy([THINK_SEARCH, f"<answer>{answer}</answer>"]))) as chat:
        await chat.api.put("cy d", [{"id": "p1 100%?", "text": lines, "title": "Taste"}])
        await chat.api.put("cy d", [{"id": "x", "text": "The bus was late."}])
        message: Any = (await chat.ask("cy d", extra_body={"retriever": "dense"})).choices[0].message
        cited = [annotation.url_citation for annotation in message.annotations]
        documents = [
            (await chat.api.client.get(urlsplit(one.url)._replace(scheme="", netloc="").geturl())).json()
            for one in cited
        ]
    assert message.content == answer
    places = [answer[one.start_index : one.end_index] for one in cited]
    assert places == ["[1]", "[1, 2]", "[1, 2]", "[1]"]
    pears, coffee = "I love ripe pears.", "I never drink coffee."
    assert [one.quote for one in cited] == [pears, coffee, "The bus was late.", pears]
    assert [one.title for one in cited] == ["Taste", "Taste", "x", "Taste"]
    assert [document["id"] for document in documents] == [one.document_id for one in cited]
    assert cited[0].url == "http://api/v1/users/cy%20d/documents/p1%20100%25%3F"


async def test_users_are_as_separate_as_ever(chat: Chat) -> None:
    await chat.api.put("ben", BEN)
    message: Any = (await chat.ask("ben")).choices[0].message
    assert [annotation.url_citation.document_id for annotation in message.annotations] == ["b1"]


async def test_models_are_the_methods(bare: Chat) -> None:
    models = [model async for model in bare.client.models.list()]
    assert [model.id for model in models] == list(MODELS)
    assert {(model.object, model.owned_by) for model in models} == {("model", "pr2")}
    assert await bare.client.models.retrieve("pr2-rag") == models[1]
    with pytest.raises(openai.NotFoundError, match="pr2, pr2-rag, pr2-planpers, pr2-none") as raised:
        await bare.client.models.retrieve("gpt-5")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    error = await bare.refusal(openai.NotFoundError, model="gpt-5")
    assert (error["type"], error["code"], error["param"]) == ("not_found_error", "model_not_found", "model")


@pytest.mark.parametrize(("model", "steps"), [("pr2-rag", ["information"]), ("pr2-none", [])])
async def test_a_model_answers_in_its_methods_way(
    make_service: MakeService, model: str, steps: list[str]
) -> None:
    async with chat_of(make_service(ScriptedPolicy([THINK_ANSWER]))) as chat:
        completion = await chat.ask(model=model)
        extras: Any = completion.to_dict()["pr2"]
        record = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    assert completion.model == model
    assert f"pr2-{extras['method']}" == f"pr2-{record['method']}" == model
    assert [step["kind"] for step in record["trajectory"]["steps"]] == [*steps, "thought", "answer"]
    assert completion.choices[0].message.content == ("She likes pears [1]." if steps else "She likes pears.")


async def test_earlier_messages_reach_the_prompt(make_service: MakeService) -> None:
    policy = Listening([THINK_ANSWER])
    earlier = [
        {"role": "system", "content": "Be short."},
        {"role": "developer", "content": [{"type": "text", "text": "Be"}, {"type": "text", "text": "kind."}]},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!", "refusal": None, "annotations": [], "tool_calls": None},
    ]
    async with chat_of(make_service(policy)) as chat:
        await chat.ask(messages=[*earlier, *QUESTION])
    [prompt] = policy.prompts
    said = "system: Be short.\nsystem: Be\n    kind.\nuser: Hello\nassistant: Hi!\n"
    assert f"{said}\nQuestion: Which fruit do I like?" in prompt


async def test_a_long_conversation_keeps_its_system_messages_and_its_newest_end(
    make_service: MakeService,
) -> None:
    policy = Listening([THINK_ANSWER])
    earlier = [{"role": "user", "content": "oldest"}, {"role": "system", "content": "Be short."}] + [
        {"role": "assistant", "content": f"<{number}>" + "x" * 2_996} for number in range(1, 5)
    ]
    async with chat_of(make_service(policy)) as chat:
        await chat.ask(messages=[*earlier, *QUESTION])
        completion = await chat.ask(messages=[{"role": "system", "content": "y" * 99_999}, *QUESTION])
    first, second = policy.prompts
    assert "oldest" not in first
    assert [number for number in "1234" if f"assistant: <{number}>x" in first] == ["2", "3", "4"]
    assert first.index("Be short.") < first.index("<2>")
    kept = sum(len(text) for text in re.findall(r"^(?:system|assistant): (.*)$", first, re.MULTILINE))
    assert kept == second.count("y" * 8_000) * CONVERSATION_CHARACTERS == CONVERSATION_CHARACTERS
    assert completion.choices[0].message.content


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("What?", "messages"),
        (["What?"], "messages[0]"),
        ([{"role": "system", "content": "Be short."}], "messages"),
        ([*QUESTION, {"role": "assistant", "content": "Pears."}], "messages"),
        ([{"role": "user", "content": " \n"}], "messages"),
        ([{"role": "user", "content": "x" * 8_001}], "messages"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": "a\0b"}], "messages[0].content"),
        ([{"role": "assistant", "content": None}, *QUESTION], "messages[0].content"),
        ([{"role": "assistant", "content": "", "tool_calls": [{}]}, *QUESTION], "messages[0]"),
        ([{"role": "tool", "content": "4", "tool_call_id": "t"}, *QUESTION], "messages[0]"),
        ([*QUESTION, {"role": "function", "name": "f", "content": "4"}], "messages[1]"),
        ([{"content": "What?"}], "messages[0]"),
        ([{"role": ["user"], "content": "What?"}], "messages[0]"),
    ],
)
async def test_messages_that_make_no_question_are_refused(bare: Chat, messages: Any, param: str) -> None:
    error = await bare.refusal(openai.BadRequestError, messages=[], extra_body={"messages": messages})
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f"}},
        {"type": "text"},
        "text",
    ],
)
async def test_only_text_is_read(bare: Chat, part: Any) -> None:
    content = [{"type": "text", "text": "What is this?"}, part]
    error = await bare.refusal(openai.BadRequestError, messages=[{"role": "user", "content": content}])
    assert error["param"] == "messages[0].content[1]"


@pytest.mark.parametrize("user", [openai.NOT_GIVEN, None, "", "  "])
async def test_who_asks_has_to_be_said(bare: Chat, user: Any) -> None:
    error = await bare.refusal(openai.BadRequestError, user=user)
    assert (error["type"], error["param"]) == ("invalid_request_error", "user")
    assert "person" in error["message"]


async def test_an_unknown_user_is_not_found_and_a_bad_one_is_refused(chat: Chat) -> None:
    error = await chat.refusal(openai.NotFoundError, user="nobody")
    assert (error["type"], error["code"], error["param"]) == ("not_found_error", "unknown-user", "user")
    error = await chat.refusal(openai.NotFoundError, user="nobody", stream=True)
    assert error["code"] == "unknown-user"
    error = await chat.refusal(openai.BadRequestError, user="a/b")
    assert (error["code"], error["param"]) == ("invalid-name", "user")


ASKED: dict[str, Any] = {
    "n": 2,
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": "auto",
    "response_format": {"type": "json_object"},
    "logprobs": True,
    "top_logprobs": 2,
    "audio": {"voice": "alloy", "format": "wav"},
    "modalities": ["text", "audio"],
    "moderation": {"model": "omni"},
    "prediction": {"type": "content", "content": "x"},
    "web_search_options": {},
    "stop": "\n",
    "temprature": 0.3,
    "max_tokens": 0,
    "max_completion_tokens": 32_769,
    "retriever": "magic",
    "stream_options": 3,
}


@pytest.mark.parametrize("name", [*REFUSED, *(ASKED.keys() - REFUSED.keys())])
async def test_what_is_not_served_is_refused_by_name(bare: Chat, name: str) -> None:
    error = await bare.refusal(openai.BadRequestError, extra_body={name: ASKED[name]})
    assert (error["type"], error["param"]) == ("invalid_request_error", name)
    assert name in error["message"]


async def test_a_limit_out_of_bounds_is_refused_by_name(bare: Chat) -> None:
    error = await bare.refusal(openai.BadRequestError, extra_body={"limits": {"top_k": 0}})
    assert error["param"] == "limits.top_k"


async def test_what_only_tunes_is_taken_and_so_is_what_asks_for_nothing(chat: Chat) -> None:
    values = {**dict.fromkeys(IGNORED, 1), **REFUSED, "stream_options": {"include_usage": False}}
    assert (await chat.ask(extra_body=values)).choices[0].message.content
    nulls = dict.fromkeys([*IGNORED, *REFUSED, "stream", "max_tokens", "limits", "retriever"])
    assert (await chat.ask(extra_body=nulls)).choices[0].message.content


def test_every_parameter_of_the_client_is_taken_ignored_or_refused() -> None:
    names = set(completion_create_params.CompletionCreateParamsBase.__annotations__)
    assert names <= ChatRequest.model_fields.keys() | IGNORED | REFUSED.keys()
    assert not IGNORED & REFUSED.keys()


async def test_limits_and_retriever_are_taken_from_the_request(chat: Chat) -> None:
    body = {"limits": {"top_k": 2, "max_tokens": 9}, "retriever": "bm25"}
    extras: Any = (await chat.ask(max_tokens=99, extra_body=body)).to_dict()["pr2"]
    record = (await chat.api.client.get(f"/v1/users/ana/answers/{extras['answer_id']}")).json()
    limits = record["trajectory"]["limits"]
    assert (limits["top_k"], limits["max_tokens"], limits["max_searches"]) == (2, 99, 4)
    assert record["retriever"] == "bm25"


async def test_an_answer_that_a_limit_cut_off_has_the_reason_length(make_service: MakeService) -> None:
    turn = ["<think>Hm.</think><answer>", "She ", "likes ", "pears [", "1].</answer>"]
    async with chat_of(make_service(ScriptedPolicy([turn]))) as chat:
        completion = await chat.ask(max_completion_tokens=4)
        chunks = await chat.stream(max_tokens=4)
    assert completion.choices[0].finish_reason == chunks[-1].choices[0].finish_reason == "length"
    assert completion.choices[0].message.content == joined(chunks, "content") == "She likes pears ["


@pytest.mark.parametrize(
    ("turns", "more", "status", "code"),
    [
        ([THINK_SEARCH], {"limits": {"max_searches": 1}}, 502, "max_searches"),
        ([["<think>", "so ", "much ", "to ", "say"]], {"max_tokens": 3}, 400, "max_tokens"),
        (["<think>I do not know what to do.</think>"], {}, 502, "invalid"),
        (["<answer>[7]</answer>"], {}, 502, "invalid"),
        ([["<think>", "long"] * 99], {"limits": {"deadline_ms": 1}}, 504, "deadline"),
        ([["<think>", EngineError("timeout", "silent")]], {}, 504, "policy_error"),
        ([["<think>", EngineError("unavailable", "silent")]], {}, 502, "policy_error"),
        ([THINK_SEARCH, ["<answer>She", EngineError("broken_stream", "silent")]], {}, 502, "policy_error"),
    ],
)
async def test_no_answer_is_an_error_and_never_an_empty_success(
    make_service: MakeService, turns: list[Any], more: dict[str, Any], status: int, code: str
) -> None:
    policy = ScriptedPolicy(turns, delay_s=0.002 if code == "deadline" else 0.0)
    async with chat_of(make_service(policy)) as chat:
        kind = openai.BadRequestError if status == 400 else openai.InternalServerError
        error = await chat.refusal(kind, extra_body=more)
        with pytest.raises(openai.APIError) as raised:
            await chat.stream(extra_body=more)
    assert (error["code"], error["type"]) == (code, "invalid_request_error" if status == 400 else "api_error")
    assert ("silent" in error["message"]) == (code == "policy_error")
    body: Any = raised.value.body
    assert (body["code"], body["type"]) == (error["code"], error["type"])
    assert re.search("stored as answer [0-9a-f]{32}", error["message"])


async def test_a_failure_in_mid_stream_comes_after_what_was_written_and_without_done(
    make_service: MakeService,
) -> None:
    turn: list[Piece] = ["<think>Hm.</think><answer>She ", "likes", EngineError("broken_stream", "gone")]
    async with chat_of(make_service(ScriptedPolicy([turn]))) as chat:
        body = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": True}
        text = (await chat.api.client.post("/v1/chat/completions", json=body)).text
        with pytest.raises(openai.APIError, match="gone"):
            await chat.stream()
    *chunks, last = [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n")[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "She likes"
    assert last["error"]["code"] == "policy_error"


async def test_an_unexpected_error_gives_nothing_away(make_service: MakeService) -> None:
    policy = ScriptedPolicy([["<think>Hm.</think>", RuntimeError("password=hunter2")]])
    async with chat_of(make_service(policy)) as chat:
        error = await chat.refusal(openai.InternalServerError)
        with pytest.raises(openai.APIError) as raised:
            await chat.stream()
    assert (error["type"], error["code"]) == ("api_error", "internal")
    assert raised.value.body == error
    assert "hunter2" not in str(error)


async def test_too_many_questions_are_a_rate_limit(make_service: MakeService) -> None:
    service = make_service(limits={"concurrency": 1, "queue": 0})
    async with chat_of(service) as chat:
        with service.queue.enter("ben"), pytest.raises(openai.RateLimitError) as raised:
            await chat.ask()
        assert int(raised.value.response.headers["retry-after"]) >= 1
        assert (raised.value.type, raised.value.code) == ("rate_limit_error", "busy")
        assert (await chat.ask()).choices


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"model": ', "application/json"),
        (b"[]", "application/json"),
        (b"7", "application/json"),
        (b"", "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 200_000, "application/json"),
        (json.dumps({"model": "pr2", "messages": QUESTION, "user": "ana"}).encode(), "text/plain"),
        (b"model=pr2", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(bare: Chat, content: bytes, media_type: str) -> None:
    headers = {"content-type": media_type}
    response = await bare.api.client.post("/v1/chat/completions", content=content, headers=headers)
    assert (response.status_code, response.headers["content-type"]) == (400, "application/json")
    error = response.json()["error"]
    assert error["message"]
    assert (error["type"], error["param"]) == ("invalid_request_error", None)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method-not-allowed"),
        ("DELETE", "/v1/models/pr2", 405, "method-not-allowed"),
        ("POST", "/v1/models", 405, "method-not-allowed"),
        ("POST", "/v1/chat/nothing", 404, "not-found"),
    ],
)
async def test_errors_of_routing_have_the_shape_too(
    bare: Chat, method: str, path: str, status: int, code: str
) -> None:
    response = await bare.api.client.request(method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert ("allow" in response.headers) == (status == 405)


async def test_other_routes_keep_their_problems(bare: Chat) -> None:
    for path in ("/v1/users/nobody/documents", "/v1/modelsx", "/v1"):
        response = await bare.api.client.get(path)
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")


async def test_a_body_that_is_too_large_is_refused(bare: Chat) -> None:
    error = await bare.refusal(openai.APIStatusError, extra_body={"metadata": "x" * 5 * 2**20})
    assert (error["type"], error["code"]) == ("invalid_request_error", "body-too-large")


async def test_the_document_of_the_api_shows_the_errors_of_these_routes(bare: Chat) -> None:
    operation = (await bare.api.client.get("/openapi.json")).json()["paths"]["/v1/chat/completions"]["post"]
    schema = operation["responses"]["default"]["content"]["application/json"]["schema"]
    assert schema["$ref"].endswith("/ErrorBody")
    assert all(name in operation["description"] for name in (*IGNORED, *REFUSED))


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_cancels_the_generation(make_service: MakeService, stream: bool) -> None:
    policy = ScriptedPolicy([["<think>Hm.</think>", "<answer>", *["more "] * 2_000]], delay_s=0.02)
    with listening(make_service(policy)) as url:
        arguments: Any = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": stream}
        async with AsyncOpenAI(**CLIENT, base_url=f"{url}/v1", timeout=0.5) as client:
            if stream:
                async with await client.chat.completions.create(**arguments) as chunks:
                    async for chunk in chunks:
                        if chunk.choices[0].delta.content:
                            break
            else:
                with pytest.raises(openai.APITimeoutError):
                    await client.chat.completions.create(**arguments)
        assert await soon(lambda: policy.cancelled == ["Which fruit do I like?"], seconds=2)


async def test_silence_is_filled_with_comments_that_the_client_overlooks(make_service: MakeService) -> None:
    service = make_service(ScriptedPolicy([THINK_ANSWER], delay_s=0.3))
    app = create_app(service.settings, service, keep_alive_s=0.1)
    with serving(app) as url:
        async with AsyncOpenAI(**CLIENT, base_url=f"{url}/v1") as client:
            async with httpx.AsyncClient(base_url=url) as http:
                await http.put("/v1/users/ana/documents", json=ANA)
                body: Any = {"model": "pr2", "messages": QUESTION, "user": "ana", "stream": True}
                text = (await http.post("/v1/chat/completions", json=body)).text
            chunks = [chunk async for chunk in await client.chat.completions.create(**body)]
    assert text.count(": keep-alive\n\n") >= 2
    assert joined(chunks, "content") == "She likes pears."
