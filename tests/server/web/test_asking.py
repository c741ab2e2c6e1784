"""Asking on the page, in a real browser."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from agent.engines.errors import EngineError
from agent.policies.scripted import ScriptedPolicy
from index.documents import parse_document
from server.service import Service
from tests.server.conftest import MakeService
from tests.server.live import THINK_ANSWER
from tests.server.web.conftest import THINK_SEARCH, HeldPolicy, Opened

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("history")]

QUOTE = "I love ripe pears from our garden."


async def ask(page: Page, user: str = "ana", question: str = "What do I like?") -> None:
    await page.get_by_label("Person", exact=True).fill(user)
    await page.get_by_label("Question", exact=True).fill(question)
    await page.get_by_role("main").get_by_role("button", name="Ask", exact=True).click()


async def finished(page: Page) -> None:
    await expect(page.locator("#status")).to_have_text("The answer is complete.")


def hostile(text: str) -> str:
    return f"<script>window.stolen=1</script><img src=x onerror='window.stolen=1'>{text}"


async def test_steps_stream_in_before_the_answer_is_complete(
    make_service: MakeService, opened: Opened
) -> None:
    policy = HeldPolicy([THINK_SEARCH, THINK_ANSWER])
    async with opened(make_service(policy)) as page:
        await ask(page)
        await expect(page.locator(".thought")).to_contain_text("What does she like?")
        await expect(page.locator(".search q")).to_have_text("ripe pears")
        await expect(page.locator(".passages > li").first).to_contain_text("pears from our garden")
        await expect(page.locator(".answer")).to_be_hidden()
        policy.go.set()
        await finished(page)
        await expect(page.locator(".answer")).to_contain_text("She likes pears [1].")


async def test_an_answer_can_be_stopped(make_service: MakeService, opened: Opened) -> None:
    policy = HeldPolicy([THINK_SEARCH, THINK_ANSWER])
    async with opened(make_service(policy)) as page:
        await ask(page)
        await expect(page.locator(".information")).to_be_visible()
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator("#status")).to_have_text("Stopped.")
        await expect(page.locator(".answer")).to_be_hidden()


async def test_a_citation_lights_up_its_passage_and_search_and_opens_the_document_at_the_quote(
    make_service: MakeService, opened: Opened
) -> None:
    async with opened(make_service()) as page:
        await ask(page)
        await finished(page)
        await page.get_by_role("button", name="Passage 1: open the document at the quote").click()
        await expect(page.get_by_role("dialog").locator("mark")).to_have_text(QUOTE)
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()
        await expect(page.locator(".passages > .lit mark")).to_have_text(QUOTE)
        await expect(page.locator(".search.lit q")).to_have_text("ripe pears")
        await expect(page.locator(".lit")).to_have_count(2)


async def test_quotes_behind_characters_of_two_units_are_marked_exactly(
    make_service: MakeService, opened: Opened
) -> None:
    service = make_service()
    service.profiles.put(
        "zoe", [parse_document({"id": "z", "text": "🍐🍐 Hello. My favourite food is pears 🍐. Bye."})]
    )
    async with opened(service) as page:
        await ask(page, "zoe")
        await finished(page)
        await page.locator(".mark").click()
        await expect(page.get_by_role("dialog").locator("mark")).to_have_text(
            "My favourite food is pears 🍐."
        )
        await expect(page.locator(".passages mark")).to_have_text("My favourite food is pears 🍐.")


async def test_the_answer_without_the_history_stands_beside(
    make_service: MakeService, opened: Opened
) -> None:
    async with opened(make_service()) as page:
        await page.get_by_label("Also answer without the history").check()
        await ask(page)
        await finished(page)
        sides = page.locator(".side")
        await expect(sides).to_have_count(2)
        await expect(sides.nth(1)).to_contain_text("Without the history")
        await expect(sides.nth(1).locator(".information")).to_have_count(0)


async def test_method_and_limits_are_sent_and_times_and_tokens_shown(
    make_service: MakeService, opened: Opened
) -> None:
    async with opened(make_service(ScriptedPolicy([THINK_ANSWER]))) as page:
        await page.get_by_text("Options").click()
        await page.get_by_label("Method").select_option("rag")
        await page.get_by_label("Passages per search").fill("1")
        async with page.expect_request(lambda request: request.method == "POST") as sent:
            await ask(page)
        assert json.loads((await sent.value).post_data or "") == {
            "question": "What do I like?",
            "compare": False,
            "method": "rag",
            "limits": {"top_k": 1},
            "stream": True,
        }
        await finished(page)
        await expect(page.locator(".passages > li")).to_have_count(1)
        await page.get_by_text("Times and tokens").click()
        await expect(page.get_by_role("row", name="Documents read")).to_contain_text("1")
        await expect(page.get_by_role("row", name="Ended because")).to_contain_text("it was answered")


async def test_the_trajectory_is_a_download(
    make_service: MakeService, opened: Opened, tmp_path: Path
) -> None:
    service = make_service()
    async with opened(service) as page:
        await ask(page)
        await finished(page)
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Trajectory (JSON)").click()
        file = await download.value
        await file.save_as(tmp_path / "answer.json")
    saved = json.loads((tmp_path / "answer.json").read_text("utf-8"))
    assert file.suggested_filename == f"{saved['id']}.json"
    assert saved == await service.stored_answer("ana", saved["id"])


async def test_nothing_of_documents_or_answers_is_markup(make_service: MakeService, opened: Opened) -> None:
    think = "<think>Hm <b>bold</b> <img src=x onerror='window.stolen=1'>?</think>"
    turns = [
        f"{think}<search>{hostile('food')}</search>",
        f"<think>So.</think><answer>{hostile('Pears')} [1].</answer>",
    ]
    service = make_service(ScriptedPolicy(turns))
    fields = {name: hostile(name) for name in ("id", "text", "title", "source")}
    service.profiles.put("eve", [parse_document({**fields, "metadata": {"place": hostile("place")}})])
    async with opened(service) as page:
        await ask(page, "eve", hostile("What?"))
        await finished(page)
        for where in (".search", ".passages", ".answer"):
            await expect(page.locator(where)).to_contain_text("<script>window.stolen=1</script>")
        await page.locator(".mark").click()
        for text in ("text", "title", "place"):
            await expect(page.get_by_role("dialog")).to_contain_text(hostile(text))
        assert await page.locator("img, main script, dialog script, b").count() == 0
        assert await page.evaluate("window.stolen") is None


async def test_an_answer_that_a_limit_cut_off_says_why(make_service: MakeService, opened: Opened) -> None:
    async with opened(make_service(ScriptedPolicy(["<think>Well.</think>"]))) as page:
        await ask(page)
        await expect(page.locator("#status")).to_have_text("There is no answer.")
        await expect(page.locator(".answer")).to_have_text("No answer: the policy's reply was not usable")


async def problem_after(page: Page, user: str) -> str:
    await ask(page, user)
    await expect(page.locator("#problem")).not_to_be_empty()
    await expect(page.locator("#status")).to_have_text("There is no answer.")
    return await page.locator("#problem").inner_text()


async def test_errors_are_shown_to_people(make_service: MakeService, opened: Opened) -> None:
    async with opened(make_service(), expected=("404",)) as page:
        shown = await problem_after(page, "nobody")
    assert "Nothing is stored for this user" in shown
    assert "nobody" in shown


async def test_a_policy_that_fails_in_the_middle_is_shown_behind_its_steps(
    make_service: MakeService, opened: Opened
) -> None:
    policy = ScriptedPolicy([THINK_SEARCH, ["<think>Well</think>", EngineError("broken_stream", "gone")]])
    async with opened(make_service(policy)) as page:
        shown = await problem_after(page, "ana")
        await expect(page.locator(".information")).to_be_visible()
    assert "The policy has failed" in shown


async def test_a_server_that_is_gone_is_shown(make_service: MakeService, opened: Opened) -> None:
    async with opened(make_service(), expected=("ERR_INTERNET_DISCONNECTED",)) as page:
        await page.context.set_offline(True)
        assert "The server cannot be reached" in await problem_after(page, "ana")


async def test_a_server_with_a_token_asks_for_it_and_keeps_it_nowhere(
    make_service: MakeService, opened: Opened
) -> None:
    async with opened(make_service(token="secret"), expected=("401",)) as page:
        await page.get_by_role("textbox", name="Key").fill("secret")
        await page.get_by_role("button", name="Use the key").click()
        await ask(page)
        await finished(page)
        kept = "[localStorage.length, sessionStorage.length, document.cookie, token.value]"
        assert await page.evaluate(kept) == [0, 0, "", ""]
        assert "secret" not in await page.content()


async def test_people_are_offered_where_the_server_lists_them(
    make_service: MakeService, opened: Opened
) -> None:
    async with opened(make_service(identity={"list_users": True})) as page:
        await expect(page.locator("#users option")).to_have_count(2)
        offered: Any = await page.eval_on_selector_all("#users option", "all => all.map(one => one.value)")
    assert offered == ["ana", "ben"]


async def test_below_a_prefix_the_page_works(make_service: MakeService, opened: Opened) -> None:
    service: Service = make_service(root_path="/pr2")
    async with opened(service, path="/pr2") as page:
        await ask(page)
        await finished(page)
