"""Archiving a project: what runs upstream goes on to its end, what does not is cancelled, and nothing new starts."""

import asyncio

import openai
import pytest
from sqlalchemy import select, update

from service.archiving import archive
from service.database.engine import Database, create_engine
from service.database.tables import Job, JobEvent, Project
from service.errors import InvalidRequest
from service.identity import audit
from service.identity.queries import get_active_project
from service.wakeups import Wakeups
from tests.http.fixtures import Api
from tests.identity.fixtures import AdminApi
from tests.stack import DevStack, run_async
from tests.wire import MODEL, Tenant, chat_rows, checked, eventually, jsonl, new_tenant, upload


def test_a_running_job_ends_and_a_waiting_one_is_cancelled(stack: DevStack) -> None:
    ready = stack.ready()
    tenant = new_tenant(ready["base_url"], ready["database_url"])
    run_async(_one_at_a_time(tenant))
    with tenant.http() as http:
        file_id = upload(http, jsonl(chat_rows(60)))
        checked(http, file_id)
        body = {"model": MODEL, "training_file": file_id, "hyperparameters": {"n_epochs": 5, "batch_size": 1}}
        running = http.post("/fine_tuning/jobs", json=body).json()["id"]
        eventually(lambda: _rows(tenant)[running].upstream_job_id)
        waiting = http.post("/fine_tuning/jobs", json=body).json()["id"]
    assert _rows(tenant)[running].finished_at is None, "it ended too early for this test"
    admin = stack.client(admin=True)
    admin.admin.organization.projects.archive(tenant.project_id)
    assert eventually(lambda: _rows(tenant)[waiting].finished_at)
    assert eventually(lambda: _rows(tenant)[running].finished_at)
    rows = _rows(tenant)
    assert (rows[waiting].state, rows[waiting].upstream_job_id) == ("cancelled", None)
    assert rows[running].state == "succeeded"
    assert rows[running].trained_tokens
    with pytest.raises(openai.AuthenticationError):
        tenant.sdk().fine_tuning.jobs.list()
    (entry,) = admin.admin.organization.audit_logs.list(
        resource_ids=[tenant.project_id], event_types=["project.archived"]
    )
    assert entry.project_archived is not None
    assert entry.project_archived.to_dict()["cancelled_jobs"] == 1


async def test_a_job_that_is_made_meanwhile_is_cancelled_or_refused(api: Api, admin_api: AdminApi) -> None:
    """The first lock of the project decides: the archive sees the job, or the job sees the archive."""
    async with api.http() as http:
        file = await http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("a", jsonl(chat_rows(10)))})
        body = {"model": MODEL, "training_file": file.json()["id"]}
        project_id = api.one.project_id

        async def archive_it() -> None:
            async with admin_api.db.admin() as session:
                await archive(session, audit.SYSTEM, project_id)

        async with api.db.project(project_id) as creating:
            await get_active_project(creating, project_id)  # as `create_job` does first
            archiving = asyncio.create_task(archive_it())
            await asyncio.sleep(0.3)
            assert not archiving.done()
            made = (await http.post("/fine_tuning/jobs", json=body)).json()["id"]
        await archiving
        refused = await http.post("/fine_tuning/jobs", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) in (
            (400, "project_archived"),
            (401, "invalid_api_key"),
        )
    async with api.rows() as session:
        (job,) = (await session.scalars(select(Job))).all()
        assert (job.id, job.cancel_requested_at is not None) == (made, True)
        messages = (await session.scalars(select(JobEvent.message).order_by(JobEvent.sequence))).all()
        assert messages[-1] == "Cancel requested: the project was archived."
        with pytest.raises(InvalidRequest):
            await get_active_project(session, project_id)


def _rows(tenant: Tenant) -> dict[str, Job]:
    async def read() -> dict[str, Job]:
        db = Database(create_engine(tenant.database_url, pool_size=1), Wakeups(""))
        async with db.project(tenant.project_id) as session:
            rows = (await session.scalars(select(Job))).all()
        await db.close()
        return {row.id: row for row in rows}

    return run_async(read())


async def _one_at_a_time(tenant: Tenant) -> None:
    db = Database(create_engine(tenant.database_url, pool_size=1), Wakeups(""))
    async with db.admin() as session:
        await session.execute(update(Project).where(Project.id == tenant.project_id).values(max_active_jobs=1))
    await db.close()
