"""A person's history on the page: browsed, searched, changed, exported, erased."""

from pathlib import Path

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, expect

from index.documents import parse_document
from index.errors import UnknownUser
from tests.server.conftest import MakeService
from tests.server.live import ANA
from tests.server.web.conftest import Opened
from tests.server.web.test_asking import hostile

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("history")]


async def history_of(page: Page, user: str) -> None:
    await page.get_by_label("Person", exact=True).fill(user)
    await page.get_by_role("button", name="History").click()


async def test_documents_are_browsed_by_time_and_source(make_service: MakeService, opened: Opened) -> None:
    service = make_service()
    days = {"one": "2024-05-01", "two": "2023-01-31", "three": "2025-02-01"}
    for name, day in days.items():
        item = {"id": name, "text": name, "title": name, "created_at": day, "source": f"of {name}"}
        service.profiles.put("zoe", [parse_document(item)])
    async with opened(service) as page:
        await history_of(page, "zoe")
        titles = page.locator("#documents .link")
        await expect(titles).to_have_text(["three", "one", "two"])
        await page.get_by_label("Order").select_option("Oldest first")
        await expect(titles).to_have_text(["two", "one", "three"])
        await page.get_by_role("combobox", name="Source").select_option("of one")
        await expect(titles).to_have_text(["one"])
        await titles.click()
        await expect(page.get_by_role("dialog")).to_contain_text("May 1, 2024")


async def test_a_search_shows_every_retriever_side_by_side(make_service: MakeService, opened: Opened) -> None:
    service = make_service()
    async with opened(service) as page:
        await history_of(page, "ana")
        await page.get_by_label("Search", exact=True).fill("pears")
        await page.get_by_role("button", name="Search in every way").click()
        names = service.profiles.retrievers.names
        await expect(page.locator("#rankings h3")).to_have_text(names)
        words = page.locator("#rankings .side", has_text="bm25").get_by_role("listitem")
        await expect(words.first).to_contain_text("ripe pears")


async def test_a_document_is_added_edited_and_deleted(make_service: MakeService, opened: Opened) -> None:
    service = make_service()
    store = service.profiles.store
    async with opened(service, expected=("422",)) as page:
        await history_of(page, "ana")
        await page.get_by_role("button", name="Add a document").click()
        await page.get_by_label("Title").fill(hostile("Plums"))
        await page.get_by_label("Date and time").fill("tomorrow or so")
        await page.get_by_label("Text").fill("I also like plums.")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("created_at")
        await page.get_by_label("Date and time").fill("2024-06-01T10:00+02:00")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#documents .link")).to_have_count(4)
        await expect(page.locator("#documents")).to_contain_text("<script>window.stolen=1</script>")
        assert await page.evaluate("window.stolen") is None
        await page.get_by_role("button", name="Edit: a3").click()
        await page.get_by_label("Text").fill("We sat by the river.")
        await page.get_by_role("button", name="Save").click()
        await expect(page.locator("#documents")).to_contain_text("We sat by the river.")
        await page.get_by_role("button", name="Delete: Dentist").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        await expect(page.locator("#documents .link")).to_have_count(3)
    assert store.document("ana", "a3").metadata == ANA[2]["metadata"]
    assert [document.text for _, document in store.documents("ana")] == [
        ANA[0]["text"],
        "We sat by the river.",
        "I also like plums.",
    ]


async def test_an_export_can_be_put_again(make_service: MakeService, opened: Opened, tmp_path: Path) -> None:
    async with opened(make_service()) as page:
        await history_of(page, "ana")
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Export (NDJSON)").click()
        file = await download.value
        await file.save_as(tmp_path / "ana.ndjson")
    assert file.suggested_filename == "ana.ndjson"
    assert len((tmp_path / "ana.ndjson").read_text("utf-8").splitlines()) == len(ANA)


async def test_an_erasure_is_confirmed_and_shows_its_receipt(
    make_service: MakeService, opened: Opened
) -> None:
    service = make_service()
    async with opened(service, expected=("404",)) as page:
        await history_of(page, "ana")
        await expect(page.locator("#documents .link")).to_have_count(3)
        assert (await Axe().run(page)).response["violations"] == []
        await page.get_by_role("button", name="Erase everything").click()
        await page.get_by_role("button", name="Keep").click()
        await expect(page.locator("#documents .link")).to_have_count(3)
        await page.get_by_role("button", name="Erase everything").click()
        await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        receipt = page.get_by_role("dialog", name="Erased")
        await expect(receipt.get_by_role("row", name="Documents")).to_contain_text("3")
        await expect(receipt).to_contain_text("backups and copies of the store")
        await page.keyboard.press("Escape")
        await expect(page.locator("#profile-status")).to_have_text("Nothing is stored for ana.")
    with pytest.raises(UnknownUser):
        service.profiles.store.document("ana", "a1")
    assert service.profiles.store.document("ben", "b1").id == "b1"
