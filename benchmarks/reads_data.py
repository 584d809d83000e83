"""The project whose jobs, files and models `benchmarks.api` reads: written by the tables' classes, in all states."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.database.engine import Database, create_engine
from service.database.tables import File, Job, Model, ModelAlias, UpstreamAccount
from service.ids import new_id
from service.jobs.rules import resolve_method
from service.settings import Settings
from service.states import State
from service.wakeups import Wakeups
from tests.wire import make_tenant

FILES = 30
MODELS = 6
ALIASES = 3
STATES: tuple[State, ...] = (
    "running",
    "succeeded",
    "waiting",
    "failed",
    "running",
    "cancelled",
    "validating",
    "settling",
)
ACCOUNT = "default"


@dataclass(frozen=True, slots=True)
class Project:
    """A project with a key. `headers` suffice for the API and for the bare routes, which read the project from one."""

    headers: Mapping[str, str]
    job_ids: list[str]


async def make_project(settings: Settings, base_url: str) -> Project:
    """A project with files, two jobs in each state, models and aliases."""
    tenant = await make_tenant(base_url, settings.database_url)
    db = Database(create_engine(settings.database_url, pool_size=1), Wakeups(""))
    async with db.admin() as session:
        await session.get_one(UpstreamAccount, ACCOUNT)
        files = [_file(tenant.project_id, number) for number in range(FILES)]
        session.add_all(files)
        await session.flush()
        jobs = [_job(tenant.project_id, files[0].id, number, state) for number, state in enumerate(STATES * 2)]
        session.add_all(jobs)
        await session.flush()
        models = [_model(jobs[1], number) for number in range(MODELS)]
        session.add_all(models)
        session.add_all(_alias(models[number], number) for number in range(ALIASES))
    await db.close()
    headers = {"authorization": f"Bearer {tenant.key}", "x-project": tenant.project_id}
    return Project(headers, [job.id for job in jobs])


def _file(project_id: str, number: int) -> File:
    return File(
        id=new_id("file-"),
        project_id=project_id,
        filename=f"training-{number}.jsonl",
        purpose="fine-tune",
        size_bytes=1_000_000 + number,
        sha256=f"{number:064x}",
        storage_key=new_id("object-"),
        status="processed",
    )


def _job(project_id: str, file_id: str, number: int, state: State) -> Job:
    now = dt.datetime.now(dt.UTC)
    has_ended = state in ("succeeded", "failed", "cancelled")
    is_upstream = state in ("running", "settling", "succeeded")
    values: dict[str, Any] = {"error_code": "invalid_training_file", "error_message": "The file has errors."}
    return Job(
        id=new_id("ftjob-"),
        project_id=project_id,
        state=state,
        model="gpt-4o-mini-2024-07-18",
        training_file_id=file_id,
        suffix="support",
        seed=number,
        caller_metadata={"team": "support", "run": str(number)},
        method=resolve_method(None, None),
        n_epochs=3 if state != "validating" else None,
        finished_at=now if has_ended else None,
        account_id=ACCOUNT if is_upstream else None,
        upstream_job_id=new_id("ftjob-") if is_upstream else None,
        upstream_status="running" if state == "running" else None,
        create_phase="created" if is_upstream else "idle",
        fine_tuned_model=f"ft:{number}" if state == "succeeded" else None,
        trained_tokens=123_456 if state == "succeeded" else None,
        result_file_ids=[file_id] if state == "succeeded" else [],
        **(values if state == "failed" else {}),
    )


def _model(job: Job, number: int) -> Model:
    return Model(
        name=f"ft:gpt-4o-mini:org:support:{number}:{job.id[-12:]}",
        project_id=job.project_id,
        job_id=job.id,
        kind="model",
        base_model=job.model,
        account_id=ACCOUNT,
        upstream_name=f"ft:upstream:{number}",
        created_at=dt.datetime.now(dt.UTC) - dt.timedelta(days=number),
    )


def _alias(model: Model, number: int) -> ModelAlias:
    return ModelAlias(
        id=new_id("alias_"), project_id=model.project_id, name=f"support-{number}", model=model.name, version=1
    )
