"""A project has only so much unfinished work of each kind, however many requests create it at the same time."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from service.database.engine import Database, create_engine
from service.database.tables import DatasetPreparation, FileReport, Run
from service.datasets.uploads.queries import count_open_uploads
from service.ids import new_id
from service.limits import unfinished_work
from service.settings import Settings
from service.wakeups import Wakeups
from tests.http.fixtures import MAX_UNFINISHED, Api
from tests.wire import MODEL, OTHER_ENCODING, refusal

GENERATION = {"topics": ["rivers"], "n_per_topic": 1, "model": MODEL}
MAX_REPORTS = 2


async def _put(http: httpx2.AsyncClient, purpose: str = "fine-tune") -> httpx2.Response:
    return await http.post("/files", data={"purpose": purpose}, files={"file": ("a.jsonl", b"{}\n")})


async def _file(http: httpx2.AsyncClient, purpose: str = "fine-tune") -> str:
    answer = await _put(http, purpose)
    file_id: str = answer.json()["id"]
    return file_id


async def _at_once(http: httpx2.AsyncClient, path: str, body: dict[str, Any], count: int) -> list[httpx2.Response]:
    return await asyncio.gather(*(http.post(path, json=body) for _ in range(count)))


def _refused(answers: list[httpx2.Response]) -> httpx2.Response:
    """A refusal, of answers of which `MAX_UNFINISHED` are no refusals."""
    statuses = Counter(each.status_code for each in answers)
    assert statuses == {200: MAX_UNFINISHED, 429: len(answers) - MAX_UNFINISHED}
    return next(each for each in answers if each.status_code == 429)


async def test_preparations(api: Api) -> None:
    async with api.http() as http, api.http(api.other) as theirs:
        body = {"file": await _file(http, "user_data")}
        answers = await _at_once(http, "/dataset_preparations", body, 3 * MAX_UNFINISHED)
        refused = _refused(answers)
        assert refusal(refused)["code"] == "too_much_unfinished_work"
        assert f"{MAX_UNFINISHED} preparations" in refused.text
        assert "TUNEGATE_MAX_UNFINISHED_WORK" in refused.text
        assert refused.headers["x-should-retry"] == "false"
        body_of_others = {"file": await _file(theirs, "user_data")}
        assert (await theirs.post("/dataset_preparations", json=body_of_others)).status_code == 200
        done = next(each.json()["id"] for each in answers if each.status_code == 200)
        await http.post(f"/dataset_preparations/{done}/cancel")
        assert (await http.post("/dataset_preparations", json=body)).status_code == 200
        assert (await http.post("/dataset_preparations", json=body)).status_code == 429
    async with api.rows() as session:
        assert await session.scalar(select(func.count()).select_from(DatasetPreparation)) == MAX_UNFINISHED + 1


async def test_generations_and_comparisons_together(api: Api) -> None:
    async with api.http() as http:
        answers = await _at_once(http, "/dataset_generations", GENERATION, 3 * MAX_UNFINISHED)
        refused = _refused(answers)
        assert refusal(refused)["code"] == "too_much_unfinished_work"
        assert f"{MAX_UNFINISHED} generations and comparisons" in refused.text
        async with api.rows() as session:
            ended = {"status": "cancelled", "finished_at": func.now(), "due_at": None}
            await session.execute(update(Run).values(kind="comparison"))
        assert (await http.post("/dataset_generations", json=GENERATION)).status_code == 429
        async with api.rows() as session:
            await session.execute(update(Run).values(**ended))
        assert (await http.post("/dataset_generations", json=GENERATION)).status_code == 200


class TestReports:
    @pytest.fixture(autouse=True)
    def maximum(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A project may have two that are not ready."""
        monkeypatch.setattr(unfinished_work, "MAX_UNFINISHED_REPORTS", MAX_REPORTS)

    async def test_of_new_files(self, api: Api) -> None:
        async with api.http() as http, api.http(api.other) as theirs:
            answers = await asyncio.gather(*(_put(http) for _ in range(4)))
            assert Counter(each.status_code for each in answers) == {200: MAX_REPORTS, 429: 2}
            refused = next(each for each in answers if each.status_code == 429)
            assert refusal(refused)["code"] == "too_much_unfinished_work"
            assert (await _put(http, "vision")).status_code == 200
            assert (await _put(theirs)).status_code == 200
            await _end_reports(api)
            assert (await _put(http)).status_code == 200

    async def test_of_uploads_in_parts(self, api: Api) -> None:
        async with api.http() as http:
            for _ in range(MAX_REPORTS):
                await _file(http)
            announced = {"filename": "a", "purpose": "fine-tune", "bytes": 3, "mime_type": "text/jsonl"}
            path = f"/uploads/{(await http.post('/uploads', json=announced)).json()['id']}"
            part = (await http.post(f"{path}/parts", files={"data": ("a", b"{}\n")})).json()["id"]
            refused = await http.post(f"{path}/complete", json={"part_ids": [part]})
            assert refusal(refused)["code"] == "too_much_unfinished_work"
            await _end_reports(api)
            assert (await http.post(f"{path}/complete", json={"part_ids": [part]})).status_code == 200

    async def test_for_another_model(self, api: Api) -> None:
        async with api.http() as http:
            file_id = await _file(http)
            await _file(http)
            report = f"/files/{file_id}/report"
            assert (await http.get(report)).status_code == 200
            refused = await http.get(report, params={"model": OTHER_ENCODING})
            assert refusal(refused)["code"] == "too_much_unfinished_work"
            await _end_reports(api)
            assert (await http.get(report, params={"model": OTHER_ENCODING})).status_code == 200

    async def test_of_pairs_of_files(self, api: Api) -> None:
        async with api.http() as http:
            files = []
            for _ in range(3):
                files.append(await _file(http))
                await _end_reports(api)
            report = f"/files/{files[0]}/report"
            for each in files[:MAX_REPORTS]:
                assert (await http.get(report, params={"validation_file": each})).status_code == 200
            assert (await http.get(report, params={"validation_file": files[0]})).status_code == 200
            refused = await http.get(report, params={"validation_file": files[2]})
            assert refusal(refused)["code"] == "too_much_unfinished_work"
            body = {"model": MODEL, "training_file": files[0], "validation_file": files[2]}
            for path in ("/fine_tuning/jobs", "/fine_tuning/quotes"):
                assert refusal(await http.post(path, json=body))["code"] == "too_much_unfinished_work", path


async def _end_reports(api: Api) -> None:
    """End all of the first project's reports, as workers would."""
    async with api.rows() as session:
        await session.execute(update(FileReport).values(due_at=None))


Count = Callable[[AsyncSession, str], Awaitable[object]]


@pytest.fixture
async def db(gateway: tuple[Settings, str]) -> AsyncIterator[Database]:
    """Connections for several transactions of a project."""
    opened = Database(create_engine(gateway[0].database_url, pool_size=5), Wakeups(""))
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "count",
    [
        lambda session, project_id: unfinished_work.check_preparations(session, project_id, 1),
        lambda session, project_id: unfinished_work.check_runs(session, project_id, 1),
        unfinished_work.check_file_reports,
        unfinished_work.check_leakage_reports,
        count_open_uploads,
    ],
    ids=["preparations", "runs", "file reports", "leakage reports", "open uploads"],
)
async def test_a_transaction_counts_once_the_one_before_has_ended(db: Database, count: Count) -> None:
    project_id = new_id("proj_")

    async def count_too() -> None:
        async with db.project(project_id) as session:
            await count(session, project_id)

    async with db.project(project_id) as first:
        await count(first, project_id)
        second = asyncio.create_task(count_too())
        async with asyncio.timeout(60):
            while not await _waits_for_a_lock(db):
                assert not second.done()
                await asyncio.sleep(0.02)
    await second


async def _waits_for_a_lock(db: Database) -> bool:
    query = (
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database "
        "WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    )
    async with db.admin() as session:
        return bool(await session.scalar(text(query)))
