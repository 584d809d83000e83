"""A job's events as server-sent events, until the job has ended and everything is told."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
from litestar.response import Stream

from service.db import Database
from service.jobs.lifecycle import ENDED
from service.jobs.present import show_event
from service.jobs.queries import event_sequence, events_since, get_job
from service.jobs.watching import note_watcher

LOOK_EVERY_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 15.0
BATCH = 500
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
"""The type stands here because the framework prefers its route's type, JSON, to a stream's `media_type`."""


async def event_stream(db: Database, project_id: str, job_id: str, last_event_id: str | None) -> Stream:
    """Events after `last_event_id` (all, when there is none).

    Raises `NotFound` without such a job and `InvalidRequest` for an unknown event.
    """
    sequence = 0
    async with db.project(project_id) as session:
        await get_job(session, project_id, job_id)
        if last_event_id:
            sequence = await event_sequence(session, project_id, job_id, last_event_id)
    return Stream(_told(db, project_id, job_id, sequence), headers=HEADERS)


async def _told(db: Database, project_id: str, job_id: str, sequence: int) -> AsyncIterator[bytes]:
    quiet_seconds = 0.0
    while True:
        async with db.project(project_id) as session:
            job = await get_job(session, project_id, job_id)
            await note_watcher(session, job)
            ended = job.state in ENDED
            rows = await events_since(session, project_id, job_id, sequence=sequence, limit=BATCH)
        for row in rows:
            body = msgspec.json.encode(show_event(row)).decode()
            yield f"id: {row.id}\nevent: fine_tuning.job.event\ndata: {body}\n\n".encode()
            sequence = row.sequence
        if rows:
            quiet_seconds = 0.0
            continue
        if ended:
            yield b"event: done\ndata: [DONE]\n\n"
            return
        if quiet_seconds >= KEEP_ALIVE_SECONDS:
            yield b": still here\n\n"
            quiet_seconds = 0.0
        await asyncio.sleep(LOOK_EVERY_SECONDS)
        quiet_seconds += LOOK_EVERY_SECONDS
