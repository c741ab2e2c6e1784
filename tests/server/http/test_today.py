"""The day that a policy reads: the service's clock in the person's time zone, or the day of the request."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.policies.scripted import ScriptedPolicy
from tests.server.conftest import MakeService
from tests.server.live import THINK_ANSWER, api_of

pytestmark = pytest.mark.usefixtures("history")


def late() -> datetime:
    """A moment that is the next day already in the east."""
    return datetime(2024, 5, 3, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "day", "zone", "said"),
    [
        ({}, "2024-05-04", "Europe/Berlin", "Saturday"),
        ({"time_zone": "America/New_York"}, "2024-05-03", "America/New_York", "Friday"),
        ({"as_of": "2024-02-29"}, "2024-02-29", "Europe/Berlin", "Thursday"),
        ({"as_of": "2024-03-01", "time_zone": "Asia/Tokyo"}, "2024-03-01", "Asia/Tokyo", "Friday"),
    ],
)
async def test_the_policy_reads_the_persons_day_and_the_trajectory_keeps_it(
    make_service: MakeService, body: dict[str, Any], day: str, zone: str, said: str
) -> None:
    service = make_service(ScriptedPolicy([THINK_ANSWER]), clock=late, time_zone="Europe/Berlin")
    asked = {"question": "What do I drink?", "compare": True, **body}
    async with api_of(service) as api:
        response = await api.client.post("/v1/users/ana/answers", json=asked)
    record = response.json()
    for outcome in (record, record["without_profile"]):
        trajectory = outcome["trajectory"]
        assert trajectory["today"] == {"day": day, "time_zone": zone}
        assert f"\n\nToday is {said}, {day} ({zone}).\nQuestion: What do I drink?" in trajectory["transcript"]
    assert trajectory["prompt_version"] == "2"


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"time_zone": "Europe/Atlantis"}, 422, "invalid-period"),
        ({"as_of": "2024-02-30"}, 422, "invalid-request"),
    ],
)
async def test_a_day_or_zone_that_does_not_exist_is_refused(
    make_service: MakeService, body: dict[str, str], status: int, kind: str
) -> None:
    async with api_of(make_service(clock=late)) as api:
        response = await api.client.post("/v1/users/ana/answers", json={"question": "Tea?", **body})
    assert response.status_code == status
    assert response.json()["type"].endswith(kind)
