"""Patterns of hosts and origins, against an independent reading of the same headers."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.patterns import (
    LOOPBACK,
    LOOPBACK_ORIGINS,
    host_allowed,
    origin_allowed,
    parse_host,
    parse_origin,
)

LOCAL_HOSTS = [parse_host(host) for host in LOOPBACK]
LOCAL_ORIGINS = [parse_origin(origin) for origin in LOOPBACK_ORIGINS]
NAMES = {"localhost", "127.0.0.1", "::1"}

pieces = st.sampled_from(
    "localhost 127.0.0.1 [::1] evil.example LOCALHOST http:// https:// app:// 8000 0 null é %2e".split()
    + list("@:./#?\\ \x00\t,[]*")
)
headers = st.lists(pieces, max_size=6).map("".join) | st.text(max_size=40)
ports = st.none() | st.integers(0, 65_535)


@given(headers)
def test_only_names_of_this_machine_are_local_hosts(header: str) -> None:
    if host_allowed(header, LOCAL_HOSTS):
        assert urlsplit(f"//{header}").hostname in NAMES


@given(headers)
def test_only_pages_of_this_machine_are_local_origins(header: str) -> None:
    if origin_allowed(header, LOCAL_ORIGINS):
        read = urlsplit(header)
        assert (read.scheme in {"http", "https"}, read.hostname in NAMES) == (True, True)
        assert (read.username, read.path, read.query, read.fragment) == (None, "", "", "")


@given(headers, headers)
def test_an_own_page_has_the_host_of_the_request(origin: str, host: str) -> None:
    if origin_allowed(origin, [], host):
        assert urlsplit(origin).hostname == urlsplit(f"//{host}").hostname


@given(st.sampled_from(LOOPBACK), ports, st.sampled_from(["http", "https"]))
def test_names_of_this_machine_are_allowed_with_any_port(name: str, port: int | None, scheme: str) -> None:
    host = name if port is None else f"{name}:{port}"
    assert host_allowed(host, LOCAL_HOSTS)
    assert host_allowed(host.upper(), LOCAL_HOSTS)
    assert origin_allowed(f"{scheme}://{host}", LOCAL_ORIGINS)
    assert origin_allowed(f"{scheme}://{host}", [], host)


@pytest.mark.parametrize(
    ("pattern", "host", "allowed"),
    [
        ("pr2.example", "pr2.example", True),
        ("pr2.example", "PR2.example:8000", True),
        ("pr2.example", "a.pr2.example", False),
        ("pr2.example:8000", "pr2.example:8000", True),
        ("pr2.example:8000", "pr2.example", False),
        ("*.pr2.example", "a.pr2.example:1", True),
        ("*.pr2.example", "pr2.example", False),
        ("*.pr2.example", "evilpr2.example", False),
        ("*", "anything:1", True),
        ("*", "", False),
        ("[fe80::1]", "[FE80::1]:80", True),
    ],
)
def test_a_host_matches_its_pattern(pattern: str, host: str, allowed: bool) -> None:
    assert host_allowed(host, [parse_host(pattern)]) is allowed


@pytest.mark.parametrize(
    ("pattern", "origin", "allowed"),
    [
        ("app://obsidian.md", "app://obsidian.md", True),
        ("app://obsidian.md", "app://evil", False),
        ("vscode-webview://*", "vscode-webview://0a1b2c", True),
        ("vscode-webview://*", "https://0a1b2c", False),
        ("https://chat.example", "https://chat.example", True),
        ("https://chat.example", "http://chat.example", False),
        ("https://chat.example", "https://chat.example:8443", False),
        ("https://chat.example:*", "https://chat.example:8443", True),
        ("https://*.example", "https://a.b.example", True),
        ("https://*.example", "https://a.example.evil", False),
        ("file://", "file://", True),
        ("null", "null", True),
        ("https://null", "null", False),
        ("*", "null", True),
        ("*", "app://anything:7", True),
        ("*", "no origin", False),
    ],
)
def test_an_origin_matches_its_pattern(pattern: str, origin: str, allowed: bool) -> None:
    assert origin_allowed(origin, [parse_origin(pattern)]) is allowed


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://pr2.example", "pr2.example", True),
        ("http://pr2.example", "pr2.example:80", True),
        ("https://pr2.example", "pr2.example", True),
        ("http://pr2.example:8000", "pr2.example:8000", True),
        ("http://pr2.example:8001", "pr2.example:8000", False),
        ("http://evil.example", "pr2.example", False),
        ("app://pr2.example", "pr2.example", False),
        ("null", "null", False),
    ],
)
def test_a_page_is_own_if_it_was_loaded_from_the_same_host(origin: str, host: str, own: bool) -> None:
    assert origin_allowed(origin, [], host) is own


@pytest.mark.parametrize("text", ["", "a/b", "http://a", "a b", "a:b", "a:123456", "a,b", "user@host"])
def test_a_wrong_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a host"):
        parse_host(text)


@pytest.mark.parametrize("text", ["", "pr2.example", "http://a/b", "http://u@a", "://a", "http://a b"])
def test_a_wrong_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an origin"):
        parse_origin(text)
