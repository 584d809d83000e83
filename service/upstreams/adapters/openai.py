"""The adapter for OpenAI and whatever speaks its API, over the official SDK with its retries switched off.

The SDK would send a create three times to a server that accepts it and then resets the connection, without any
idempotency key (measured); so `max_retries=0`, and every repetition is ours to decide.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx2
import msgspec
import openai
from openai import AsyncOpenAI

from service.upstreams.adapters.outcomes import create_outcome, kind_of_status, reading, retry_after
from service.upstreams.adapters.parsing import parse_checkpoint, parse_event, parse_job
from service.upstreams.adapters.redaction import redacted
from service.upstreams.adapters.transport import UpstreamTransport
from service.upstreams.capabilities import CAPABILITIES, Capabilities
from service.upstreams.port import (
    Completion,
    CompletionStream,
    Created,
    CreateOutcome,
    FileState,
    JobPage,
    JobRequest,
    NotSent,
    RefusalKind,
    Refused,
    Unknown,
    UpstreamCheckpoint,
    UpstreamError,
    UpstreamEvent,
    UpstreamJob,
)

Answer = TypeVar("Answer")

CHECK_SECONDS = 5.0
PAGE = 100
MAX_PAGES = 200
MAX_EVENT_PAGES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What a client is made of. Timeouts in seconds; the credential is in no repr.

    `transport` None trusts the base URL, as the environment's is. `note` is told how each call ended.
    """

    account_id: str
    kind: str
    provider: str
    base_url: str
    api_key: str = field(repr=False)
    api_version: str | None = None
    deployments: Mapping[str, str] = field(default_factory=dict)
    control_timeout: float
    upload_timeout: float
    inference_timeout: float
    transport: httpx2.AsyncBaseTransport | None = field(default=None, repr=False)
    note: Callable[[str, RefusalKind | Literal["away"] | None], None] = field(
        default=lambda account_id, error: None, repr=False
    )


class OpenAIUpstream:
    """One account at an OpenAI-compatible base URL."""

    def __init__(self, connection: Connection) -> None:
        self.account_id = connection.account_id
        self.provider = connection.provider
        self.capabilities: Capabilities = CAPABILITIES[connection.kind]
        self._api_key = connection.api_key
        self._note = connection.note
        self._deployments = connection.deployments
        self._http = httpx2.AsyncClient(
            trust_env=False, follow_redirects=False, transport=connection.transport or UpstreamTransport()
        )
        self._client = self._made(connection)
        if connection.transport is not None:  # the environment's organisation belongs to the environment's account
            self._client.organization = self._client.project = None
        self._upload_timeout = httpx2.Timeout(connection.upload_timeout, connect=10)
        self._inference_timeout = httpx2.Timeout(connection.inference_timeout, connect=10)

    def model_name(self, names: Sequence[str], upstream_name: str) -> str | None:
        """Its deployment if the account names one, else its own name where that is enough."""
        for name in (*names, upstream_name):
            if name in self._deployments:
                return self._deployments[name]
        return None if self.capabilities.deployments else upstream_name

    def note(self, error: RefusalKind | Literal["away"] | None) -> None:
        """A call has ended."""
        self._note(self.account_id, error)

    def clean(self, value: Answer) -> Answer:
        """An answer without our credential."""
        return redacted(value, self._api_key)

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
            return self._ended(create_outcome(error))
        if answer.is_success:
            return self._ended(_created(_decoded(answer.content).get("id")))
        return self._ended(create_outcome(self._status_error(answer)))

    @reading
    async def find_file(self, filename: str, size_bytes: int, *, other_than: Collection[str] = ()) -> str | None:
        """Look for a file of ours that an unanswered upload may have left."""
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._client.files.list(purpose="fine-tune", limit=PAGE, after=after or openai.omit)
            for file in page.data:
                same = file.filename == filename and file.bytes == size_bytes and file.status != "error"
                if same and file.id not in other_than:
                    return file.id
            if not page.has_more or not page.data:
                return None
            after = page.data[-1].id
        return None

    @reading
    async def file_state(self, file_id: str) -> FileState:
        """A file that is there is ready: jobs wait by themselves until it has been looked through."""
        try:
            file = await self._client.files.retrieve(file_id)
        except openai.NotFoundError:
            return "gone"
        return "failed" if file.status == "error" else "ready"

    async def create_job(self, order: JobRequest) -> CreateOutcome:
        """One POST, whatever becomes of it."""
        try:
            job = await self._client.fine_tuning.jobs.create(**self._body(order))
        except asyncio.CancelledError:
            self.note("away")
            raise
        except Exception as error:
            return self._ended(create_outcome(error))
        return self._ended(_created(getattr(job, "id", None)))

    @reading
    async def find_jobs(
        self, metadata: Mapping[str, str], *, since: float = 0, training_file: str | None = None
    ) -> list[UpstreamJob]:
        """By the upstream's metadata filter, and again by our own eyes, since a filter may be ignored.

        With `since` (Unix seconds) no further than the first page that is older, for lists come newest first.
        """
        found: list[UpstreamJob] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            page = await self._client.fine_tuning.jobs.list(
                limit=PAGE, metadata=dict(metadata), after=after or openai.omit
            )
            jobs = [self._told(job) for job in page.data]
            found += [job for job in jobs if job.id and metadata.items() <= job.metadata.items()]
            if not page.has_more or not page.data or all(0 < job.created_at < since for job in jobs):
                return sorted(found, key=lambda job: (job.created_at, job.id))
            after = page.data[-1].id
        raise UpstreamError("away", "The list of jobs does not end.")

    @reading
    async def list_jobs(self, metadata: Mapping[str, str], *, after: str | None) -> JobPage:
        """Filtered by the upstream where it can, so that an account's other jobs cost no pages."""
        by_marks = dict(metadata) if self.capabilities.labels_in == "metadata" else openai.omit
        page = await self._client.fine_tuning.jobs.list(limit=PAGE, metadata=by_marks, after=after or openai.omit)
        jobs = [self._told(job) for job in page.data]
        return JobPage(jobs=jobs, after=jobs[-1].id or None if page.has_more and jobs else None)

    @reading
    async def get_job(self, job_id: str) -> UpstreamJob:
        """The job now."""
        return self._told(await self._client.fine_tuning.jobs.retrieve(job_id))

    @reading
    async def cancel_job(self, job_id: str) -> UpstreamJob:
        """Cancel; where that is refused, the job as it is."""
        try:
            return self._told(await self._client.fine_tuning.jobs.cancel(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @reading
    async def pause_job(self, job_id: str) -> UpstreamJob:
        """Pause; where that is refused, the job as it is."""
        try:
            return self._told(await self._client.fine_tuning.jobs.pause(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @reading
    async def resume_job(self, job_id: str) -> UpstreamJob:
        """Go on; where that is refused, the job as it is."""
        try:
            return self._told(await self._client.fine_tuning.jobs.resume(job_id))
        except openai.BadRequestError:
            return await self.get_job(job_id)

    @reading
    async def events_after(self, job_id: str, cursor: str | None) -> list[UpstreamEvent]:
        """Pages from the newest back to the cursor."""
        found: dict[str, UpstreamEvent] = {}
        after: str | None = None
        for _ in range(MAX_EVENT_PAGES):
            page = await self._client.fine_tuning.jobs.list_events(job_id, limit=PAGE, after=after or openai.omit)
            for event in map(parse_event, page.data):
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
            found += [told for checkpoint in page.data if (told := parse_checkpoint(checkpoint)) is not None]
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

    async def complete(self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Completion:
        """One inference call, passed on as JSON."""
        named = {} if idempotency_key is None else {"idempotency-key": idempotency_key}
        try:
            answer = await self._http.post(
                self._model_url(path, body),
                json=body,
                headers={**self._client.auth_headers, **named},
                timeout=self._inference_timeout,
            )
        except httpx2.HTTPError:
            self.note("away")
            raise
        return self._completion(answer, answer.content)

    async def stream(self, path: str, body: Mapping[str, Any]) -> Completion | CompletionStream:
        """Open a streamed call; its head decides what this returns."""
        request = self._http.build_request(
            "POST",
            self._model_url(path, body),
            json=body,
            headers=self._client.auth_headers,
            timeout=self._inference_timeout,
        )
        try:
            answer = await self._http.send(request, stream=True)
            if answer.is_success:
                self.note(None)
                return _Stream(answer)
            try:
                content = await answer.aread()
            finally:
                await answer.aclose()
        except httpx2.HTTPError:
            self.note("away")
            raise
        return self._completion(answer, content)

    @reading
    async def delete_file(self, file_id: str) -> None:
        """Delete a dataset."""
        try:
            await self._client.files.delete(file_id)
        except openai.NotFoundError:
            return

    @reading
    async def delete_model(self, name: str) -> None:
        """Delete a tuned model."""
        try:
            await self._client.models.delete(name)
        except openai.NotFoundError:
            return

    @reading
    async def check(self) -> None:
        """Ask for the list of models, which every key may see."""
        await self._client.models.list(timeout=CHECK_SECONDS)

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()

    def _made(self, connection: Connection) -> AsyncOpenAI:
        """The SDK's client; another dialect makes another."""
        return AsyncOpenAI(
            base_url=connection.base_url,
            api_key=connection.api_key,
            max_retries=0,
            timeout=connection.control_timeout,
            http_client=self._http,
        )

    def _body(self, order: JobRequest) -> dict[str, Any]:
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
        return body | {name: value for name, value in optional.items() if value is not None}

    def _told(self, job: Any) -> UpstreamJob:
        return parse_job(job)

    def _url(self, path: str) -> str:
        return str(self._client.base_url).rstrip("/") + path

    def _model_url(self, path: str, body: Mapping[str, Any]) -> str:
        """Where a model is asked: the body names it."""
        return self._url(path)

    def _ended(self, outcome: CreateOutcome) -> CreateOutcome:
        match outcome:
            case Refused(kind="auth" | "quota" | "rate_limit" as kind):
                self.note(kind)
            case Created() | Refused():
                self.note(None)
            case NotSent() | Unknown():
                self.note("away")
        return self.clean(outcome)

    def _completion(self, answer: httpx2.Response, content: bytes) -> Completion:
        self.note(kind_of_status(answer.status_code))
        body = _decoded(content)
        return Completion(
            status=answer.status_code,
            body=body if answer.is_success else self.clean(body),
            retry_after_seconds=retry_after(answer.headers),
        )

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


def _created(upstream_id: object) -> CreateOutcome:
    return Created(upstream_id) if isinstance(upstream_id, str) and upstream_id else Unknown("an answer without an id")


def _decoded(content: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return value if isinstance(value, dict) else {}
