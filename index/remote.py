"""The client of a model server that is asked for numbers: vectors, or scores of documents.

Failures are RemoteFailure, whose message names the server and never quotes the key or a user's text.
"""

import json
import time
import weakref
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from index.retry import wait_s

RETRIED = frozenset({429, 500, 502, 503, 504})
"""HTTP statuses after which the request is sent again."""

_WAITS = {"first": 0.25, "longest": 4.0, "longest_asked": 10.0}
_REPLY_BYTES = 2**26
_ADVICE = {
    400: "the input may be too long for the model, or the model be of another kind",
    401: "set the key of the server",
    403: "set the key of the server",
    404: "check the URL and the name of the model",
    413: "the input is too long for the server",
    422: "the input may be too long for the model, or the model be of another kind",
}


class RemoteFailure(Exception):
    """The server could not be reached, refused the request, or sent a reply that cannot be used."""


class Remote:
    """Sends JSON to one server, from any thread.

    A request takes at most `timeout_s` seconds until its reply is complete. One that fails before a reply
    began, or with a status of RETRIED, is sent again up to `retries` times, after the time that Retry-After
    asks for. Proxies of the environment are ignored: texts go to `base_url` and nowhere else.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        timeout_s: float,
        retries: int = 0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises RemoteFailure if the key does not fit into an HTTP header."""
        import httpx

        key = (api_key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise RemoteFailure("the API key contains characters that HTTP headers do not allow")
        parts = urlsplit(base_url)
        self.address = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        """The URL without credentials and query, for messages."""
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._retries = retries
        self._sleep = sleep
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(headers=headers, timeout=timeout_s, trust_env=False)
        # With its user, which need not know that there are connections.
        weakref.finalize(self, self._client.close)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that the server replies to `body`. Raises RemoteFailure."""
        attempt = 0
        while True:
            status, reply, retry_after = self._send(path, body, last=attempt == self._retries)
            if status == 200:
                try:
                    return json.loads(reply)
                except ValueError:
                    raise RemoteFailure(f"{self.address} did not reply with JSON") from None
            if status not in RETRIED | {0} or attempt == self._retries:
                advice = f": {_ADVICE[status]}" if status in _ADVICE else ""
                raise RemoteFailure(f"{self.address} answered {path} with the status {status}{advice}")
            self._sleep(wait_s(attempt, retry_after, **_WAITS))
            attempt += 1

    def _send(self, path: str, body: dict[str, Any], *, last: bool) -> tuple[int, bytes, str]:
        """Status, body and Retry-After of a reply. Status 0: no connection in an attempt before the last."""
        import httpx

        deadline = time.monotonic() + self._timeout_s
        reply = bytearray()
        try:
            with self._client.stream("POST", self._base_url + path, json=body) as response:
                if response.status_code == 200:
                    for piece in response.iter_bytes():
                        reply += piece
                        # The client's own limit is on each piece.
                        if time.monotonic() > deadline:
                            raise httpx.ReadTimeout("")
                        if len(reply) > _REPLY_BYTES:
                            raise RemoteFailure(f"{self.address} sent more than {_REPLY_BYTES} bytes")
                return response.status_code, bytes(reply), response.headers.get("retry-after", "")
        except httpx.TimeoutException:
            seconds = f"{self._timeout_s:g} s"
            raise RemoteFailure(f"{self.address} did not answer {path} within {seconds}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            if last:
                why = type(error).__name__
                raise RemoteFailure(f"{self.address} cannot be reached, or broke off ({why})") from None
            return 0, b"", ""
