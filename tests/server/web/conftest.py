"""One real browser for all tests of the page, and the service behind a real socket.

The browser lives in the loop of the session, so its tests run there: each module says so by `pytestmark`.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, Request, async_playwright, expect

from agent.episode import Episode
from agent.policies.scripted import ScriptedPolicy
from agent.policy import Chunk, Policy
from agent.trajectory import Search
from server.http.app import create_app
from server.service import Service
from server.stopping import Stop
from tests.index.fakes import HashEncoder
from tests.server.conftest import MakeService, write_histories
from tests.server.live import THINK_ANSWER, serving_here

WAIT_MS = 60_000
"""Longest wait for what a test expects, on a machine that is busy."""
THINK_SEARCH = "<think>What does she like?</think><search>ripe pears</search>"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
Opened = Callable[..., AbstractAsyncContextManager[Page]]


class HeldPolicy(ScriptedPolicy):
    """Writes what follows the first search only once `go` is set."""

    def __init__(self, turns: Any) -> None:
        super().__init__(turns)
        self.go = asyncio.Event()

    async def generate(self, episode: Episode, max_tokens: int) -> AsyncGenerator[Chunk, None]:
        if any(isinstance(step, Search) for step in episode.steps):
            await self.go.wait()
        async for chunk in super().generate(episode, max_tokens):
            yield chunk


@pytest.fixture(scope="session")
def encoder() -> HashEncoder:
    """Loads at once; the page does not care what ranks."""
    return HashEncoder()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, encoder: HashEncoder) -> Path:
    """Overridden as well: other folders' tests share the original, whose encoder is another."""
    return write_histories(tmp_path_factory.mktemp("written"), encoder)


@pytest.fixture
def make_service(make_service: MakeService) -> MakeService:
    """Services whose policy, unless another is given, searches by words of Ana's first document."""

    def make(policy: Policy | None = None, **fields: Any) -> Service:
        return make_service(policy or ScriptedPolicy([THINK_SEARCH, THINK_ANSWER]), **fields)

    return make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncGenerator[Browser, None]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        why = f"needs a browser on the PATH: {', '.join(BROWSERS)}"
        # CI installs one, so there it must not be missing.
        pytest.fail(why) if os.environ.get("CI") else pytest.skip(why)
    async with async_playwright() as playwright:
        # Without a sandbox, because root may not use one.
        browser = await playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        expect.set_options(timeout=WAIT_MS)
        yield browser
        await browser.close()


@pytest.fixture
def opened(browser: Browser) -> Opened:
    """Opens the page of a service. Fails afterwards if it logged an error or asked another host."""

    @asynccontextmanager
    async def open_page(
        service: Service, *, expected: tuple[str, ...] = (), path: str = "/", **context: Any
    ) -> AsyncGenerator[Page, None]:
        app = create_app(service.settings, service)
        async with serving_here(app, service.settings, Stop()) as (url, _):
            within = await browser.new_context(locale=context.pop("locale", "en-GB"), **context)
            page = await within.new_page()
            page.set_default_timeout(WAIT_MS)
            errors: list[str] = []
            foreign: list[str] = []

            def check(request: Request) -> None:
                if not request.url.startswith((f"{url}/", f"blob:{url}/")):
                    foreign.append(request.url)

            page.on("request", check)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda entry: errors.append(entry.text) if entry.type == "error" else None)
            await page.goto(f"{url}{path}")
            yield page
            await within.close()
            assert foreign == []
            assert [error for error in errors if not any(part in error for part in expected)] == []

    return open_page
