"""The page's files: their headers, their caching, their size."""

import re

import pytest

from server.web.routes import static_files
from tests.server.conftest import MakeService
from tests.server.live import Api, api_of

NAMES = sorted(set(static_files()) - {"index.html"})


@pytest.mark.parametrize("path", ["/", *(f"/web/{name}" for name in NAMES)])
async def test_every_file_is_locked_in_and_kept_by_its_etag(api: Api, path: str) -> None:
    sent = await api.client.get(path)
    assert sent.status_code == 200
    policy = sent.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert sent.headers["x-content-type-options"] == "nosniff"
    assert sent.headers["referrer-policy"] == "no-referrer"
    assert sent.headers["cross-origin-opener-policy"] == "same-origin"
    assert sent.headers["cache-control"] == "no-cache"
    for known in (sent.headers["etag"], f'"other", W/{sent.headers["etag"]}', "*"):
        again = await api.client.get(path, headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == sent.headers["etag"]
    assert (await api.client.get(path, headers={"if-none-match": '"other"'})).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/web/", "/web/none.js", "/web/index.html", "/web/__init__.py", "/web/..%2Froutes.py", "/web/%2e%2e"],
)
async def test_there_is_no_other_file(api: Api, path: str) -> None:
    assert (await api.client.get(path)).status_code == 404


def test_the_page_is_under_150_kb() -> None:
    assert sum(map(len, static_files().values())) < 150_000


def test_the_page_names_no_other_host() -> None:
    for name, body in static_files().items():
        addresses = re.findall(rb"(?:https?:)?//[a-z][\w.-]+\.[a-z]+", body)
        assert [one for one in addresses if one != b"http://www.w3.org"] == [], name


async def test_the_page_needs_no_token_and_the_gate_holds_for_it(make_service: MakeService) -> None:
    async with api_of(make_service(token="secret")) as api:
        assert (await api.client.get("/")).status_code == 200
        assert (await api.client.get("/web/main.js")).status_code == 200
        assert (await api.client.get("/v1/models")).status_code == 401
        for headers in ({"host": "evil.example"}, {"origin": "https://evil.example"}):
            for path in ("/", "/web/main.js"):
                assert (await api.client.get(path, headers=headers)).status_code == 403
