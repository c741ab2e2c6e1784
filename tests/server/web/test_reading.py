"""The page for everybody: keyboard only, narrow, in both colour schemes and both languages."""

from typing import Any, Literal

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from tests.server.conftest import MakeService
from tests.server.web.conftest import Opened
from tests.server.web.test_asking import ask, finished

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("history")]


async def violations(page: Page) -> list[tuple[str, Any]]:
    found = await Axe().run(page)
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in found.response["violations"]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_axe_finds_no_violation(
    make_service: MakeService, opened: Opened, scheme: Literal["light", "dark"]
) -> None:
    async with opened(make_service(), color_scheme=scheme, reduced_motion="reduce") as page:
        assert await violations(page) == []
        await page.get_by_label("Also answer without the history").check()
        await page.get_by_text("Options").click()
        await ask(page)
        await finished(page)
        await page.locator(".mark").first.focus()
        await page.get_by_text("Times and tokens").first.click()
        assert await violations(page) == []
        await page.locator(".mark").first.click()
        await expect(page.get_by_role("dialog").locator("mark")).to_be_visible()
        assert await violations(page) == []


async def test_the_colours_can_be_chosen(make_service: MakeService, opened: Opened) -> None:
    async with opened(make_service(), color_scheme="light") as page:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = await page.evaluate(ground)
        await page.get_by_label("Colours").select_option("Dark")
        dark = await page.evaluate(ground)
        assert dark != light
        await page.emulate_media(color_scheme="dark")
        await page.get_by_label("Colours").select_option("Light")
        assert await page.evaluate(ground) == light
        await page.get_by_label("Colours").select_option("Automatic")
        assert await page.evaluate(ground) == dark


async def test_the_keyboard_is_enough(make_service: MakeService, opened: Opened) -> None:
    async with opened(make_service()) as page:

        async def tab_to(selector: str) -> None:
            for _ in range(30):
                if await page.evaluate("s => document.activeElement.matches(s)", selector):
                    return
                await page.keyboard.press("Tab")
            pytest.fail(f"Tab does not reach {selector}")

        await tab_to("#user")
        await page.keyboard.type("ana")
        await tab_to("#question")
        await page.keyboard.type("What do I like?")
        await page.keyboard.press("Enter")
        await finished(page)
        await tab_to(".mark")
        await expect(page.locator(".passages > .lit")).to_have_count(1)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog").locator("mark")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        assert await page.evaluate("document.activeElement.className") == "mark"


async def test_a_phone_needs_no_scrolling_sideways(make_service: MakeService, opened: Opened) -> None:
    service = make_service()
    async with opened(service, viewport={"width": 320, "height": 640}, has_touch=True) as page:
        await page.get_by_text("Options").tap()
        await page.get_by_label("Also answer without the history").check()
        await ask(page, question="x" * 300)
        await finished(page)
        await page.get_by_text("Times and tokens").first.tap()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320


async def test_the_browser_chooses_the_language_and_the_reader_may_switch(
    make_service: MakeService, opened: Opened
) -> None:
    async with opened(make_service(), locale="de-DE") as page:
        await expect(page.get_by_role("heading", name="Fragen")).to_be_visible()
        await page.get_by_label("Sprache").select_option("English")
        await expect(page.get_by_role("heading", name="Ask")).to_be_visible()
        assert await page.evaluate("document.documentElement.lang") == "en"
        await ask(page)
        await finished(page)
        await page.get_by_label("Language").select_option("Deutsch")
        await expect(page.locator("#status")).to_have_text("Die Antwort ist vollständig.")
        await expect(page.locator(".search .kind")).to_have_text("Suche")


async def test_both_languages_have_the_same_texts_with_the_same_values(
    make_service: MakeService, opened: Opened
) -> None:
    shape = """async () => {
      const texts = await Promise.all(["en", "de"].map((tag) => import(`./web/${tag}.js`)));
      return texts.map(({default: all}) => Object.entries(all)
        .map(([key, text]) => [key, ...(text.match(/\\{\\w+\\}/g) ?? []).sort()].join(" ")).sort());
    }"""
    async with opened(make_service()) as page:
        english, german = await page.evaluate(shape)
    assert english == german
