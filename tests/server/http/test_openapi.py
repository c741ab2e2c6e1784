"""The OpenAPI document: whole, with the rules that the server applies, and with streams as events."""

import json
import re
from typing import Any

from server.settings import LimitSettings
from tests.server.live import ANA, Api


async def test_the_openapi_document_is_whole(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    assert document["info"]["title"]
    assert document["info"]["description"]
    for reference in set(re.findall(r"'\$ref': '#/([^']+)'", str(document))):
        place = document
        for key in reference.split("/"):
            place = place[key]
    operations = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert operations == {
        ("PUT", "/v1/users/{user}/documents"),
        ("GET", "/v1/users/{user}/documents"),
        ("GET", "/v1/users/{user}/documents/{document_id}"),
        ("DELETE", "/v1/users/{user}/documents"),
        ("DELETE", "/v1/users/{user}/documents/{document_id}"),
        ("DELETE", "/v1/users/{user}"),
        ("GET", "/v1/users/{user}/export"),
        ("POST", "/v1/users/{user}/search"),
        ("POST", "/v1/users/{user}/answers"),
        ("GET", "/v1/users/{user}/answers"),
        ("GET", "/v1/users/{user}/answers/{answer_id}"),
        ("DELETE", "/v1/users/{user}/answers/{answer_id}"),
        ("POST", "/v1/users/{user}/answers/{answer_id}/feedback"),
        ("POST", "/v1/chat/completions"),
        ("POST", "/v1/responses"),
        ("GET", "/v1/models"),
        ("GET", "/v1/models/{model}"),
        ("GET", "/v1/retrievers"),
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            problem = operation["responses"]["default"]["content"]
            of_openai = "openai" in operation["tags"]
            assert ("application/json" if of_openai else "application/problem+json") in problem, (
                method,
                path,
            )
            assert operation["tags"]
            assert "422" not in operation["responses"]
    upload = document["paths"]["/v1/users/{user}/documents"]["put"]["requestBody"]["content"]
    assert set(upload) == {"application/json", "application/x-ndjson"}


async def test_the_openapi_document_states_the_rules_of_ids_and_lengths(api: Api) -> None:
    document = (await api.client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    ids = [schemas["Document"]["properties"]["id"], schemas["SearchRequest"]["properties"]["like"]]
    ids[1] = ids[1]["anyOf"][0]["items"]
    for path, item in document["paths"].items():
        for operation in item.values():
            given = {parameter["name"]: parameter for parameter in operation.get("parameters", [])}
            ids += [given[name]["schema"] for name in ("user", "document_id", "answer_id") if name in given]
            assert {"user", "document_id", "answer_id"} & set(re.findall(r"{(\w+)}", path)) <= set(given)
    documents = document["paths"]["/v1/users/{user}/documents"]
    for method in ("get", "delete"):
        [query] = [parameter for parameter in documents[method]["parameters"] if parameter["name"] == "id"]
        queried = query["schema"]["anyOf"][0] if method == "get" else query["schema"]
        assert (queried["minItems"], queried["maxItems"]) == (1, 1)
        ids.append(queried["items"])
    for schema in ids:
        assert (schema["minLength"], schema["maxLength"], "default" in schema) == (1, 256, False)
        pattern = re.compile(schema["pattern"])
        assert all(pattern.search(name) for name in ("a", "a b", "<CAF+abc/def=@mail.gmail.com>"))
        assert not any(pattern.search(name) for name in ("", " a", "a ", " "))
    asked = schemas["AnswerRequestBody"]["properties"]
    longest = LimitSettings().question_characters
    for text in (asked["question"], asked["plan"]["anyOf"][0]):
        assert text == text | {"type": "string", "minLength": 1, "maxLength": longest}
    query = schemas["SearchRequest"]["properties"]["queries"]["anyOf"][0]
    assert (query["maxItems"], "maxLength" in query["items"]) == (64, True)


async def test_streams_are_documented_as_events(api: Api) -> None:
    await api.put("ana", ANA)
    document = (await api.client.get("/openapi.json")).json()
    streams = [
        operation["responses"]["200"]["content"]["text/event-stream"]
        for item in document["paths"].values()
        for operation in item.values()
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    ]
    assert len(streams) >= 2
    assert all(list(stream) == ["itemSchema"] for stream in streams)
    answers = document["paths"]["/v1/users/{user}/answers"]["post"]["responses"]["200"]["content"]
    assert answers["application/json"]["schema"] == {"$ref": "#/components/schemas/AnswerBody"}
    events = {
        event["properties"]["event"]["const"]: event["properties"]["data"]
        for event in answers["text/event-stream"]["itemSchema"]["oneOf"]
    }
    streamed = (await api.ask("ana", stream=True)).text
    sent = dict(re.findall(r"^event: (.+)\ndata: (.+)$", streamed, re.MULTILINE))
    assert {"thought", "search", "information", "answer.delta", "answer", "done"} <= set(sent)
    assert set(sent) <= set(events) == set(sent) | {"plan", "invalid", "error"}
    for name, data in sent.items():
        assert events[name]["contentMediaType"] == "application/json"
        properties = _resolved(document, events[name]["contentSchema"])["properties"]
        assert set(json.loads(data)) == set(properties), name


def _resolved(document: Any, schema: Any) -> Any:
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    return (
        document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    )
