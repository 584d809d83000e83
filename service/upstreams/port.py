"""What Tunegate needs from whoever trains, and the closed sets of answers that its calls can end in.

Creating is the dangerous call, so its outcomes keep apart what was certainly not done (`Refused`, `NotSent`) from what
may have been done (`Unknown`). A reading call either returns or raises `UpstreamError`.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from service.upstreams.capabilities import Capabilities

RefusalKind = Literal["invalid", "auth", "not_found", "quota", "rate_limit"]
FileState = Literal["ready", "pending", "failed", "gone"]


@dataclass(frozen=True, slots=True)
class Created:
    """It exists, under this id."""

    id: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The upstream said no in its own words: nothing was created."""

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
    """Anything else: it may exist."""

    reason: str


CreateOutcome = Created | Refused | NotSent | Unknown


class UpstreamError(Exception):
    """A reading call did not give an answer. `kind` is `away` for everything that time may heal."""

    def __init__(
        self, kind: RefusalKind | Literal["away"], message: str, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What is asked of the upstream. `metadata` carries exactly our three keys."""

    model: str
    training_file: str
    validation_file: str | None
    suffix: str | None
    seed: int
    method: Mapping[str, Any]
    integrations: list[Any] | None
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamJob:
    """A job as the upstream tells it. `status` is its word, known to us or not."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """A page of an account's jobs, newest first. `after` is the cursor of the next one; None: there is none."""

    jobs: list[UpstreamJob]
    after: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamEvent:
    """One event of a job."""

    id: str
    created_at: int
    level: str
    type: str
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
    """An answer to an inference call: the status, and the body as it came."""

    status: int
    body: dict[str, Any]
    retry_after_seconds: float | None = None


class CompletionStream(Protocol):
    """A streamed answer: the decoded server-sent events, without the final `[DONE]`."""

    def __aiter__(self) -> AsyncIterator[dict[str, Any]]: ...

    async def aclose(self) -> None:
        """Hang up."""
        ...


class Upstream(Protocol):
    """An account at a provider."""

    account_id: str
    provider: str
    capabilities: Capabilities

    def model_name(self, names: Sequence[str], upstream_name: str) -> str | None:
        """What a model of ours, known by `names`, is asked as here; None when it has no deployment that it needs."""
        ...

    async def upload_file(self, filename: str, size_bytes: int, chunks: AsyncIterator[bytes]) -> CreateOutcome:
        """Send a dataset."""
        ...

    async def find_file(self, filename: str, size_bytes: int, *, other_than: Collection[str] = ()) -> str | None:
        """The id of a file that was sent under this name before, if it is there and none of `other_than`."""
        ...

    async def file_state(self, file_id: str) -> FileState:
        """Whether a file that was sent can be trained on: `gone` when the upstream does not know it any more."""
        ...

    async def create_job(self, order: JobRequest) -> CreateOutcome:
        """Ask for one training job, once: no retries beneath."""
        ...

    async def find_jobs(
        self, metadata: Mapping[str, str], *, since: float = 0, training_file: str | None = None
    ) -> list[UpstreamJob]:
        """Every job that carries all of `metadata`, oldest first, checked again on our side.

        Jobs made before `since` (Unix seconds) may be left out. `training_file` is the file that the jobs were sent
        with, for an upstream that marks them by it.
        """
        ...

    async def list_jobs(self, metadata: Mapping[str, str], *, after: str | None) -> JobPage:
        """A page of the account's jobs. `metadata` may leave out jobs that do not carry it, and need not."""
        ...

    async def get_job(self, job_id: str) -> UpstreamJob:
        """The job now."""
        ...

    async def cancel_job(self, job_id: str) -> UpstreamJob:
        """Ask to cancel; a job that has ended already is returned as it is."""
        ...

    async def pause_job(self, job_id: str) -> UpstreamJob:
        """Ask to pause."""
        ...

    async def resume_job(self, job_id: str) -> UpstreamJob:
        """Ask to go on."""
        ...

    async def events_after(self, job_id: str, cursor: str | None) -> list[UpstreamEvent]:
        """The events newer than `cursor`, oldest first."""
        ...

    async def checkpoints(self, job_id: str) -> list[UpstreamCheckpoint]:
        """All checkpoints, oldest first."""
        ...

    async def file_content(self, file_id: str, max_bytes: int) -> bytes:
        """A result file, whole."""
        ...

    async def complete(self, path: str, body: Mapping[str, Any], *, idempotency_key: str | None = None) -> Completion:
        """One inference call, `path` being `/chat/completions` or `/completions`.

        `idempotency_key` names it for an upstream that answers the same call once.
        """
        ...

    async def stream(self, path: str, body: Mapping[str, Any]) -> Completion | CompletionStream:
        """The same, streamed; a `Completion` when the upstream refuses."""
        ...

    async def delete_file(self, file_id: str) -> None:
        """Delete a file; one that is gone is fine."""
        ...

    async def delete_model(self, name: str) -> None:
        """Delete a tuned model; one that is gone is fine."""
        ...

    async def check(self) -> None:
        """Whether it answers and takes our credential: the list of models, soon. Raises `UpstreamError`."""
        ...

    async def close(self) -> None:
        """Disconnect."""
        ...
