"""The adapter for Azure OpenAI (authoring and inference, stable API 2024-10-21), over the SDK's own Azure client.

It differs from OpenAI's API as follows (its REST specification, `azureopenai.json` 2024-10-21): the key is sent in the
`api-key` header, every call has an `api-version`, inference calls name a deployment instead of a model, jobs take plain
`hyperparameters` and no metadata, and the training file of a job must have been validated before.

Without metadata a job is found by its training file, which is uploaded for that one job and named after the gateway and
the job. `find_jobs` reads the labels from those names, so it can tell after a lost response whether a job was created.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import openai
from openai import AsyncAzureOpenAI

from service.states import UpstreamKind
from service.upstreams.adapters.azure_inference import DEFAULT_API_VERSION, AzureInferenceClient
from service.upstreams.adapters.client import Connection
from service.upstreams.adapters.openai import OpenAIUpstream
from service.upstreams.adapters.outcomes import raises_upstream_error
from service.upstreams.adapters.parsing import parse_job
from service.upstreams.labels import GATEWAY, JOB, labels_of_name
from service.upstreams.port import FileState, JobRequest, UpstreamJob

STATUSES = {
    "notRunning": "queued",
    "created": "queued",
    "pending": "queued",
    "canceled": "cancelled",
}
"""Azure's statuses by OpenAI's names (`notRunning` and `canceled` occur in its older API versions)."""

NOT_IN_SUFFIX = re.compile(r"[^A-Za-z0-9_-]+")
"""What Azure does not accept in a suffix. Callers see the suffix in the gateway's model name, never in Azure's."""

FILE_STATES: dict[str, FileState] = {
    "processed": "ready",
    "succeeded": "ready",
    "error": "failed",
    "failed": "failed",
    "canceled": "failed",
    "deleting": "gone",
    "deleted": "gone",
}


class AzureUpstream(AzureInferenceClient, OpenAIUpstream):
    """One Azure OpenAI resource. The base URL is the resource's endpoint, without `/openai`."""

    @raises_upstream_error
    async def find_file(self, filename: str, size_bytes: int, *, other_than: Collection[str] = ()) -> str | None:
        """Search Azure's list of files, which has one page."""
        for file in (await self._client.files.list(purpose="fine-tune")).data:
            same = file.filename == filename and file.bytes == size_bytes and _file_state(file) in ("ready", "pending")
            if same and file.id not in other_than:
                return file.id
        return None

    @raises_upstream_error
    async def file_state(self, file_id: str) -> FileState:
        """Azure imports and validates a file before a job may use it; until then it is pending."""
        try:
            return _file_state(await self._client.files.retrieve(file_id))
        except openai.NotFoundError:
            return "gone"

    @raises_upstream_error
    async def find_jobs(
        self, metadata: Mapping[str, str], *, since: float = 0, training_file: str | None = None
    ) -> list[UpstreamJob]:
        """Find jobs by the names of their training files.

        `training_file` counts as labelled with `metadata` even if the file no longer exists.
        """
        labels_by_file = {
            file.id: labels
            for file in (await self._client.files.list(purpose="fine-tune")).data
            if (labels := labels_of_name(file.filename or "")) is not None
        }
        if training_file is not None:
            labels_by_file[training_file] = {name: metadata[name] for name in (GATEWAY, JOB) if name in metadata}

        def parse(job: Any) -> UpstreamJob:
            labels = labels_by_file.get(str(getattr(job, "training_file", None)), {})
            return replace(self._parse_job(job), metadata=labels)

        return await self._jobs_with(metadata, since=since, filter_by=openai.omit, parse=parse)

    async def pause_job(self, job_id: str) -> UpstreamJob:
        """Azure cannot pause jobs: return the job unchanged."""
        return await self.get_job(job_id)

    async def resume_job(self, job_id: str) -> UpstreamJob:
        """Azure cannot resume jobs: return the job unchanged."""
        return await self.get_job(job_id)

    def _new_sdk_client(self, connection: Connection) -> AsyncAzureOpenAI:
        return AsyncAzureOpenAI(
            azure_endpoint=connection.base_url,
            api_version=connection.api_version or DEFAULT_API_VERSION,
            api_key=connection.api_key,
            max_retries=0,
            timeout=connection.control_timeout,
            http_client=self._http,
        )

    def _job_body(self, request: JobRequest) -> dict[str, Any]:
        chosen = request.method[request.method["type"]]["hyperparameters"]
        hyperparameters = {name: value for name, value in chosen.items() if value != "auto"}
        optional = {
            "validation_file": request.validation_file,
            "suffix": NOT_IN_SUFFIX.sub("-", request.suffix or "") or None,
            "hyperparameters": hyperparameters or None,
        }
        return {"model": request.model, "training_file": request.training_file, "seed": request.seed} | {
            name: value for name, value in optional.items() if value is not None
        }

    def _parse_job(self, job: Any) -> UpstreamJob:
        parsed = parse_job(job)
        return replace(parsed, status=STATUSES.get(parsed.status, parsed.status))


def _file_state(file: Any) -> FileState:
    return FILE_STATES.get(str(getattr(file, "status", "")), "pending")


UPSTREAMS: dict[UpstreamKind, type[OpenAIUpstream]] = {"openai": OpenAIUpstream, "azure": AzureUpstream}
"""The clients of a process that also carries out jobs, by an account's kind."""
