"""Documents over HTTP: a put is complete, and a refusal leaves nothing behind."""

import json
import tracemalloc
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import TypeAdapter

from index.values import Receipt
from server.http.bodies import DocumentPage, PutResult
from server.http.profiles import LINE_BYTES
from tests.server.conftest import MakeService
from tests.server.live import ANA, BEN, Api, api_of, full_disk

NDJSON = {"content-type": "application/x-ndjson"}


def ndjson(documents: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def report(put: int, *added: str, **changed: Any) -> dict[str, Any]:
    none = {"count": 0, "first": []}
    return {
        "put": put,
        "added": {"count": len(added), "first": list(added[:100])},
        "unchanged": none,
        "replaced": none,
        "duplicates": [],
        "duplicate_count": 0,
        "skipped": [],
        "skipped_count": 0,
    } | changed


async def ids(api: Api, user: str) -> list[str]:
    response = await api.client.get(f"/v1/users/{user}/documents")
    return [document["id"] for document in response.json()["documents"]]


async def test_an_array_and_ndjson_store_the_same(api: Api) -> None:
    as_array = await api.client.put("/v1/users/ana/documents", json=ANA)
    as_lines = await api.client.put("/v1/users/ben/documents", content=ndjson(ANA), headers=NDJSON)
    assert as_array.json() == as_lines.json() == report(3, "a1", "a2", "a3")
    pages = [(await api.client.get(f"/v1/users/{user}/documents")).json() for user in ("ana", "ben")]
    assert pages[0] == pages[1] == {"documents": ANA, "next_cursor": None}
    PutResult.model_validate(as_array.json())
    DocumentPage.model_validate(pages[0])


async def test_an_invalid_line_is_named_and_nothing_is_stored(api: Api) -> None:
    body = ndjson(ANA[:1]) + b'\n{"id": "x"}\n' + ndjson(ANA[1:])
    response = await api.client.put("/v1/users/ana/documents", content=body, headers=NDJSON)
    assert response.status_code == 422
    problem = response.json()
    assert (problem["type"], problem["line"]) == ("urn:pr2:problem:invalid-document", 3)
    assert "text" in problem["detail"]
    assert (await api.client.get("/v1/users/ana/documents")).status_code == 404


@pytest.mark.parametrize(
    "line", [b"{", b"7", b'{"id": "a\\nb", "text": "x"}', b'{"id": "a", "text": "\\ud800"}']
)
async def test_a_line_that_is_no_document_is_refused(api: Api, line: bytes) -> None:
    response = await api.client.put("/v1/users/ana/documents", content=line, headers=NDJSON)
    assert response.status_code == 422
    assert response.json()["line"] == 1


async def test_an_unknown_field_with_half_a_surrogate_pair_is_refused_in_readable_json(api: Api) -> None:
    line = b'{"id": "a", "text": "b", "\\ud800": 1}'
    response = await api.client.put("/v1/users/ana/documents", content=line, headers=NDJSON)
    assert response.status_code == 422
    assert response.json()["line"] == 1


async def test_invalid_lines_can_be_skipped_and_are_reported(api: Api) -> None:
    body = b"{\n" + ndjson(ANA) + b'{"id": "x", "text": " "}\n'
    url = "/v1/users/ana/documents?on_error=skip"
    told = (await api.client.put(url, content=body, headers=NDJSON)).json()
    assert told["put"] == 3
    assert [fault["line"] for fault in told["skipped"]] == [1, 5]
    assert all(fault["error"] for fault in told["skipped"])


async def test_a_body_of_bad_lines_is_answered_in_short(api: Api) -> None:
    url = "/v1/users/ana/documents?on_error=skip"
    tracemalloc.start()
    response = await api.client.put(url, content=b"x\n" * 20_000, headers=NDJSON)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20
    assert (response.json()["put"], response.json()["skipped_count"]) == (0, 20_000)
    assert len(response.json()["skipped"]) == 100
    assert len(response.content) < 20_000


async def test_a_put_names_what_it_replaced_or_refuses_to(api: Api) -> None:
    await api.put("ana", ANA)
    url = "/v1/users/ana/documents"
    change = [{"id": "a1", "text": "Other."}, {"text": "No id."}]
    refused = await api.client.put(f"{url}?replace=false", json=change)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:pr2:problem:would-replace")
    assert await ids(api, "ana") == ["a1", "a2", "a3"]
    told = (await api.client.put(url, json=change)).json()
    assert told["replaced"] == {"count": 1, "first": ["a1"]}
    assert told["added"] == {"count": 1, "first": (await ids(api, "ana"))[3:]}
    assert (await api.client.put(url, json=change)).json()["unchanged"]["count"] == 2


async def test_of_the_same_id_twice_the_last_counts_and_is_reported(api: Api) -> None:
    twice = [{"id": "a", "text": "old"}, {"id": "b", "text": "other"}, {"id": "a", "text": "new"}]
    told = (await api.client.put("/v1/users/ana/documents", json=twice)).json()
    assert told == report(2, "a", "b", duplicates=["a"], duplicate_count=1)
    assert (await api.client.get("/v1/users/ana/documents/a")).json()["text"] == "new"


async def test_an_object_is_not_an_array(api: Api) -> None:
    response = await api.client.put("/v1/users/ana/documents", json=ANA[0])
    assert response.status_code == 422
    assert "array" in response.json()["detail"]


@pytest.mark.parametrize("headers", [{"content-type": "text/csv"}, {}])
async def test_another_content_type_is_refused_and_the_right_ones_are_named(
    api: Api, headers: dict[str, str]
) -> None:
    response = await api.client.put("/v1/users/ana/documents", content=b"id,text", headers=headers)
    assert response.status_code == 415
    assert "application/x-ndjson" in response.json()["detail"]
    assert "application/json" in response.json()["detail"]


async def test_a_content_type_may_have_parameters(api: Api) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    response = await api.client.put("/v1/users/ana/documents", content=json.dumps(ANA), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("declared", [True, False])
async def test_a_body_over_the_limit_is_refused_with_the_limit(api: Api, declared: bool) -> None:
    size = (api.service.settings.upload_mb * 2**20) + 1
    if declared:
        headers = NDJSON | {"content-length": str(size)}
        response = await api.client.put("/v1/users/ana/documents", content=b"{}", headers=headers)
    else:
        response = await api.client.put("/v1/users/ana/documents", content=_blanks(size), headers=NDJSON)
    assert response.status_code == 413
    assert response.json()["type"] == "urn:pr2:problem:body-too-large"
    assert "2 MB" in response.json()["detail"]


async def _blanks(size: int) -> AsyncGenerator[bytes, None]:
    while size > 0:
        yield b" " * min(size, 2**20)
        size -= 2**20


async def test_a_line_that_is_too_long_is_named(make_service: MakeService) -> None:
    async with api_of(make_service(upload_mb=20)) as api:
        body = ndjson([{"id": "a", "text": "b"}, {"id": "c", "text": "d" * LINE_BYTES}])
        response = await api.client.put("/v1/users/ana/documents", content=body, headers=NDJSON)
        assert (response.status_code, response.json()["line"]) == (422, 2)
        assert (await api.client.get("/v1/users/ana/documents")).status_code == 404


async def test_an_item_of_an_array_that_is_too_long_is_named(make_service: MakeService) -> None:
    async with api_of(make_service(upload_mb=20)) as api:
        body = [{"id": "a", "text": "b"}, {"id": "c", "text": "d" * LINE_BYTES}]
        response = await api.client.put("/v1/users/ana/documents", json=body)
        assert (response.status_code, response.json()["line"]) == (422, 2)
        assert (await api.client.get("/v1/users/ana/documents")).status_code == 404


async def test_an_array_that_is_not_utf8_is_a_problem(api: Api) -> None:
    headers = {"content-type": "application/json"}
    response = await api.client.put("/v1/users/ana/documents", content=b'[{"text": "\xff"}]', headers=headers)
    assert (response.status_code, response.json()["detail"]) == (422, "not JSON: not UTF-8")


async def test_pages_give_every_document_once_in_order(api: Api) -> None:
    await api.put("ana", [{"id": str(n), "text": f"note {n}"} for n in range(7)])
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor is not None:
        params = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await api.client.get("/v1/users/ana/documents", params=params)).json()
        found += [document["id"] for document in page["documents"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert (found, pages) == ([str(n) for n in range(7)], 3)


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "cursor=x", "cursor=-1", f"cursor={2**70}"])
async def test_a_bad_cursor_or_limit_is_a_problem(api: Api, query: str) -> None:
    await api.put("ana", ANA)
    response = await api.client.get(f"/v1/users/ana/documents?{query}")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"].startswith("query.")


async def test_a_deleted_document_is_gone(api: Api) -> None:
    await api.put("ana", ANA)
    assert (await api.client.delete("/v1/users/ana/documents/a2")).status_code == 204
    for method in ("GET", "DELETE"):
        response = await api.client.request(method, "/v1/users/ana/documents/a2")
        assert response.status_code == 404
        assert response.json()["type"] == "urn:pr2:problem:unknown-document"
    assert await ids(api, "ana") == ["a1", "a3"]
    found = await api.client.post("/v1/users/ana/search", json={"queries": ["dentist appointment"]})
    assert all(passage["document_id"] != "a2" for passage in found.json()["results"][0])


async def test_an_export_is_what_put_takes(api: Api) -> None:
    await api.put("ana", ANA + [{"id": f"n{n}", "text": f"line\nbreak é {n}"} for n in range(120)])
    exported = await api.client.get("/v1/users/ana/export")
    assert exported.headers["content-type"] == "application/x-ndjson"
    again = await api.client.put("/v1/users/copy/documents", content=exported.content, headers=NDJSON)
    assert again.json() == report(123, "a1", "a2", "a3", *(f"n{n}" for n in range(120)))
    assert (await api.client.get("/v1/users/copy/export")).content == exported.content


async def test_erasure_leaves_nothing_and_says_what_there_was(api: Api) -> None:
    await api.put("ana", ANA)
    await api.put("ben", BEN)
    answer = (await api.ask("ana")).json()
    receipt = TypeAdapter(Receipt).validate_python((await api.client.delete("/v1/users/ana")).json())
    assert (receipt.user, receipt.documents, receipt.passages, receipt.answers) == ("ana", 3, 3, 1)
    assert receipt.id
    assert receipt.erased_at.endswith("Z")
    assert any("backups" in place for place in receipt.remains)
    for method, path in (
        ("GET", "documents"),
        ("GET", "export"),
        ("GET", f"answers/{answer['id']}"),
        ("DELETE", ""),
    ):
        response = await api.client.request(method, f"/v1/users/ana/{path}".rstrip("/"))
        assert (response.status_code, response.json()["type"]) == (404, "urn:pr2:problem:unknown-user")
    assert await ids(api, "ben") == ["b1"]


BAD_NAMES = ["%20ana", "ana%0A", "a%00b", "x" * 1000, "%F0%9F%90%99" * 65]
ROUTES = [
    ("PUT", "documents"),
    ("GET", "documents"),
    ("GET", "documents/a1"),
    ("DELETE", "documents/a1"),
    ("DELETE", ""),
    ("GET", "export"),
    ("POST", "search"),
    ("POST", "answers"),
    ("GET", "answers/a"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_every_route_refuses_a_bad_user_alike(api: Api, method: str, path: str) -> None:
    bodies = {"search": {"queries": ["x"]}, "answers": {"question": "x"}, "documents": []}
    body = bodies.get(path) if method in {"POST", "PUT"} else None
    for name in BAD_NAMES:
        url = f"/v1/users/{name}/{path}".rstrip("/")
        response = await api.client.request(method, url, json=body)
        assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:invalid-name")
        assert "256 bytes" in response.json()["detail"]


async def test_a_bad_document_id_in_a_path_is_refused(api: Api) -> None:
    await api.put("ana", ANA)
    for name in (*BAD_NAMES, "a1%0A", "a/b"):
        for method in ("GET", "DELETE"):
            response = await api.client.request(method, f"/v1/users/ana/documents/{name}")
            assert (response.status_code, response.json()["type"]) == (422, "urn:pr2:problem:invalid-name")
    assert await ids(api, "ana") == ["a1", "a2", "a3"]


async def test_an_encoded_slash_cannot_reach_another_resource(api: Api) -> None:
    await api.put("ana", ANA)
    response = await api.client.delete("/v1/users/ana%2Fdocuments%2Fa1")
    assert (response.status_code, response.json()["type"]) == (404, "urn:pr2:problem:unknown-user")
    assert await ids(api, "ana") == ["a1", "a2", "a3"]


async def test_a_full_disk_refuses_and_keeps_what_was_there(api: Api) -> None:
    await api.put("ana", ANA)
    many = [{"id": f"n{n}", "text": f"note {n}", "metadata": {"filler": "x" * 50_000}} for n in range(20)]
    with full_disk(api.service):
        for user in ("ana", "new"):
            response = await api.client.put(f"/v1/users/{user}/documents", json=many)
            problem = response.json()
            assert (response.status_code, problem["type"]) == (503, "urn:pr2:problem:store-full")
            assert "full" in problem["detail"]
        assert (await api.client.get("/v1/users/ana/documents")).json()["documents"] == ANA
        assert (await api.client.get("/v1/users/new/documents")).status_code == 404
        found = await api.client.post("/v1/users/ana/search", json={"queries": ["fruit"], "k": 1})
        assert found.json()["results"][0][0]["document_id"] == "a1"
    await api.put("ana", many)
    assert len(await ids(api, "ana")) == 23


async def test_a_put_of_nothing_stores_nothing(api: Api) -> None:
    response = await api.client.put("/v1/users/ana/documents", json=[])
    assert response.json() == report(0)
    assert (await api.client.get("/v1/users/ana/documents")).status_code == 404
