"""A service is refused at start if its selector does not fit."""

from pathlib import Path

import pytest

from agent.selecting import RENDERING, SelectorManifest, SelectorUnavailable
from server.assembly import open_service
from server.settings import Settings
from tests.agent.tiny_selector import make


def manifest(*members: str) -> SelectorManifest:
    return SelectorManifest(mode="pre", members=members, max_tokens=64, rendering=RENDERING)


def test_a_member_that_does_not_exist_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "selector", manifest("bm25", "ropg-kd"))
    with pytest.raises(SelectorUnavailable, match="there is no retriever ropg-kd"):
        open_service(Settings(data=tmp_path, selector=folder))


def test_auto_without_a_selector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SelectorUnavailable, match="pr2 train selector"):
        open_service(Settings(data=tmp_path, retriever="auto"))


def test_a_folder_without_a_selector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SelectorUnavailable, match="holds no selector"):
        open_service(Settings(data=tmp_path, selector=tmp_path))
