"""Search over HTTP."""

from typing import Any

import pytest
from sqlalchemy import update

from index.storage.schema import passages
from server.http.bodies import RetrieverNames, SearchResults
from tests.server.live import ANA, BEN, Api


async def search(api: Api, user: str, **body: Any) -> Any:
    response = await api.client.post(f"/v1/users/{user}/search", json=body)
    assert response.status_code == 200, response.text
    SearchResults.model_validate(response.json())
    return response.json()["results"]


async def test_the_retrievers_that_a_search_can_name_are_listed(api: Api) -> None:
    listed = (await api.client.get("/v1/retrievers")).json()
    RetrieverNames.model_validate(listed)
    assert listed["default"] == "hybrid"
    assert {"bm25", "dense", "hybrid", "recency"} <= set(listed["retrievers"])
    await api.put("ana", ANA)
    for retriever in listed["retrievers"]:
        body = {"queries": ["pears"], "retriever": retriever}
        assert (await api.client.post("/v1/users/ana/search", json=body)).status_code == 200


async def test_each_query_has_its_list_best_first(api: Api) -> None:
    await api.put("ana", ANA)
    pears, teeth = await search(api, "ana", queries=["fruit", "teeth"], k=2, retriever="dense")
    assert [passage["rank"] for passage in pears] == [1, 2]
    assert pears[0]["score"] >= pears[1]["score"]
    assert teeth[0]["document_id"] == "a2"
    assert pears[0] == {
        "document_id": "a1",
        "text": ANA[0]["text"],
        "start": 0,
        "created_at": "2024-05-01T12:00:00Z",
        "title": None,
        "source": None,
        "rank": 1,
        "score": pears[0]["score"],
        "copies": 1,
        "unreranked": False,
    }


async def test_what_is_found_is_limited_to_days(api: Api) -> None:
    await api.put("ana", [*ANA, {"id": "old", "text": "pears", "created_at": "2020-05-01T12:00:00Z"}])
    for limits, found in (
        ({"before": "2021-01-01"}, {"old"}),
        ({"after": "2024-05-01"}, {"a1"}),
        ({"as_of": "2020-05-01"}, {"old"}),
        ({"last": "1m", "as_of": "2020-05-31"}, {"old"}),
        ({"as_of": "2019-01-01"}, set()),
    ):
        (passages,) = await search(api, "ana", queries=["pears"], retriever="bm25", **limits)
        assert {passage["document_id"] for passage in passages} == found, limits


@pytest.mark.parametrize(
    ("limits", "problem"),
    [
        ({"after": "2024-05-02", "before": "2024-05-01"}, "invalid-period"),
        ({"last": "soon"}, "invalid-period"),
        ({"time_zone": "Europe/Atlantis"}, "invalid-period"),
        ({"as_of": "2024-02-30"}, "invalid-request"),
        ({"after": "yesterday"}, "invalid-request"),
    ],
)
async def test_limits_that_leave_no_day_are_refused(api: Api, limits: dict[str, str], problem: str) -> None:
    await api.put("ana", ANA)
    response = await api.client.post("/v1/users/ana/search", json={"queries": ["pears"]} | limits)
    assert (response.status_code, response.json()["type"]) == (422, f"urn:pr2:problem:{problem}")


async def test_like_takes_no_limits_in_time(api: Api) -> None:
    await api.put("ana", ANA)
    response = await api.client.post("/v1/users/ana/search", json={"like": ["a1"], "last": "30d"})
    assert (response.status_code, "like takes no limits in time" in response.text) == (422, True)


async def test_like_finds_neighbours_without_the_document_itself(api: Api) -> None:
    await api.put("ana", [*ANA, {"id": "a4", "text": "Our garden is full of ripe fruit."}])
    of_pears, of_dentist = await search(api, "ana", like=["a1", "a2"], k=3)
    assert of_pears[0]["document_id"] == "a4"
    assert "a1" not in {passage["document_id"] for passage in of_pears}
    assert "a2" not in {passage["document_id"] for passage in of_dentist}


async def test_like_an_unknown_document_is_a_404(api: Api) -> None:
    await api.put("ana", ANA)
    response = await api.client.post("/v1/users/ana/search", json={"like": ["a1", "zz"]})
    assert (response.status_code, response.json()["type"]) == (404, "urn:pr2:problem:unknown-document")


async def test_no_hit_is_an_empty_list(api: Api) -> None:
    await api.put("ana", ANA)
    assert await search(api, "ana", queries=["xylophone"], retriever="bm25") == [[]]


async def test_users_never_see_each_other(api: Api) -> None:
    await api.put("ana", ANA)
    await api.put("ben", BEN)
    for query in ("favourite food", "octopus", "pears"):
        for retriever in ("hybrid", "dense", "bm25", "rrf", "recency", "random"):
            [ana] = await search(api, "ana", queries=[query], retriever=retriever)
            [ben] = await search(api, "ben", queries=[query], retriever=retriever)
            assert {passage["document_id"] for passage in ana} <= {"a1", "a2", "a3"}
            assert {passage["document_id"] for passage in ben} <= {"b1"}
    response = await api.client.post("/v1/users/ben/search", json={"like": ["a1"]})
    assert response.status_code == 404


async def test_a_search_for_nobody_is_a_404(api: Api) -> None:
    response = await api.client.post("/v1/users/nobody/search", json={"queries": ["x"]})
    assert (response.status_code, response.json()["type"]) == (404, "urn:pr2:problem:unknown-user")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"queries": []},
        {"queries": ["x"] * 65},
        {"queries": [" "]},
        {"queries": ["x" * 8_001]},
        {"queries": ["x"], "like": ["a1"]},
        {"like": []},
        {"like": ["a1"], "retriever": "dense"},
        {"queries": ["x"], "k": 0},
        {"queries": ["x"], "k": 1_001},
        {"queries": ["x"], "top_k": 3},
        {"queries": "x"},
        [],
    ],
)
async def test_a_body_that_does_not_fit_is_refused_field_by_field(api: Api, body: Any) -> None:
    await api.put("ana", ANA)
    response = await api.client.post("/v1/users/ana/search", json=body)
    assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:invalid-request")
    assert response.json()["errors"][0]["field"].startswith("body")


@pytest.mark.parametrize("character", [b"\\ud800", b"\\u0000"])
async def test_a_query_that_is_not_text_is_refused(api: Api, character: bytes) -> None:
    await api.put("ana", ANA)
    body = b'{"queries": ["%s"]}' % character
    headers = {"content-type": "application/json"}
    response = await api.client.post("/v1/users/ana/search", content=body, headers=headers)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "body.queries.0")


async def test_an_unknown_retriever_is_refused_and_the_known_ones_are_named(api: Api) -> None:
    await api.put("ana", ANA)
    response = await api.client.post("/v1/users/ana/search", json={"queries": ["x"], "retriever": "magic"})
    assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:unknown-retriever")
    assert "bm25" in response.json()["detail"]


async def test_a_damaged_vector_is_a_problem_and_only_for_its_user(api: Api) -> None:
    for user in ("ana", "ben"):
        await api.put(user, ANA)
    with api.service.profiles.store.database.engine.begin() as connection:
        connection.execute(update(passages).where(passages.c.user == "ana").values(vector=b"short!"))
    body = {"queries": ["pears"]}
    response = await api.client.post("/v1/users/ana/search", json=body)
    assert (response.status_code, response.json()["type"]) == (503, "urn:pr2:problem:store-unavailable")
    assert "'ana' does not have 384 dimensions" in response.json()["detail"]
    assert (await api.client.post("/v1/users/ben/search", json=body)).status_code == 200
