"""Pages in a real browser: one of an allowed origin works, and one of a foreign origin reaches nothing."""

import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.requests import HTTPConnection

from server.access.gate import Principal
from server.access.identity import IdentityGate
from server.http.app import create_app
from tests.server.conftest import MakeService
from tests.server.live import ANA, serving

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_S = 120
"""Longest wait for a page, on a machine that is busy."""

PAGE = """<!doctype html><title>A page</title><script type="module">
const api = "%s", replies = {};
const authorization = "Bearer secret", json = {"content-type": "application/json"};

async function attempt(name, path, options) {
  try {
    const response = await fetch(api + path, options);
    const user = response.headers.get("pr2-user");
    replies[name] = {status: response.status, type: response.type, user, text: await response.text()};
  } catch (error) {
    replies[name] = {error: error.name};
  }
}

const planted = [{id: location.hostname, text: "Written by a page."}];
await attempt("put", "/v1/users/ana/documents",
  {method: "PUT", headers: {...json, authorization}, body: JSON.stringify(planted)});
await attempt("delete", "/v1/users/ana/documents?id=a2", {method: "DELETE", headers: {authorization}});
await attempt("export", "/v1/users/ana/export", {headers: {authorization}});
await attempt("chat", "/v1/chat/completions", {
  method: "POST", headers: {...json, authorization},
  body: JSON.stringify({model: "pr2", user: "ana", messages: [{role: "user", content: "Which fruit?"}]}),
});
await attempt("mcp", "/mcp", {
  method: "POST", headers: {...json, authorization, accept: "application/json, text/event-stream"},
  body: JSON.stringify({jsonrpc: "2.0", id: 1, method: "tools/list"}),
});
// Requests that a browser sends without asking first, and whose replies a page may not even want to read.
const simple = {method: "POST", mode: "no-cors", headers: {"content-type": "text/plain"}};
for (const path of ["/v1/users/ana/answers", "/v1/chat/completions", "/mcp"]) {
  const body = JSON.stringify({question: "Which fruit?", jsonrpc: "2.0", id: 1, method: "tools/list"});
  await attempt(`simple ${path}`, path, {...simple, body});
}
await attempt("simple get", "/v1/users/ana/export", {mode: "no-cors"});
await attempt("probe", "/healthz", {});
await fetch("/replies", {method: "POST", body: JSON.stringify(replies)});
</script>"""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    why = f"needs a browser on the PATH: {', '.join(BROWSERS)}"
    # CI installs one, so there it must not be missing.
    return pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)


@contextmanager
def pages() -> Iterator[tuple[int, list[str], "queue.Queue[Any]"]]:
    """A server of PAGE under every name: its port, the API's address (to be filled in), the replies."""
    replies: queue.Queue[Any] = queue.Queue()
    api: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200 if self.path == "/" else 404, (PAGE % api[0]).encode())

        def do_POST(self) -> None:
            replies.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self._send(200, b"")

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", "text/html")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], api, replies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def opened(browser: str, url: str, folder: Path) -> Iterator[None]:
    """A headless browser at this page, in which every name of .example is this machine's."""
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--host-resolver-rules=MAP *.example 127.0.0.1",
        f"--user-data-dir={folder}",
    ]
    process = subprocess.Popen([browser, *flags, url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class WatchingGate(IdentityGate):
    """Records the requests that get past the guard and ask for the service."""

    paths: list[str]

    def principal(self, connection: HTTPConnection | None) -> Principal:
        assert connection is not None
        self.paths.append(urlsplit(str(connection.url)).path)
        return super().principal(connection)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("host", ["notes.example", "evil.example"])
def test_a_page(make_service: MakeService, browser: str, tmp_path: Path, host: str) -> None:
    with pages() as (port, api, replies):
        service = make_service(token="secret", allowed_origins=[f"http://notes.example:{port}"])
        gate = WatchingGate(service.settings.identity)
        gate.paths = []
        with serving(create_app(service.settings, service, gate=gate)) as api_url:
            api.append(api_url)
            with opened(browser, f"http://{host}:{port}/", tmp_path / "browser"):
                seen = replies.get(timeout=START_S)
    stored = [document.id for _, document in service.profiles.store.documents("ana", -1, 100)]
    if host == "evil.example":
        # The browser hides what the server answered; nothing of it was executed.
        opaque = {"status": 0, "type": "opaque", "user": None, "text": ""}
        assert {str(reply) for name, reply in seen.items() if name.startswith("simple")} == {str(opaque)}
        others = [reply for name, reply in seen.items() if not name.startswith("simple")]
        assert others == [{"error": "TypeError"}] * 6
        assert gate.paths == []
        assert stored == [document["id"] for document in ANA]
        return
    assert {
        name: seen[name].get("status") for name in ("put", "delete", "export", "chat", "mcp", "probe")
    } == {
        "put": 200,
        "delete": 204,
        "export": 200,
        "chat": 200,
        "mcp": 200,
        "probe": 200,
    }
    assert stored == ["a1", "a3", host]
    assert [json.loads(line)["id"] for line in seen["export"]["text"].splitlines()] == stored
    assert seen["chat"]["user"] == "ana"
    assert "answer_question" in seen["mcp"]["text"]
    assert all(seen[name]["type"] == "cors" for name in ("put", "chat"))
