"""The day that a policy reads: the service's clock in the person's time zone, or the day of the request."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agent.policies.extractive import ExtractivePolicy
from agent.policies.scripted import ScriptedPolicy
from agent.trajectory import Trajectory
from server.http.bodies import AnswerBody
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
    ("question", "said"),
    [
        ("What did I do in March 2021?", "Nothing in your history is dated 2021-03-01 – 2021-03-31."),
        ("What did I do on 30 February?", "There is no such day: “30 February”."),
    ],
)
async def test_a_question_about_days_without_anything_is_told_so(
    make_service: MakeService, question: str, said: str
) -> None:
    service = make_service(ExtractivePolicy(), clock=late)
    async with api_of(service) as api:
        record = (await api.client.post("/v1/users/ana/answers", json={"question": question})).json()
    assert record["answer"].splitlines()[0] == said
    information = next(step for step in record["trajectory"]["steps"] if step["kind"] == "information")
    [notice] = information["notices"]
    assert notice["kind"] in ("empty", "impossible")
    AnswerBody.model_validate(record)
    assert Trajectory.from_dict(record["trajectory"]).to_dict() == record["trajectory"]


async def test_a_search_of_the_policys_own_finds_only_its_days(make_service: MakeService) -> None:
    turns = ['<think>a</think><search last="1d">pears</search>', THINK_ANSWER]
    async with api_of(make_service(ScriptedPolicy(turns), clock=late)) as api:
        record = (await api.client.post("/v1/users/ana/answers", json={"question": "Pears?"})).json()
    _, search, information, *_ = record["trajectory"]["steps"]
    assert search["after"] == "2024-05-02"
    assert information["passages"] == []
    assert information["notices"] == [{"kind": "empty", "after": "2024-05-02", "before": None, "said": ""}]


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
