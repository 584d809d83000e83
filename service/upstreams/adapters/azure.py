"""The adapter for Azure OpenAI (authoring and inference, stable API 2024-10-21), over the SDK's own Azure client.

Where it differs from OpenAI (its REST specification, `azureopenai.json` 2024-10-21): the key goes in `api-key`, every
call has an `api-version`, models are asked by their deployment, jobs take plain `hyperparameters` and no metadata, and
a job needs a training file that has been looked through before.

Without metadata a job is found again by its training file, which is uploaded for that one job and named after the
gateway and the job. `find_jobs` reads those names, so a lost answer is told from a create that made nothing.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import openai
from openai import AsyncAzureOpenAI

from service.upstreams.adapters.openai import MAX_PAGES, PAGE, Connection, OpenAIUpstream
from service.upstreams.adapters.outcomes import reading
from service.upstreams.adapters.parsing import parse_job
from service.upstreams.labels import GATEWAY, JOB, labels_of_name
from service.upstreams.port import FileState, JobRequest, UpstreamError, UpstreamJob

DEFAULT_API_VERSION = "2024-10-21"
STATUSES = {
    "notRunning": "queued",
    "created": "queued",
    "pending": "queued",
    "canceled": "cancelled",
}
"""Its words for what OpenAI calls otherwise (`notRunning` and `canceled` stand in its older versions)."""

NOT_IN_SUFFIX = re.compile(r"[^A-Za-z0-9_-]+")
"""The suffix that callers see is in our own name of the model; what Azure's name has of it nobody is shown."""

FILE_STATES: dict[str, FileState] = {
    "processed": "ready",
    "succeeded": "ready",
    "error": "failed",
    "failed": "failed",
    "canceled": "failed",
    "deleting": "gone",
    "deleted": "gone",
}


class AzureUpstream(OpenAIUpstream):
    """One Azure OpenAI resource. The base URL is the resource's endpoint, without `/openai`."""

    @reading
    async def find_file(self, filename: str, size_bytes: int, *, other_than: Collection[str] = ()) -> str | None:
        """Its list of files has one page."""
        for file in (await self._client.files.list(purpose="fine-tune")).data:
            same = file.filename == filename and file.bytes == size_bytes and _file_state(file) in ("ready", "pending")
            if same and file.id not in other_than:
                return file.id
        return None

    @reading
    async def file_state(self, file_id: str) -> FileState:
        """A file is imported and looked through before a job may name it."""
        try:
            return _file_state(await self._client.files.retrieve(file_id))
        except openai.NotFoundError:
            return "gone"

    @reading
    async def find_jobs(
        self, metadata: Mapping[str, str], *, since: float = 0, training_file: str | None = None
    ) -> list[UpstreamJob]:
        """By the names of the training files; `training_file` counts for the job asked for even if it is gone."""
        marked = {
            file.id: marks
            for file in (await self._client.files.list(purpose="fine-tune")).data
            if (marks := labels_of_name(file.filename or "")) is not None
        }
        if training_file is not None:
            marked[training_file] = {name: metadata[name] for name in (GATEWAY, JOB) if name in metadata}
        found: list[UpstreamJob] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._client.fine_tuning.jobs.list(limit=PAGE, after=after or openai.omit)
            jobs = [
                replace(self._told(job), metadata=marked.get(str(getattr(job, "training_file", None)), {}))
                for job in page.data
            ]
            found += [job for job in jobs if job.id and metadata.items() <= job.metadata.items()]
            if not page.has_more or not page.data or all(0 < job.created_at < since for job in jobs):
                return sorted(found, key=lambda job: (job.created_at, job.id))
            after = page.data[-1].id
        raise UpstreamError("away", "The list of jobs does not end.")

    async def pause_job(self, job_id: str) -> UpstreamJob:
        """It cannot: the job as it is."""
        return await self.get_job(job_id)

    async def resume_job(self, job_id: str) -> UpstreamJob:
        """It cannot: the job as it is."""
        return await self.get_job(job_id)

    def _made(self, connection: Connection) -> AsyncAzureOpenAI:
        self._api_version = connection.api_version or DEFAULT_API_VERSION
        return AsyncAzureOpenAI(
            azure_endpoint=connection.base_url,
            api_version=self._api_version,
            api_key=connection.api_key,
            max_retries=0,
            timeout=connection.control_timeout,
            http_client=self._http,
        )

    def _body(self, order: JobRequest) -> dict[str, Any]:
        chosen = order.method[order.method["type"]]["hyperparameters"]
        hyperparameters = {name: value for name, value in chosen.items() if value != "auto"}
        optional = {
            "validation_file": order.validation_file,
            "suffix": NOT_IN_SUFFIX.sub("-", order.suffix or "") or None,
            "hyperparameters": hyperparameters or None,
        }
        return {"model": order.model, "training_file": order.training_file, "seed": order.seed} | {
            name: value for name, value in optional.items() if value is not None
        }

    def _told(self, job: Any) -> UpstreamJob:
        told = parse_job(job)
        return replace(told, status=STATUSES.get(told.status, told.status))

    def _url(self, path: str) -> str:
        return f"{super()._url(path)}?api-version={quote(self._api_version, safe='')}"

    def _model_url(self, path: str, body: Mapping[str, Any]) -> str:
        return self._url(f"/deployments/{quote(str(body.get('model')), safe='')}{path}")


def _file_state(file: Any) -> FileState:
    return FILE_STATES.get(str(getattr(file, "status", "")), "pending")
