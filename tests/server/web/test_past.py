"""Past questions on the page: listed, reopened, deleted."""

import pytest
from playwright.async_api import expect

from server.answers import record_of
from server.service import Service
from tests.server.conftest import MakeService
from tests.server.web.conftest import Opened
from tests.server.web.test_asking import QUOTE, ask, finished

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("history")]


async def service_asks(service: Service, user: str, question: str) -> None:
    await record_of(service.answer(await service.prepare(user, question)))


async def test_a_past_question_is_reopened_with_one_click_and_its_citations_work(
    make_service: MakeService, opened: Opened
) -> None:
    async with opened(make_service()) as page:
        past = page.get_by_role("region", name="Past questions")
        await page.get_by_label("Person", exact=True).fill("ana")
        await page.get_by_label("Question", exact=True).click()
        await expect(past).to_contain_text("None yet.")
        await page.get_by_label("Also answer without the history").check()
        await ask(page, question="First?")
        await finished(page)
        await ask(page, question="Second?")
        await expect(past.get_by_role("listitem")).to_have_count(2)
        await expect(past.get_by_role("listitem").first).to_contain_text("Second?")
        await past.get_by_role("button", name="First?", exact=True).click()
        await expect(page.get_by_label("Question", exact=True)).to_have_value("First?")
        await finished(page)
        await expect(page.locator(".side")).to_have_count(2)
        await page.locator(".mark").first.click()
        await expect(page.get_by_role("dialog").locator("mark")).to_have_text(QUOTE)


async def test_older_questions_come_on_demand_and_those_of_others_never(
    make_service: MakeService, opened: Opened
) -> None:
    service = make_service()
    for number in range(22):
        await service_asks(service, "ana", f"Question {number}?")
    await service_asks(service, "ben", "Ben asks?")
    async with opened(service, expected=("404",)) as page:
        entries = page.locator("#past li")
        await page.get_by_label("Person", exact=True).fill("ana")
        await page.get_by_label("Question", exact=True).click()
        await expect(entries).to_have_count(20)
        await page.get_by_role("button", name="Show older ones").click()
        await expect(entries).to_have_count(22)
        await expect(entries.last).to_contain_text("Question 0?")
        await expect(page.get_by_role("button", name="Show older ones")).to_be_hidden()
        await page.get_by_label("Person", exact=True).fill("ben")
        await page.get_by_label("Question", exact=True).click()
        await expect(entries).to_have_count(1)
        await expect(entries).to_contain_text("Ben asks?")
        await page.get_by_label("Person", exact=True).fill("nobody")
        await page.get_by_label("Question", exact=True).click()
        await expect(page.locator("#past")).to_be_hidden()
        await expect(page.locator("#problem")).to_be_empty()


async def test_a_past_question_is_deleted_once_it_is_confirmed(
    make_service: MakeService, opened: Opened
) -> None:
    service = make_service()
    await service_asks(service, "ana", "<b>Which</b> fruit?")
    async with opened(service) as page:
        await page.get_by_label("Person", exact=True).fill("ana")
        await page.get_by_label("Question", exact=True).click()
        remove = page.get_by_role("button", name="Delete: <b>Which</b> fruit?")
        await remove.click()
        await page.get_by_role("button", name="Keep").click()
        await expect(page.locator("#past li")).to_have_count(1)
        await remove.click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.locator("#past li")).to_have_count(0)
    assert service.profiles.store.answers("ana") == []


async def test_an_answer_is_rated_and_shows_what_was_said_of_it(
    make_service: MakeService, opened: Opened
) -> None:
    service = make_service()
    async with opened(service) as page:
        await page.get_by_label("Person", exact=True).fill("ana")
        await ask(page, question="First?")
        await finished(page)
        form = page.locator("form.rating")
        await form.get_by_label("No").check()
        await form.get_by_label("[1]").check()
        await form.get_by_label("Comment").fill("<b>Which</b> garden?")
        await form.get_by_role("button", name="Send").click()
        await expect(form.get_by_role("status")).to_have_text("Thank you.")
        [(_, body)] = service.profiles.store.answers("ana")
        said = {"rating": "down", "comment": "<b>Which</b> garden?", "helped": [1]}
        assert {name: body["feedback"][name] for name in said} == said
        await page.get_by_role("button", name="First?", exact=True).click()
        await expect(form.get_by_label("No")).to_be_checked()
        await expect(form.get_by_label("[1]")).to_be_checked()
        await expect(form.get_by_label("Comment")).to_have_value("<b>Which</b> garden?")
