import time
from collections.abc import Callable
from typing import Any

import pytest

from index.ranking.rerank_servers import SERVERS, TEXTS
from index.ranking.reranking import RerankerFailure
from index.remote import Remote
from tests.engine import HANG_BEFORE_HEADERS, Reply, Request, fails
from tests.model_server import ModelServer, cohere, says, shared_words, tei

FORMS: dict[str, Callable[[Callable[[str, str], float]], Callable[[Request], Reply]]] = {
    "cohere": cohere,
    "tei": tei,
}


def scores(server: ModelServer, form: str, texts: list[str], model: str = "") -> list[float]:
    reranker = SERVERS[form](Remote(server.base_url, "secret", timeout_s=0.5), model)
    return list(reranker.scores("green tea", texts, time.monotonic() + 60))


@pytest.mark.parametrize("form", FORMS)
def test_scores_come_in_the_order_of_the_texts(form: str) -> None:
    texts = [f"{'green ' * (number % 2)}tea number {number}" for number in range(TEXTS + 3)]
    with ModelServer(FORMS[form](shared_words)) as server:
        found = scores(server, form, texts, "tiny")
        assert found == [shared_words("green tea", text) for text in texts]
        assert {request.path for request in server.requests} == {"/v1/rerank"}
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}
        sizes = [len(request.json.get("texts") or request.json["documents"]) for request in server.requests]
        assert sizes == [TEXTS, 3]
        if form == "cohere":
            assert {request.json["model"] for request in server.requests} == {"tiny"}


def ranks(form: str, *pairs: tuple[int, Any]) -> Reply:
    if form == "tei":
        return says([{"index": index, "score": score} for index, score in pairs])
    return says({"results": [{"index": index, "relevance_score": score} for index, score in pairs]})


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda form: ranks(form, (0, 0.5)), "1 scores for 2 passages"),
        (lambda form: ranks(form, (0, 0.5), (0, 0.4)), "2 scores for 2 passages"),
        (lambda form: ranks(form, (0, 0.5), (2, 0.4)), "2 scores for 2 passages"),
        (lambda form: ranks(form, (0, 0.5), (1, 0.4), (1, 0.4)), "3 scores for 2 passages"),
        (lambda form: ranks(form, (0, "best"), (1, 0.4)), "no list of scores"),
        (lambda form: says({"scores": []}), "no list of scores"),
        (lambda form: Reply((b"<html>",)), "did not reply with JSON"),
        (lambda form: fails(500, "green tea"), "status 500"),
        (lambda form: Reply(("cut",)), "cannot be reached, or broke off"),
        (lambda form: HANG_BEFORE_HEADERS, r"did not answer /rerank within 0\.5 s"),
    ],
)
def test_a_reply_that_cannot_be_used_is_a_failure(
    form: str, reply: Callable[[str], Reply], expected: str
) -> None:
    with ModelServer(lambda request: reply(form)) as server, pytest.raises(RerankerFailure) as failure:
        scores(server, form, ["green tea", "black tea"])
    assert "tea" not in str(failure.value)
    assert "secret" not in str(failure.value)
    failure.match(expected)
