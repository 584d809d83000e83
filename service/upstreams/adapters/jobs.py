"""The calls that create, find, read and control fine-tuning jobs, and delete the models that they made."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import openai

from service.upstreams.adapters.outcomes import create_outcome, raises_upstream_error
from service.upstreams.adapters.parsing import parse_checkpoint, parse_event, parse_job
from service.upstreams.adapters.sdk import PAGE, SdkClient, created, is_last, pages
from service.upstreams.port import (
    CreateOutcome,
    JobPage,
    JobRequest,
    UpstreamCheckpoint,
    UpstreamError,
    UpstreamEvent,
    UpstreamJob,
)

MAX_EVENT_PAGES = 100


class JobCalls(SdkClient):
    """Fine-tuning jobs of one account."""

    async def create_job(self, request: JobRequest) -> CreateOutcome:
        """Send one POST; it is never repeated."""
        try:
            job = await self._client.fine_tuning.jobs.create(**self._job_body(request))
        except asyncio.CancelledError:
            self.call_ended("away")
            raise
        except Exception as error:
            return self._create_ended(create_outcome(error))
        return self._create_ended(created(getattr(job, "id", None)))

    @raises_upstream_error
    async def find_jobs(
        self, metadata: Mapping[str, str], *, since: float = 0, training_file: str | None = None
    ) -> list[UpstreamJob]:
        """Search with the upstream's metadata filter, and check the result, because a filter may be ignored.

        With `since` (Unix seconds) the search ends at the first page that is older: lists are sorted newest first.
        """
        return await self._jobs_with(metadata, since=since, filter_by=dict(metadata), parse=self._parse_job)

    @raises_upstream_error
    async def list_jobs(self, metadata: Mapping[str, str], *, after: str | None) -> JobPage:
        """Filtered by the upstream where it can, so that the account's other jobs cost no pages."""
        filter_by = dict(metadata) if self.capabilities.labels_in == "metadata" else openai.omit
        page = await self._client.fine_tuning.jobs.list(limit=PAGE, metadata=filter_by, after=after or openai.omit)
        jobs = [self._parse_job(job) for job in page.data]
        return JobPage(jobs=jobs, after=jobs[-1].id or None if page.has_more and jobs else None)

    @raises_upstream_error
    async def get_job(self, job_id: str) -> UpstreamJob:
        """The job's current state."""
        return self._parse_job(await self._client.fine_tuning.jobs.retrieve(job_id))

    @raises_upstream_error
    async def cancel_job(self, job_id: str) -> UpstreamJob:
        """Cancel a job; if the upstream refuses, return the job unchanged."""
        try:
            return self._parse_job(await self._client.fine_tuning.jobs.cancel(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @raises_upstream_error
    async def pause_job(self, job_id: str) -> UpstreamJob:
        """Pause a job; if the upstream refuses, return the job unchanged."""
        try:
            return self._parse_job(await self._client.fine_tuning.jobs.pause(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @raises_upstream_error
    async def resume_job(self, job_id: str) -> UpstreamJob:
        """Resume a job; if the upstream refuses, return the job unchanged."""
        try:
            return self._parse_job(await self._client.fine_tuning.jobs.resume(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @raises_upstream_error
    async def events_after(self, job_id: str, cursor: str | None) -> list[UpstreamEvent]:
        """Read pages from the newest event back to the cursor, at most `MAX_EVENT_PAGES`."""
        events: dict[str, UpstreamEvent] = {}
        list_events = self._client.fine_tuning.jobs.list_events
        async for page in pages(lambda after: list_events(job_id, limit=PAGE, after=after), max_pages=MAX_EVENT_PAGES):
            for event in map(parse_event, page.data):
                if event is not None and event.id == cursor:
                    return list(events.values())[::-1]
                if event is not None:
                    events[event.id] = event
        return list(events.values())[::-1]

    @raises_upstream_error
    async def checkpoints(self, job_id: str) -> list[UpstreamCheckpoint]:
        """Every checkpoint that can be parsed, sorted by step."""
        checkpoints: list[UpstreamCheckpoint] = []
        list_checkpoints = self._client.fine_tuning.jobs.checkpoints.list
        async for page in pages(lambda after: list_checkpoints(job_id, limit=PAGE, after=after)):
            parsed = (parse_checkpoint(checkpoint) for checkpoint in page.data)
            checkpoints += [checkpoint for checkpoint in parsed if checkpoint is not None]
        return sorted(checkpoints, key=lambda checkpoint: checkpoint.step_number)

    @raises_upstream_error
    async def delete_model(self, name: str) -> None:
        """Delete a tuned model; a missing one is no error."""
        try:
            await self._client.models.delete(name)
        except openai.NotFoundError:
            return

    async def _jobs_with(
        self,
        metadata: Mapping[str, str],
        *,
        since: float,
        filter_by: dict[str, str] | openai.Omit,
        parse: Callable[[Any], UpstreamJob],
    ) -> list[UpstreamJob]:
        """Every job that has all of `metadata` after `parse`, oldest first, from a list that may be filtered."""
        list_jobs = self._client.fine_tuning.jobs.list
        found: list[UpstreamJob] = []
        async for page in pages(lambda after: list_jobs(limit=PAGE, metadata=filter_by, after=after)):
            jobs = [parse(job) for job in page.data]
            found += [job for job in jobs if job.id and metadata.items() <= job.metadata.items()]
            if is_last(page) or all(0 < job.created_at < since for job in jobs):
                return sorted(found, key=lambda job: (job.created_at, job.id))
        raise UpstreamError("away", "The list of jobs does not end.")

    def _job_body(self, request: JobRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": request.model,
            "training_file": request.training_file,
            "seed": request.seed,
            "method": request.method,
            "metadata": dict(request.metadata),
        }
        optional = {
            "validation_file": request.validation_file,
            "suffix": request.suffix,
            "integrations": request.integrations,
            "extra_body": None if request.adapter is None else {"adapter": dict(request.adapter)},
        }
        return body | {name: value for name, value in optional.items() if value is not None}

    def _parse_job(self, job: Any) -> UpstreamJob:
        return parse_job(job)
