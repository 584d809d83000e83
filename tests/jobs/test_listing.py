"""Lists of jobs by every sort and filter: compared with the same done in Python, page by page."""

import datetime as dt
import itertools
import random
from collections.abc import Callable
from typing import Any, get_args

import httpx2
import pytest
from sqlalchemy import update

from service.database.tables import ApiKey, Job, ServiceAccount
from service.ids import new_id
from service.jobs.lifecycle import Status
from service.jobs.schemas import Sort
from service.states import ENDED, State
from tests.http.fixtures import Api
from tests.jobs.rows import add_file, add_job
from tests.wire import refusal

QUOTES = """ft:it's "\\x' OR %s $1 \N{SNOWMAN}"""
JOBS = "/fine_tuning/jobs"
SORTS: tuple[Sort, ...] = get_args(Sort)
STATES: tuple[State, ...] = get_args(State)
FIGURES: dict[str, Callable[[dict[str, Any]], float | None]] = {
    "created_at": lambda job: None,
    "cost": lambda job: _of(job["cost"], "value"),
    "expected_cost": lambda job: _of(job["expected_cost"], "value"),
    "duration_seconds": lambda job: job["duration_seconds"],
    "train_loss": lambda job: _of(job["metrics_summary"]["train_loss"], "final"),
    "valid_loss": lambda job: _of(job["metrics_summary"]["valid_loss"], "final"),
    "best_valid_loss": lambda job: _of(job["metrics_summary"]["valid_loss"], "best"),
    "tokens_per_second": lambda job: job["tokens_per_second"],
    "trained_tokens": lambda job: job["trained_tokens"],
}


def _of(shown: dict[str, Any] | None, name: str) -> Any:
    return None if shown is None else shown[name]


async def add_jobs(api: Api, *, count: int = 24) -> list[str]:
    """Jobs of every state with few different figures, so that there are ties, and a third of them without one."""
    chance = random.Random(17)

    def figure(*values: Any) -> Any:
        return chance.choice([None, *values])

    made = []
    async with api.db.admin() as session:
        file_id = await add_file(session, api.one.project_id)
        for number in range(count):
            state = STATES[number % len(STATES)]
            loss, seconds = figure(0.25, 0.1 + 0.2, 1e30), figure(30.0, 60.0)
            started = None if seconds is None else dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
            figures = {
                "cost_micros": figure(0, 1_000_000, 2_500_000),
                "expected_micros": figure(7, 7_000_000),
                "started_at": started,
                "duration_seconds": seconds if state in ENDED else None,
                **({} if loss is None else losses("train_loss", loss) | losses("valid_loss", loss * 2)),
                "tokens_per_second": figure(12.5, 1000.0),
                "trained_tokens": figure(0, 3000, 2**40),
                "upstream_status": figure("running", "queued", "paused"),
            }
            made.append(await add_job(session, api.one.project_id, file_id=file_id, state=state, **figures))
    return made


def _sorted(jobs: list[dict[str, Any]], of: Callable[[dict[str, Any]], Any], *, descending: bool) -> list[str]:
    known = [job for job in jobs if of(job) is not None]
    unknown = [job for job in jobs if of(job) is None]
    known.sort(key=lambda job: (of(job), job["id"]), reverse=descending)
    unknown.sort(key=lambda job: job["id"], reverse=descending)
    return [job["id"] for job in known + unknown]


def losses(name: str, loss: float) -> dict[str, Any]:
    """The columns of a loss that fell to its half."""
    return {name: loss, f"{name}_step": 9, f"best_{name}": loss / 2, f"best_{name}_step": 5}


async def pages(http: httpx2.AsyncClient, cursor: str, **query: Any) -> list[dict[str, Any]]:
    """All jobs of a list, page by page, by the cursor that a page has in this field."""
    found: list[dict[str, Any]] = []
    while True:
        page = (await http.get(JOBS, params=query)).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        query["after"] = page.get(cursor, page["last_id"])


class TestSort:
    async def test_orders_as_python_does_with_those_without_the_figure_last(self, api: Api) -> None:
        made = await add_jobs(api)
        async with api.http() as http:
            for sort, order in itertools.product(SORTS, ("asc", "desc")):
                whole = (await http.get(JOBS, params={"sort": sort, "order": order, "limit": 100})).json()["data"]
                ids = [job["id"] for job in whole]
                assert sorted(ids) == made
                assert ids == _sorted(whole, FIGURES[sort], descending=order == "desc"), (sort, order)
                for cursor in ("next_after", "last_id"):
                    paged = await pages(http, cursor, sort=sort, order=order, limit=7)
                    assert [job["id"] for job in paged] == ids, (sort, order, cursor)

    async def test_only_a_list_by_a_figure_with_more_has_a_cursor_of_its_own(self, api: Api) -> None:
        await add_jobs(api, count=4)
        async with api.http() as http:
            queries: tuple[tuple[dict[str, Any], bool], ...] = (
                ({"sort": "cost", "limit": 2}, True),
                ({"sort": "cost"}, False),
                ({"limit": 2}, False),
                ({"sort": "created_at", "status": "queued", "limit": 2}, False),
            )
            for query, has_cursor in queries:
                assert ("next_after" in (await http.get(JOBS, params=query)).json()) == has_cursor, query

    @pytest.mark.parametrize("changed", [0.0, 99.0, None], ids=["better", "worse", "unknown"])
    async def test_jobs_that_stay_the_same_are_each_on_one_page_while_the_cursor_s_job_changes(
        self, api: Api, changed: float | None
    ) -> None:
        async with api.db.admin() as session:
            file_id = await add_file(session, api.one.project_id)
            made = [
                await add_job(
                    session, api.one.project_id, file_id=file_id, state="settling", **losses("train_loss", loss)
                )
                for loss in (1.0, 2.0, 3.0, 4.0)
            ]
        async with api.http() as http:
            query: dict[str, Any] = {"sort": "train_loss", "order": "asc", "limit": 2}
            first = (await http.get(JOBS, params=query)).json()
            async with api.db.admin() as session:
                await session.execute(update(Job).where(Job.id == made[1]).values(train_loss=changed))
            second = (await http.get(JOBS, params=query | {"after": first["next_after"]})).json()
            others = [job["id"] for job in first["data"] + second["data"] if job["id"] != made[1]]
            assert others == [made[0], *made[2:]]
            assert (await http.get(JOBS, params=query | {"after": first["last_id"]})).status_code == 200

    async def test_a_duration_that_counts_up_leaves_no_job_out_and_repeats_none(self, api: Api) -> None:
        now = dt.datetime.now(dt.UTC)
        async with api.db.admin() as session:
            file_id = await add_file(session, api.one.project_id)
            running = [
                await add_job(
                    session,
                    api.one.project_id,
                    file_id=file_id,
                    state="running",
                    started_at=now - dt.timedelta(hours=hours),
                )
                for hours in (3, 2, 1)
            ]
            ended = await add_job(session, api.one.project_id, file_id=file_id, duration_seconds=9000.0)
        async with api.http() as http:
            for order, expected in (
                ("desc", [running[0], ended, running[1], running[2]]),
                ("asc", [running[2], running[1], ended, running[0]]),
            ):
                found = await pages(http, "next_after", sort="duration_seconds", order=order, limit=1)
                assert [job["id"] for job in found] == expected

    async def test_what_is_no_cursor_is_refused(self, api: Api) -> None:
        known = (await add_jobs(api, count=1))[0]
        async with api.http() as http:
            for after in (
                "ftjob-none", "ftjob-none:cost:1:2.0", f"{known}:", f"{known}:1", f"{known}:1:1", f"{known}:cost:x:1",
                f"{known}:cost:1:x", f"{known}:cost:1.5:1", f"{known}:cost:nan:1", f"{known}:cost:1:inf",
                f"{known}:cost:1:1e300", ":", f"{known}:cost:1:1:1", f"{known}:1:1:1",
                f"{known}:cost:99999999999999999999:1", f"{known}:cost:{'9' * 4000}:1",
            ):  # fmt: skip
                answer = await http.get(JOBS, params={"sort": "cost", "after": after})
                assert answer.status_code == 400, after
                assert refusal(answer)["code"] == "invalid_cursor"
            answer = await http.get(JOBS, params={"sort": "train_loss", "after": f"{known}:train_loss:nan:1"})
            assert answer.status_code == 400

    @pytest.mark.parametrize("sort", ["created_at", "expected_cost", "train_loss"])
    async def test_the_cursor_of_a_list_with_another_sort_is_refused(self, api: Api, sort: str) -> None:
        """Its figure would be compared with another one, and pages left out in silence."""
        await add_jobs(api, count=4)
        async with api.http() as http:
            after = (await http.get(JOBS, params={"sort": "cost", "limit": 1})).json()["next_after"]
            answer = await http.get(JOBS, params={"sort": sort, "after": after})
        assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_cursor")
        assert f"another `sort`, and this one is sorted by '{sort}'" in refusal(answer)["message"]

    async def test_what_is_no_sort_order_or_status_is_refused_with_those_that_are(self, api: Api) -> None:
        known = {"sort": "best_valid_loss", "order": "desc", "status": "validating_files"}
        given = [("sort", "loss"), ("sort", ""), ("order", "down"), ("status", "done"), ("status", "null")]
        async with api.http() as http:
            for name, value in given:
                error = refusal(await http.get(JOBS, params={name: value}))
                assert (error["param"], error["code"]) == (name, "invalid_value")
                assert known[name] in error["message"]


class TestFilter:
    async def test_by_the_status_that_is_shown(self, api: Api) -> None:
        await add_jobs(api, count=36)
        async with api.http() as http:
            for sort in ("created_at", "cost"):
                every = (await http.get(JOBS, params={"limit": 100, "sort": sort})).json()["data"]
                for status in get_args(Status):
                    found = await pages(http, "next_after", status=status, sort=sort, limit=5)
                    assert [job["id"] for job in found] == [job["id"] for job in every if job["status"] == status]
                    assert found

    @pytest.mark.parametrize("state", ["succeeded", "settling"], ids=["ended", "unfinished"])
    async def test_by_model_file_and_metadata(self, api: Api, state: State) -> None:
        async with api.db.admin() as session:
            one, two = [await add_file(session, api.one.project_id) for _ in range(2)]

            async def add(file_id: str, model: str, **metadata: str) -> str:
                return await add_job(
                    session,
                    api.one.project_id,
                    file_id=file_id,
                    state=state,
                    model=model,
                    caller_metadata=metadata or None,
                )

            alias, dated = await add(one, "gpt-4o-mini", team="a"), await add(two, "gpt-4o-mini-2024-07-18", team="a")
            tuned = await add(one, "ft:gpt-4o-mini:org::1", team="a", run="1")
            plain = await add(two, QUOTES)
        async with api.http() as http:
            for query, expected in (
                ({"model": "gpt-4o-mini"}, [dated, alias]),
                ({"model": "gpt-4o-mini-2024-07-18"}, [dated, alias]),
                ({"model": "ft:gpt-4o-mini:org::1"}, [tuned]),
                ({"model": QUOTES}, [plain]),
                ({"model": "nothing"}, []),
                ({"training_file": one}, [tuned, alias]),
                ({"training_file": one, "model": "gpt-4o-mini"}, [alias]),
                ({"training_file": "file-none"}, []),
                ({"metadata[team]": "a", "order": "asc"}, [alias, dated, tuned]),
                ({"metadata[team]": "a", "sort": "cost"}, [tuned, dated, alias]),
                ({"metadata[team]": "a", "metadata[run]": "1", "model": "ft:gpt-4o-mini:org::1"}, [tuned]),
                ({"metadata[team]": "a", "training_file": two}, [dated]),
                ({"metadata": "null", "sort": "cost"}, [plain]),
                ({"metadata": "null", "training_file": one}, []),
            ):
                for limit in (1, 100):
                    found = await pages(http, "next_after", **query, limit=limit)
                    assert [job["id"] for job in found] == expected, query

    async def test_by_who_created_them_by_id_and_name_also_of_deleted_ones(self, api: Api) -> None:
        project = api.one.project_id
        async with api.db.admin() as session:
            file_id = await add_file(session, project)
            account = ServiceAccount(id=new_id("svc_acct_"), project_id=project, name="nightly", deleted_at=_now())
            session.add(account)
            await session.flush()
            keys = [
                ApiKey(
                    id=new_id("key_"),
                    project_id=project,
                    service_account_id=owner,
                    kind="project",
                    name=name,
                    sha256=new_id("").encode(),
                    redacted_value="sk-…",
                    revoked_at=_now(),
                )
                for name, owner in (("first", account.id), ("second", account.id), ("laptop", None))
            ]
            session.add_all(keys)
            await session.flush()
            made = [await add_job(session, project, file_id=file_id, api_key_id=key.id) for key in keys]
            await add_job(session, project, file_id=file_id)
        async with api.http() as http:
            for creator, expected in (
                (keys[0].id, made[:1]),
                ("second", made[1:2]),
                (account.id, made[:2]),
                ("nightly", made[:2]),
                ("laptop", made[2:]),
                ("nobody", []),
            ):
                found = await pages(http, "last_id", created_by=creator, order="asc", limit=1)
                assert [job["id"] for job in found] == expected, creator
            shown = (await http.get(JOBS, params={"created_by": "first"})).json()["data"][0]["created_by"]
            assert shown == {"type": "service_account", "id": account.id, "name": "nightly"}
            shown = (await http.get(f"{JOBS}/{made[2]}")).json()["created_by"]
            assert shown == {"type": "api_key", "id": keys[2].id, "name": "laptop"}


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
