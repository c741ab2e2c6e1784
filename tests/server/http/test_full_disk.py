"""An import that fills a real disk is refused, has stored nothing, and succeeds when there is room."""

import json
import shutil
from pathlib import Path

from agent.policies.scripted import ScriptedPolicy
from index.profiles import Profiles
from index.storage.checking import faults
from index.storage.store import Store
from server.service import Service
from server.settings import Settings
from tests.index.fakes import HashEncoder
from tests.index.storage.test_full_disk import MB, disk
from tests.server.live import THINK_ANSWER, api_of

__all__ = ["disk"]


async def test_a_disk_that_fills_during_an_import_is_a_503_and_nothing_is_half_stored(disk: Path) -> None:
    encoder = HashEncoder()
    settings = Settings(data=disk, upload_mb=40)
    profiles = Profiles(Store(settings.url, encoder.manifest), encoder)
    service = Service(profiles, ScriptedPolicy([THINK_ANSWER]), settings)
    filler_of_each = {"filler": "x" * 60_000}
    many = [{"id": f"d{i}", "text": f"note {i}", "metadata": filler_of_each} for i in range(100)]
    async with api_of(service) as api:
        await api.put("ana", [{"id": "a", "text": "I drink green tea."}])
        filler = disk / "other"
        filler.write_bytes(bytes(shutil.disk_usage(disk).free - 3 * MB))
        refused = await api.client.put("/v1/users/ana/documents", json=many)
        assert refused.status_code == 503, refused.text
        assert refused.headers["retry-after"].isdecimal()
        assert refused.json()["type"] == "urn:pr2:problem:store-full"
        exported = (await api.client.get("/v1/users/ana/export")).text
        assert [json.loads(line)["id"] for line in exported.splitlines()] == ["a"]
        assert list(faults(profiles.store)) == []
        filler.unlink()
        await api.put("ana", many)
        assert profiles.store.count("ana") == 101
        assert list(faults(profiles.store)) == []
    await service.aclose()
