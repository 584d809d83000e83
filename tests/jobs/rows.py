"""Rows of jobs in every state, for tests of what a caller reads of them."""

import datetime as dt
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from service.database.tables import File, Job, UpstreamAccount
from service.ids import new_id
from service.states import ENDED

ACCOUNT = "account-of-made-jobs"
MODEL = "gpt-4o-mini-2024-07-18"
METHOD: dict[str, Any] = {
    "type": "supervised",
    "supervised": {
        "hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"},
    },
}


async def add_file(session: AsyncSession, project_id: str, *, filename: str = "rivers.jsonl") -> str:
    """A dataset whose content nobody reads."""
    row = File(
        id=new_id("file-"),
        project_id=project_id,
        filename=filename,
        purpose="fine-tune",
        size_bytes=1,
        sha256="0",
        storage_key=new_id("object-"),
        status="processed",
    )
    session.add(row)
    await session.flush()
    return row.id


async def add_job(
    session: AsyncSession, project_id: str, *, file_id: str, state: str = "succeeded", **values: Any
) -> str:
    """A job in a state, with what such a job always has; `values` are further columns. No worker advances it."""
    if await session.get(UpstreamAccount, ACCOUNT) is None:
        session.add(UpstreamAccount(id=ACCOUNT, kind="openai", base_url="http://127.0.0.1:1/v1", drained_at=_NOW))
        await session.flush()
    row: dict[str, Any] = {"model": MODEL, "method": METHOD, "seed": 1, "training_file_id": file_id}
    if state in ENDED:
        row["finished_at"] = _NOW
    if state == "succeeded":
        row["fine_tuned_model"] = f"ft:{MODEL}:org::{new_id('')}"
    if state == "failed":
        row["error_code"] = "upstream_failed"
    if state in ("running", "settling"):
        row |= {"account_id": ACCOUNT, "upstream_job_id": new_id("up-"), "create_phase": "created"}
    job = Job(id=new_id("ftjob-"), project_id=project_id, state=state, **row | values)
    session.add(job)
    await session.flush()
    return job.id


_NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)
