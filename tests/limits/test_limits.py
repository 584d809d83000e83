"""A project's limits: set by administrators in parts, shown beside what is used, and held however many race."""

import asyncio
from collections import Counter
from typing import Any

import httpx2
import openai
import pytest
from openai.types.admin.organization.projects import ProjectRateLimit
from sqlalchemy import func, update

from service.database.tables import Upload
from tests.contract.strict import strict_list, strictly
from tests.http.fixtures import MAX_FILE_BYTES, Api
from tests.identity.fixtures import AdminApi
from tests.wire import Tenant, refusal

FIELDS = {
    "max_active_jobs": 100,
    "max_queued_jobs": 1000,
    "max_storage_bytes": None,
    "max_file_bytes": None,
    "max_training_tokens_per_month": None,
    "max_requests_per_key_per_1_minute": None,
    "spend_limit": None,
}


async def limit(admin_api: AdminApi, tenant: Tenant, **limits: int | None) -> dict[str, Any]:
    """Set limits: what the API shows of them then."""
    async with admin_api.http() as http:
        answer = await http.post(f"/organization/projects/{tenant.project_id}/limits", json=limits)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def used(admin_api: AdminApi, tenant: Tenant) -> dict[str, Any]:
    """What is used."""
    async with admin_api.http() as http:
        shown: dict[str, Any] = (await http.get(f"/organization/projects/{tenant.project_id}/limits")).json()
    usage: dict[str, Any] = shown["usage"]
    return usage


async def send(http: httpx2.AsyncClient, size_bytes: int, *, name: str = "a.bin") -> httpx2.Response:
    """Upload a file of so many bytes."""
    return await http.post("/files", data={"purpose": "user_data"}, files={"file": (name, b"x" * size_bytes)})


async def announce(http: httpx2.AsyncClient, size_bytes: int) -> httpx2.Response:
    """Announce a file that comes in parts."""
    body = {"bytes": size_bytes, "filename": "a.bin", "mime_type": "text/plain", "purpose": "user_data"}
    return await http.post("/uploads", json=body)


async def add_part(http: httpx2.AsyncClient, upload_id: str, size_bytes: int) -> httpx2.Response:
    """Send a part."""
    return await http.post(f"/uploads/{upload_id}/parts", files={"data": ("part", b"x" * size_bytes)})


class TestSetting:
    async def test_defaults_are_generous(self, admin_api: AdminApi, api: Api) -> None:
        shown = await limit(admin_api, api.one)
        usage = shown.pop("usage")
        assert shown == {"object": "project.limits", "project_id": api.one.project_id, **FIELDS}
        counts = {"active_jobs": 0, "queued_jobs": 0, "storage_bytes": 0, "training_tokens": 0}
        assert usage == {**counts, "spend": {"value": 0.0, "currency": "usd"}}

    async def test_what_is_given_is_set_and_the_rest_stays(self, admin_api: AdminApi, api: Api) -> None:
        await limit(admin_api, api.one, max_active_jobs=7, max_storage_bytes=1000)
        shown = await limit(admin_api, api.one, max_active_jobs=None, max_file_bytes=10)
        assert {name: shown[name] for name in FIELDS} == {
            **FIELDS,
            "max_active_jobs": None,
            "max_storage_bytes": 1000,
            "max_file_bytes": 10,
        }
        assert (await limit(admin_api, api.other))["max_active_jobs"] == 100, "another project's stay"

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({"max_active_jobs": -1}, "invalid_value"),
            ({"max_file_bytes": 0}, "invalid_value"),
            ({"max_storage_bytes": 10**18}, "invalid_value"),
            ({"max_queued_jobs": 1.5}, "invalid_type"),
            ({"max_jobs": 1}, "unknown_parameter"),
        ],
    )
    async def test_nonsense_is_refused(self, admin_api: AdminApi, api: Api, body: dict[str, Any], code: str) -> None:
        async with admin_api.http() as http:
            answer = await http.post(f"/organization/projects/{api.one.project_id}/limits", json=body)
            assert (answer.status_code, refusal(answer)["code"]) == (400, code)
            unknown = await http.get("/organization/projects/proj_none/limits")
            assert (unknown.status_code, refusal(unknown)["code"]) == (404, "project_not_found")
            for path in ("limits", "rate_limits"):
                mine = await http.get(
                    f"/organization/projects/{api.one.project_id}/{path}",
                    headers={"authorization": f"Bearer {api.one.key}"},
                )
                assert mine.status_code == 403, "a project's key sees no limits of the organisation"


class TestRateLimits:
    async def test_the_sdk_lists_and_updates_them(self, admin_api: AdminApi, api: Api) -> None:
        limits = admin_api.sdk().admin.organization.projects.rate_limits
        listed = strict_list(ProjectRateLimit, await limits.with_raw_response.list_rate_limits(api.one.project_id))
        assert (listed[0].id, listed[0].model, listed[0].max_requests_per_1_minute) == ("rl-*", "*", 1000)
        assert len(listed) > 3
        updated = strictly(
            ProjectRateLimit,
            await limits.with_raw_response.update_rate_limit(
                listed[1].id, project_id=api.one.project_id, max_requests_per_1_minute=5, max_tokens_per_1_minute=900
            ),
        )
        assert (updated.max_requests_per_1_minute, updated.max_tokens_per_1_minute) == (5, 900)
        again = await limits.update_rate_limit(listed[1].id, project_id=api.one.project_id, max_requests_per_1_minute=6)
        assert (again.max_requests_per_1_minute, again.max_tokens_per_1_minute) == (6, 900)
        theirs = await limits.list_rate_limits(api.other.project_id)
        assert theirs.data[1].max_requests_per_1_minute == 1000

    async def test_pages(self, admin_api: AdminApi, api: Api) -> None:
        limits = admin_api.sdk().admin.organization.projects.rate_limits
        every = [each.id async for each in limits.list_rate_limits(api.one.project_id)]
        by_two = [each.id async for each in limits.list_rate_limits(api.one.project_id, limit=2)]
        assert by_two == every
        before = await limits.list_rate_limits(api.one.project_id, before=every[3], limit=2)
        assert [each.id for each in before.data] == every[1:3]
        with pytest.raises(openai.BadRequestError):
            await limits.list_rate_limits(api.one.project_id, after="rl-none")

    async def test_unknown_ones_and_nonsense(self, admin_api: AdminApi, api: Api) -> None:
        limits = admin_api.sdk().admin.organization.projects.rate_limits
        for rate_limit_id in ("rl-none", "*", "gpt-4o-mini"):
            with pytest.raises(openai.NotFoundError) as raised:
                await limits.update_rate_limit(rate_limit_id, project_id=api.one.project_id)
            assert raised.value.code == "rate_limit_not_found"
        with pytest.raises(openai.BadRequestError):
            await limits.update_rate_limit("rl-*", project_id=api.one.project_id, max_requests_per_1_minute=0)
        with pytest.raises(openai.BadRequestError):
            await limits.update_rate_limit("rl-*", project_id=api.one.project_id, max_images_per_1_minute=1)

    async def test_a_key_has_a_limit_of_its_own_if_set(self, admin_api: AdminApi, api: Api) -> None:
        await limit(admin_api, api.one, max_requests_per_key_per_1_minute=3)
        async with api.http() as http:
            await asyncio.sleep(1)  # the time within which a changed limit holds
            answers = [await http.get("/files") for _ in range(9)]  # three of three minutes, if two ended meanwhile
        refused = [answer for answer in answers if answer.status_code == 429]
        assert [answer.status_code for answer in answers[:3]] == [200] * 3
        assert "This key may send 3 requests" in refusal(refused[0])["message"]


class TestStorage:
    async def test_files_hold_to_it_and_deleting_makes_room(self, admin_api: AdminApi, api: Api) -> None:
        await limit(admin_api, api.one, max_storage_bytes=1000)
        async with api.http() as http:
            kept = await send(http, 700)
            assert kept.status_code == 200
            refused = await send(http, 301)
            error = refusal(refused)
            assert (refused.status_code, error["code"]) == (429, "storage_limit_exceeded")
            assert refused.headers["x-should-retry"] == "false"
            assert "700 of the 1,000 bytes" in error["message"]
            assert len(api.objects()) == 1, "what was refused left nothing behind"
            assert (await send(http, 300)).status_code == 200
            assert (await used(admin_api, api.one))["storage_bytes"] == 1000
            assert (await send(http, 1)).status_code == 429
            await http.delete(f"/files/{kept.json()['id']}")
            assert (await used(admin_api, api.one))["storage_bytes"] == 300
            assert (await send(http, 700)).status_code == 200
        async with api.http(api.other) as http:
            assert (await send(http, 5000)).status_code == 200

    async def test_exactly_as_many_as_fit_however_many_race(self, admin_api: AdminApi, api: Api) -> None:
        await limit(admin_api, api.one, max_storage_bytes=1000)
        async with api.http() as http:
            sent = await asyncio.gather(
                *(send(http, 150, name=f"{number}") for number in range(8)), *(announce(http, 150) for _ in range(8))
            )
        assert Counter(each.status_code for each in sent) == {200: 6, 429: 10}
        assert (await used(admin_api, api.one))["storage_bytes"] == 900

    async def test_uploads_count_from_their_announcement_to_their_file(self, admin_api: AdminApi, api: Api) -> None:
        await limit(admin_api, api.one, max_storage_bytes=1000)
        async with api.http() as http:
            upload_id = (await announce(http, 600)).json()["id"]
            assert (await used(admin_api, api.one))["storage_bytes"] == 600
            assert refusal(await announce(http, 401))["code"] == "storage_limit_exceeded"
            part = (await add_part(http, upload_id, 600)).json()["id"]
            assert (await add_part(http, upload_id, 400)).status_code == 200, "a part that is sent again, within it"
            assert (await used(admin_api, api.one))["storage_bytes"] == 1000
            assert refusal(await add_part(http, upload_id, 1))["code"] == "storage_limit_exceeded"
            done = await http.post(f"/uploads/{upload_id}/complete", json={"part_ids": [part]})
            assert done.status_code == 200, done.text
            assert (await used(admin_api, api.one))["storage_bytes"] == 600
            cancelled = (await announce(http, 400)).json()["id"]
            await http.post(f"/uploads/{cancelled}/cancel")
            expired = (await announce(http, 400)).json()["id"]
            async with api.rows() as session:
                await session.execute(update(Upload).where(Upload.id == expired).values(expires_at=func.now()))
            assert (await announce(http, 400)).status_code == 200, "an upload that has ended takes no room"

    async def test_a_limit_below_what_is_used_breaks_nothing(self, admin_api: AdminApi, api: Api) -> None:
        async with api.http() as http:
            kept = (await send(http, 700)).json()["id"]
            await limit(admin_api, api.one, max_storage_bytes=100)
            assert (await http.get(f"/files/{kept}/content")).status_code == 200
            assert refusal(await send(http, 1))["code"] == "storage_limit_exceeded"
            await limit(admin_api, api.one, max_storage_bytes=None)
            assert (await send(http, 1)).status_code == 200


class TestFileSize:
    async def test_a_project_s_own_limit(self, admin_api: AdminApi, api: Api) -> None:
        await limit(admin_api, api.one, max_file_bytes=500)
        async with api.http() as http:
            assert (await send(http, 500)).status_code == 200
            for refused in (await send(http, 501), await announce(http, 501)):
                assert (refused.status_code, refusal(refused)["code"]) == (413, "file_too_large")
                assert "500" in refusal(refused)["message"]
            assert (await announce(http, 500)).status_code == 200

    async def test_it_cannot_raise_the_service_s(self, admin_api: AdminApi, api: Api) -> None:
        await limit(admin_api, api.one, max_file_bytes=MAX_FILE_BYTES * 2)
        async with api.http() as http:
            assert (await send(http, MAX_FILE_BYTES + 1)).status_code == 413
