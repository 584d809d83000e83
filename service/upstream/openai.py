"""The adapter for OpenAI and whatever speaks its API, over the official SDK with its retries switched off.

The SDK would send a create three times to a server that accepts it and then resets the connection, without any
idempotency key (measured); so `max_retries=0`, and every repetition is ours to decide.
"""

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx2
import msgspec
import openai
from openai import AsyncOpenAI

from service.upstream.outcomes import create_outcome, reading, retry_after
from service.upstream.port import (
    Completion,
    CompletionStream,
    Created,
    CreateOutcome,
    JobOrder,
    Unknown,
    UpstreamCheckpoint,
    UpstreamError,
    UpstreamEvent,
    UpstreamJob,
)
from service.upstream.told import checkpoint_told, event_told, job_told

PAGE = 100
MAX_PAGES = 200
MAX_EVENT_PAGES = 100


class OpenAIUpstream:
    """One account at an OpenAI-compatible base URL. Timeouts in seconds."""

    def __init__(
        self,
        *,
        account_id: str,
        provider: str,
        base_url: str,
        api_key: str,
        control_timeout: float,
        upload_timeout: float,
        inference_timeout: float,
    ) -> None:
        self.account_id = account_id
        self.provider = provider
        self._http = httpx2.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=200, max_keepalive_connections=50),
        )
        self._client = AsyncOpenAI(
            base_url=base_url, api_key=api_key, max_retries=0, timeout=control_timeout, http_client=self._http
        )
        self._upload_timeout = httpx2.Timeout(upload_timeout, connect=10)
        self._inference_timeout = httpx2.Timeout(inference_timeout, connect=10)

    async def upload_file(self, filename: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> CreateOutcome:
        """Send a dataset as a stream, never whole in memory. What goes wrong with `chunks` is raised."""
        boundary = secrets.token_hex(16)
        head = (
            f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
            f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{filename}"\r\n'
            "content-type: application/jsonl\r\n\r\n"
        ).encode()
        tail = f"\r\n--{boundary}--\r\n".encode()

        async def body() -> AsyncIterator[bytes]:
            yield head
            async for chunk in chunks:
                yield chunk
            yield tail

        try:
            answer = await self._http.post(
                self._url("/files"),
                content=body(),
                headers={
                    **self._client.auth_headers,
                    "content-type": f"multipart/form-data; boundary={boundary}",
                    "content-length": str(len(head) + size_bytes + len(tail)),
                },
                timeout=self._upload_timeout,
            )
        except httpx2.HTTPError as error:
            return create_outcome(error)
        if answer.is_success:
            file_id = _decoded(answer.content).get("id")
            return Created(file_id) if isinstance(file_id, str) else Unknown("an answer without an id")
        return create_outcome(self._status_error(answer))

    @reading
    async def find_file(self, filename: str, size_bytes: int) -> str | None:
        """Look for a file of ours that an unanswered upload may have left."""
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._client.files.list(purpose="fine-tune", limit=PAGE, after=after or openai.omit)
            for file in page.data:
                if file.filename == filename and file.bytes == size_bytes and file.status != "error":
                    return file.id
            if not page.has_more or not page.data:
                return None
            after = page.data[-1].id
        return None

    async def create_job(self, order: JobOrder) -> CreateOutcome:
        """One POST, whatever becomes of it."""
        body: dict[str, Any] = {
            "model": order.model,
            "training_file": order.training_file,
            "seed": order.seed,
            "method": order.method,
            "metadata": dict(order.metadata),
        }
        optional = {
            "validation_file": order.validation_file,
            "suffix": order.suffix,
            "integrations": order.integrations,
        }
        body.update({name: value for name, value in optional.items() if value is not None})
        try:
            job = await self._client.fine_tuning.jobs.create(**body)
        except Exception as error:
            return create_outcome(error)
        job_id = getattr(job, "id", None)
        return Created(job_id) if isinstance(job_id, str) and job_id else Unknown("an answer without an id")

    @reading
    async def find_jobs(self, metadata: Mapping[str, str], *, since: float = 0) -> list[UpstreamJob]:
        """By the upstream's metadata filter, and again by our own eyes, since a filter may be ignored.

        With `since` (Unix seconds) no further than the first page that is older, for lists come newest first.
        """
        found: list[UpstreamJob] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._client.fine_tuning.jobs.list(
                limit=PAGE, metadata=dict(metadata), after=after or openai.omit
            )
            jobs = [job_told(job) for job in page.data]
            found += [job for job in jobs if job.id and metadata.items() <= job.metadata.items()]
            if not page.has_more or not page.data or all(0 < job.created_at < since for job in jobs):
                return sorted(found, key=lambda job: (job.created_at, job.id))
            after = page.data[-1].id
        raise UpstreamError("away", "The list of jobs does not end.")

    @reading
    async def get_job(self, job_id: str) -> UpstreamJob:
        """The job now."""
        return job_told(await self._client.fine_tuning.jobs.retrieve(job_id))

    @reading
    async def cancel_job(self, job_id: str) -> UpstreamJob:
        """Cancel; where that is refused, the job as it is."""
        try:
            return job_told(await self._client.fine_tuning.jobs.cancel(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @reading
    async def pause_job(self, job_id: str) -> UpstreamJob:
        """Pause; where that is refused, the job as it is."""
        try:
            return job_told(await self._client.fine_tuning.jobs.pause(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @reading
    async def resume_job(self, job_id: str) -> UpstreamJob:
        """Go on; where that is refused, the job as it is."""
        try:
            return job_told(await self._client.fine_tuning.jobs.resume(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @reading
    async def events_after(self, job_id: str, cursor: str | None) -> list[UpstreamEvent]:
        """Pages from the newest back to the cursor."""
        found: dict[str, UpstreamEvent] = {}
        after: str | None = None
        for _ in range(MAX_EVENT_PAGES):
            page = await self._client.fine_tuning.jobs.list_events(job_id, limit=PAGE, after=after or openai.omit)
            for event in map(event_told, page.data):
                if event is not None and event.id == cursor:
                    return list(found.values())[::-1]
                if event is not None:
                    found[event.id] = event
            if not page.has_more or not page.data:
                break
            after = page.data[-1].id
        return list(found.values())[::-1]

    @reading
    async def checkpoints(self, job_id: str) -> list[UpstreamCheckpoint]:
        """All pages, turned round."""
        found: list[UpstreamCheckpoint] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._client.fine_tuning.jobs.checkpoints.list(job_id, limit=PAGE, after=after or openai.omit)
            found += [told for checkpoint in page.data if (told := checkpoint_told(checkpoint)) is not None]
            if not page.has_more or not page.data:
                break
            after = page.data[-1].id
        return sorted(found, key=lambda checkpoint: checkpoint.step_number)

    @reading
    async def file_content(self, file_id: str, max_bytes: int) -> bytes:
        """A result file; one larger than `max_bytes` counts as unreadable."""
        answer = await self._client.files.content(file_id)
        if len(answer.content) > max_bytes:
            raise UpstreamError("invalid", f"The result file has more than {max_bytes:,} bytes.")
        return answer.content

    async def complete(self, path: str, body: Mapping[str, Any]) -> Completion:
        """One inference call, passed on as JSON."""
        answer = await self._http.post(
            self._url(path), json=body, headers=self._client.auth_headers, timeout=self._inference_timeout
        )
        return Completion(
            status=answer.status_code,
            body=_decoded(answer.content),
            retry_after_seconds=retry_after(answer.headers),
        )

    async def stream(self, path: str, body: Mapping[str, Any]) -> Completion | CompletionStream:
        """Open a streamed call; its head decides what this returns."""
        request = self._http.build_request(
            "POST", self._url(path), json=body, headers=self._client.auth_headers, timeout=self._inference_timeout
        )
        answer = await self._http.send(request, stream=True)
        if answer.is_success:
            return _Stream(answer)
        try:
            content = await answer.aread()
        finally:
            await answer.aclose()
        return Completion(
            status=answer.status_code, body=_decoded(content), retry_after_seconds=retry_after(answer.headers)
        )

    @reading
    async def delete_model(self, name: str) -> None:
        """Delete a tuned model."""
        try:
            await self._client.models.delete(name)
        except openai.NotFoundError:
            return

    async def ping(self) -> bool:
        """Whether the list of models answers."""
        try:
            await self._client.models.list(timeout=3)
        except Exception:
            return False
        return True

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    def _url(self, path: str) -> str:
        return str(self._client.base_url).rstrip("/") + path

    def _status_error(self, answer: httpx2.Response) -> openai.APIStatusError:
        body = _decoded(answer.content)
        return self._client._make_status_error(  # the SDK's own mapping, so that both ways of sending agree
            f"Error code: {answer.status_code}", body=body.get("error", body), response=answer
        )


class _Stream:
    """Server-sent events of one answer, decoded."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        async for line in self._answer.aiter_lines():
            if line.startswith("data:"):
                data = line.removeprefix("data:").strip()
                if data == "[DONE]":
                    return
                yield _decoded(data.encode())

    async def aclose(self) -> None:
        await self._answer.aclose()


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
