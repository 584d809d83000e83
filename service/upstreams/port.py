"""The interface that every upstream adapter implements, and the closed sets of outcomes of its calls.

Creating must happen at most once, so its outcomes separate what certainly was not created (`Refused`, `NotSent`) from
what may have been created (`Unknown`). Every other call either returns or raises `UpstreamError`.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from service.project_memory import MemoryReservation
from service.states import EventLevel, EventType
from service.upstreams.capabilities import Capabilities

RefusalKind = Literal["invalid", "auth", "not_found", "quota", "rate_limit"]
ErrorKind = RefusalKind | Literal["away"]
"""`away`: the upstream did not respond, or answered with a temporary error such as a 5xx."""

FileState = Literal["ready", "pending", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class Created:
    """The object exists, under this id."""

    id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream refused the request, in its own words: nothing was created."""

    kind: RefusalKind
    code: str
    message: str
    param: str | None = None
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NotSent:
    """The connection never opened: nothing was created."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Any other outcome: the object may exist."""

    reason: str


CreateOutcome = Created | Refused | NotSent | Unknown


class UpstreamError(Exception):
    """A call failed. `kind` is `away` for every failure that may pass with time."""

    def __init__(self, kind: ErrorKind, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """The request for a fine-tuning job. `metadata` holds exactly the gateway's three labels.

    `adapter` is None unless the upstream takes one.
    """

    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    method: Mapping[str, Any]
    integrations: list[Any] | None
    metadata: Mapping[str, str]
    adapter: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamJob:
    """A job as the upstream reports it. `status` is the upstream's own, which may be unknown to the gateway.

    An own trainer also meters `gpu_seconds`, so far or in all, counts the tokens that a running job has trained so far,
    and reports the place of a waiting job in its queue; 1 is next. All three are None at others.
    """

    id: str
    status: str
    created_at: int
    metadata: Mapping[str, str]
    fine_tuned_model: str | None
    trained_tokens: int | None
    estimated_finish: int | None
    result_files: list[str]
    error_code: str | None
    error_message: str | None
    error_param: str | None
    finished_at: int | None = None
    gpu_seconds: float | None = None
    queue_place: int | None = None
    tokens_so_far: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """A page of an account's jobs, newest first. `after` is the cursor of the next page, None on the last one."""

    jobs: list[UpstreamJob]
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamEvent:
    """One event of a job."""

    id: str
    created_at: int
    level: EventLevel
    type: EventType
    message: str
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamCheckpoint:
    """One checkpoint of a job."""

    id: str
    created_at: int
    step_number: int
    model: str
    metrics: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The response to an inference call: its status, and its body as received."""

    status: int
    body: dict[str, Any]
    retry_after_seconds: float | None = None
    size_bytes: int = 0


class AnswerRefused(Exception):
    """An answer exceeds a limit and was not read to its end. The argument says which, as a part of a sentence."""


class CompletionStream(Protocol):
    """A streamed response: the decoded server-sent events, without the final `[DONE]`."""

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]: ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


class InferenceUpstream(Protocol):
    """An account at a provider, as a process uses it that only relays inference calls."""

    account_id: str
    provider: str
    capabilities: Capabilities

    def model_name(self, names: Sequence[str], upstream_name: str) -> str | None:
        """The name to send for a model that the gateway knows by `names`, such as its deployment.

        None when this upstream requires a deployment and the account has none for the model.
        """
        ...

    async def complete(
        self,
        path: str,
        body: Mapping[str, Any],
        *,
        memory: MemoryReservation,
        size_bytes: int = 0,
        idempotency_key: str | None = None,
    ) -> Completion:
        """One inference call, `path` being `/chat/completions` or `/completions`.

        `memory` counts the answer for its project, `size_bytes` is about what the body has as JSON, and
        `idempotency_key` is sent in a header, for an upstream that executes requests with the same key once. Raises
        `AnswerRefused`.
        """
        ...

    async def stream(
        self, path: str, body: Mapping[str, Any], *, memory: MemoryReservation, size_bytes: int = 0
    ) -> Completion | CompletionStream:
        """The same, streamed; returns a `Completion` when the upstream refuses. Iterating raises `AnswerRefused`."""
        ...

    async def check(self) -> None:
        """Check that the upstream responds and accepts the credential. Raises `UpstreamError`."""
        ...

    async def base_models(self) -> list[str] | None:
        """The names of the models that the upstream lists, or None if it has no such call. Raises `UpstreamError`."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class Upstream(InferenceUpstream, Protocol):
    """An account at a provider, and everything that workers do there."""

    async def upload_file(self, filename: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> CreateOutcome:
        """Upload a dataset."""
        ...

    async def find_file(self, filename: str, size_bytes: int, *, other_than: Collection[str] = ()) -> str | None:
        """The id of an uploaded file with this name and size that is not in `other_than`, or None."""
        ...

    async def file_state(self, file_id: str) -> FileState:
        """Whether an uploaded file can be trained on; `gone` when the upstream no longer has it."""
        ...

    async def create_job(self, request: JobRequest) -> CreateOutcome:
        """Create one fine-tuning job, with a single HTTP request that is never retried."""
        ...

    async def find_jobs(
        self, metadata: Mapping[str, str], *, since: float = 0, training_file: str | None = None
    ) -> list[UpstreamJob]:
        """Every job that has all of `metadata`, oldest first. The gateway checks the metadata itself, too.

        Jobs created before `since` (Unix seconds) may be left out. `training_file` is the id of the jobs' training
        file, for an upstream whose jobs are labelled by its name.
        """
        ...

    async def list_jobs(self, metadata: Mapping[str, str], *, after: str | None) -> JobPage:
        """A page of the account's jobs. The adapter may use `metadata` to leave out jobs without it, but need not."""
        ...

    async def get_job(self, job_id: str) -> UpstreamJob:
        """The job's current state."""
        ...

    async def cancel_job(self, job_id: str) -> UpstreamJob:
        """Cancel a job; one that has already ended is returned unchanged."""
        ...

    async def pause_job(self, job_id: str) -> UpstreamJob:
        """Pause a job."""
        ...

    async def resume_job(self, job_id: str) -> UpstreamJob:
        """Resume a paused job."""
        ...

    async def events_after(self, job_id: str, cursor: str | None) -> list[UpstreamEvent]:
        """The events newer than `cursor`, oldest first."""
        ...

    async def checkpoints(self, job_id: str) -> list[UpstreamCheckpoint]:
        """All checkpoints, oldest first."""
        ...

    async def file_content(self, file_id: str, max_bytes: int) -> bytes:
        """The whole content of a result file. Raises `UpstreamError` for one larger than `max_bytes`."""
        ...

    async def delete_file(self, file_id: str) -> None:
        """Delete a file; a missing one is no error."""
        ...

    async def delete_model(self, name: str) -> None:
        """Delete a tuned model; a missing one is no error."""
        ...
