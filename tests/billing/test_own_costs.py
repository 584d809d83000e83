"""A project's own costs and usage, and the last days in one call; another project's never show."""

import asyncio
import dataclasses
import datetime as dt
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from service.billing import usage
from service.billing.buckets import span
from service.database.tables import ApiKey, Balance, LedgerEntry
from service.errors import InvalidRequest
from service.identity.bootstrap import create_key
from service.ids import new_id
from service.settings import Settings
from tests.billing.test_buckets import DAY
from tests.http.fixtures import Api
from tests.identity.fixtures import AdminApi
from tests.wire import Tenant

MODEL = "gpt-4o-mini"


def today() -> int:
    """Where this day in UTC began."""
    return int(dt.datetime.now(dt.UTC).timestamp()) // DAY * DAY


async def post(api: Api, tenant: Tenant, *, days_ago: int, micros: int, job: str | None = None) -> str:
    """A post of a job, or of an inference call, in the middle of a day; for the project's key, whose id it returns."""
    at = dt.datetime.fromtimestamp(today() - days_ago * DAY, dt.UTC) + dt.timedelta(minutes=1)
    month = at.date().replace(day=1)
    async with api.db.admin() as session:
        key_id = (await session.scalars(select(ApiKey.id).where(ApiKey.project_id == tenant.project_id))).first()
        assert key_id is not None
        balance = insert(Balance).values(project_id=tenant.project_id, month=month)
        await session.execute(balance.on_conflict_do_nothing())
        session.add(
            LedgerEntry(
                id=new_id("entry-"),
                project_id=tenant.project_id,
                month=month,
                subject=job or new_id("call-"),
                kind="post",
                line_item=f"{'training' if job else 'inference'} {MODEL}",
                reserved_micros=0,
                spent_micros=micros,
                quantity=10,
                created_at=at,
                api_key_id=key_id,
                model=MODEL,
                input_tokens=None if job else 7,
                output_tokens=None if job else 3,
                basis=None if job else "usage",
            )
        )
    return key_id


async def page(http: httpx2.AsyncClient, path: str, **query: Any) -> dict[str, Any]:
    """A page of costs or usage."""
    answer = await http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def results(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of all buckets."""
    return [result for bucket in found["data"] for result in bucket["results"]]


class TestOwnCosts:
    async def test_by_key_and_job_with_names_and_nothing_of_another_project(self, api: Api) -> None:
        key_id = await post(api, api.one, days_ago=1, micros=30, job="ftjob-mine")
        await post(api, api.one, days_ago=1, micros=5)
        theirs = await post(api, api.other, days_ago=1, micros=7_000, job="ftjob-theirs")
        async with api.http() as http:
            by = {"group_by[]": ["api_key_id", "job_id", "model"]}
            answer = await http.get("/project/costs", params={"since": "7d", **by})
            summed = results(await page(http, "/project/costs", since="7d"))
        found = results(answer.json())
        name = await _name_of(api, key_id)
        assert [(each["job_id"], each["amount"]["value"]) for each in found] == [
            ("ftjob-mine", 0.00003),
            (None, 0.000005),
        ]
        assert {(each["api_key_id"], each["api_key_name"], each["model"]) for each in found} == {(key_id, name, MODEL)}
        for secret in (theirs, "ftjob-theirs", api.other.project_id, await _name_of(api, theirs)):
            assert secret not in answer.text
        assert [each["amount"]["value"] for each in summed] == [0.000035]

    async def test_another_project_s_key_as_a_filter_finds_nothing(self, api: Api) -> None:
        theirs = await post(api, api.other, days_ago=0, micros=7_000)
        async with api.http() as http:
            for path in ("/project/costs", "/project/usage/completions", "/project/usage/fine_tuning"):
                assert results(await page(http, path, since="7d", **{"api_key_ids[]": theirs})) == []

    @pytest.mark.parametrize("path", ["/project/costs", "/project/usage/completions", "/project/usage/fine_tuning"])
    @pytest.mark.parametrize("query", ["project_ids[]=proj_1", "group_by[]=project_id"])
    async def test_no_project_can_be_asked_for(self, api: Api, path: str, query: str) -> None:
        async with api.http() as http:
            answer = await http.get(f"{path}?since=7d&{query}")
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"].startswith(query.partition("=")[0])

    async def test_usage_of_both_kinds(self, api: Api) -> None:
        await post(api, api.one, days_ago=0, micros=30, job="ftjob-one")
        await post(api, api.one, days_ago=0, micros=5)
        await post(api, api.other, days_ago=0, micros=5)
        async with api.http() as http:
            query = {"since": "1h", "bucket_width": "1d", "group_by[]": "api_key_id"}
            [calls] = results(await page(http, "/project/usage/completions", **query))
            [jobs] = results(await page(http, "/project/usage/fine_tuning", **query))
        assert (calls["input_tokens"], calls["output_tokens"], calls["num_model_requests"]) == (7, 3, 1)
        assert (jobs["trained_tokens"], jobs["num_jobs"]) == (10, 1)
        assert calls["api_key_name"] == jobs["api_key_name"] is not None

    async def test_a_read_only_key_reads_and_an_expired_one_does_not(self, api: Api) -> None:
        settings = Settings(database_url=api.one.database_url)
        reader = await create_key(
            settings, kind="project", name="reader", project=api.one.project_id, scopes=["api.all.read"]
        )
        tenant = dataclasses.replace(api.one, key=reader)
        paths = ("costs?since=7d", "usage/completions?since=7d", "audit_logs", "upstreams", "limits", "rate_limits")
        async with api.http(tenant) as http:
            for path in ("/project", *(f"/project/{each}" for each in paths)):
                assert (await http.get(path)).status_code == 200, path
            async with api.db.admin() as session:
                own = (ApiKey.project_id == api.one.project_id, ApiKey.name == "reader")
                row = (await session.scalars(select(ApiKey).where(*own))).one()
                row.expires_at = await session.scalar(select(func.now()))
            async with asyncio.timeout(30):
                while (await http.get("/project")).status_code == 200:
                    await asyncio.sleep(0.1)
            for path in ("/project", *(f"/project/{each}" for each in paths)):
                assert (await http.get(path)).status_code == 401, path

    async def test_an_admin_key_has_no_project(self, admin_api: AdminApi) -> None:
        async with admin_api.http() as admin:
            assert (await admin.get("/project/costs?since=7d")).status_code == 403


class TestLastDays:
    async def test_in_one_call_the_newest_first(self, api: Api) -> None:
        for days_ago in (0, 2, 6, 7):
            await post(api, api.one, days_ago=days_ago, micros=1 + days_ago)
        async with api.http() as http:
            week = await page(http, "/project/costs", since="7d", order="desc")
            filled = await page(http, "/project/costs", since="7d", order="desc", empty_buckets=False)
        assert [bucket["start_time"] for bucket in week["data"]] == [today() - n * DAY for n in range(7)]
        assert (week["has_more"], week["next_page"]) == (False, None)
        assert [bucket["start_time"] for bucket in filled["data"]] == [today() - n * DAY for n in (0, 2, 6)]
        assert (filled["has_more"], filled["next_page"]) == (False, None)

    @pytest.mark.parametrize("order", ["asc", "desc"])
    async def test_empty_buckets_do_not_fill_a_page(self, api: Api, order: str) -> None:
        posted = (1, 40, 90, 170, 179)
        for days_ago in posted:
            await post(api, api.one, days_ago=days_ago, micros=1)
        found: list[int] = []
        pages, query = 0, {"since": "180d", "order": order, "empty_buckets": "false", "limit": 2}
        async with api.http() as http:
            one = await page(http, "/project/costs", **query)
            while True:
                pages += 1
                found += [bucket["start_time"] for bucket in one["data"]]
                if not one["has_more"]:
                    break
                one = await page(http, "/project/costs", **query, page=one["next_page"])
        expected = [today() - days_ago * DAY for days_ago in posted]
        assert found == (expected if order == "desc" else expected[::-1])
        assert pages == 3

    async def test_an_administrator_has_it_too_and_openai_s_defaults_stay(self, api: Api, admin_api: AdminApi) -> None:
        await post(api, api.one, days_ago=1, micros=9)
        mine = {"project_ids[]": api.one.project_id}
        async with admin_api.http() as admin:
            new = await page(
                admin,
                "/organization/costs",
                **mine,
                **{"since": "30d", "order": "desc", "empty_buckets": "false", "group_by[]": "project_id"},
            )
            old = await page(admin, "/organization/costs", **mine, start_time=today() - 8 * DAY)
        [[result]] = [bucket["results"] for bucket in new["data"]]
        assert result["project_id"] == api.one.project_id
        assert result["project_name"] is not None
        assert [bucket["start_time"] for bucket in old["data"]] == [today() - n * DAY for n in range(8, 1, -1)]
        assert old["has_more"]

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ("", "start_time"),
            ("since=7d&start_time=5", "since"),
            ("since=7", "since"),
            ("since=0d", "since"),
            ("since=1y", "since"),
            ("since=7d&order=newest", "order"),
            ("since=7d&empty_buckets=2", "empty_buckets"),
            ("since=7d&limit=181", "limit"),
        ],
    )
    async def test_what_is_not_understood_is_refused(self, api: Api, query: str, param: str) -> None:
        async with api.http() as http:
            answer = await http.get(f"/project/costs?{query}")
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


class TestManyResults:
    async def test_a_page_with_too_many_results_has_fewer_buckets(self, api: Api) -> None:
        for days_ago, job in ((0, "a"), (0, "b"), (1, "c"), (1, "d"), (2, "e")):
            await post(api, api.one, days_ago=days_ago, micros=1, job=f"{api.one.project_id}-{job}")
        first = await self.found(api, None)
        second = await self.found(api, first.next_page)
        assert [self.jobs(one) for one in (first, second)] == [["e", "c", "d"], ["a", "b"]]
        assert second.next_page is None

    async def test_a_bucket_with_too_many_is_refused(self, api: Api) -> None:
        for job in ("a", "b", "c", "d"):
            await post(api, api.one, days_ago=6, micros=1, job=f"{api.one.project_id}-{job}")
        with pytest.raises(InvalidRequest, match="more than 3 results"):
            await self.found(api, None)

    async def found(self, api: Api, named: str | None) -> usage.Found[usage.Cost]:
        """A page of seven days of which each may have three results."""
        covered = span(
            start=today() - 6 * DAY, end=today() + DAY, now=0, width="1d", limit=7, page=named, query=b"", whole=True
        )
        selection = usage.Selection(
            span=covered,
            seconds=DAY,
            limit=7,
            empty_buckets=True,
            group_by=["job_id"],
            only={"project_id": [api.one.project_id]},
            max_results=3,
        )
        async with api.rows() as session:
            return await usage.costs(session, selection)

    def jobs(self, found: usage.Found[usage.Cost]) -> list[str]:
        """The last letters of the jobs' ids."""
        return [row.group["job_id"][-1] for _, rows in found.buckets for row in rows]


async def _name_of(api: Api, key_id: str) -> str:
    async with api.db.admin() as session:
        return (await session.scalars(select(ApiKey.name).where(ApiKey.id == key_id))).one()
