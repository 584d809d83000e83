"""What a job that has ended is charged, by what its upstream reports, and the counters and speeds that follow."""

from dataclasses import dataclass

from prometheus_client import Counter
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import actions as billing
from service.billing.prices import cost_micros, dollar_text, gpu_cost_micros
from service.database.tables import Job
from service.jobs.adapter_settings import adapter_type
from service.jobs.gpu_metering import is_spent, metered
from service.jobs.summary import JobWarning
from service.jobs.warnings import OVER_RESERVATION, USAGE_UNKNOWN
from service.states import EndState
from service.upstreams.port import UpstreamJob
from workers.context import AccountContext
from workers.jobs import sync

TRAINED_TOKENS = Counter("tunegate_trained_tokens_total", "Tokens that jobs trained, when they end.", ["account"])
GPU_SECONDS = Counter("tunegate_gpu_seconds_total", "GPU-seconds that upstreams metered, when jobs end.", ["account"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a job used and costs. `reported_gpu_seconds` are None if the upstream reports none that can be true.

    `gpu_seconds` are the most that the upstream ever reported. `unknown` says what it did not report, and what was
    charged therefore.
    """

    trained_tokens: int | None
    reported_gpu_seconds: float | None
    gpu_seconds: float | None
    micros: int
    unknown: JobWarning | None


def is_by_gpu_second(job: Job) -> bool:
    """Whether the job is billed by the GPU-second."""
    return job.price_micros_per_gpu_second is not None


def charge(job: Job, target: EndState, upstream_job: UpstreamJob, *, billed: bool) -> Charge:
    """The charge for a job that ended so. What a success used and did not report is charged as it was expected."""
    tokens, reported = upstream_job.trained_tokens, sync.believed_gpu_seconds(job, upstream_job)
    gpu_seconds = metered(reported, before=job.gpu_seconds)
    expected = (job.expected_micros or 0) if target == "succeeded" else 0
    unknown = None
    if job.price_micros_per_gpu_second is not None:
        micros = gpu_cost_micros(gpu_seconds or 0, job.price_micros_per_gpu_second)
        if reported is None:
            micros = max(micros, expected)
            charged = "the expected price was" if target == "succeeded" else "those of the last poll were"
            message = f"The upstream reported no GPU-seconds, or more than are possible; {charged} charged"
            unknown = JobWarning(code=USAGE_UNKNOWN, message=message)
    else:
        micros = expected if tokens is None else cost_micros(tokens, job.price_micros_per_million or 0)
        if tokens is None and target == "succeeded":
            message = "The upstream reported no trained tokens; the expected price was charged"
            unknown = JobWarning(code=USAGE_UNKNOWN, message=message)
    return Charge(
        trained_tokens=tokens,
        reported_gpu_seconds=reported,
        gpu_seconds=gpu_seconds,
        micros=micros if billed else 0,
        unknown=unknown,
    )


def overrun(job: Job, charged: Charge, reserved_micros: int | None) -> JobWarning | None:
    """The warning that a job billed by the GPU-second cost more than it reserved."""
    if not is_by_gpu_second(job) or reserved_micros is None or charged.micros <= reserved_micros:
        return None
    cost, reserved = dollar_text(charged.micros), dollar_text(reserved_micros)
    message = f"The job cost {cost}, more than the {reserved} that were reserved for it"
    return JobWarning(code=OVER_RESERVATION, message=message)


def reason_of_cancel(job: Job, charged: Charge) -> str | None:
    """Why a job was cancelled, if that is its budget."""
    spent = is_spent(
        job.budget_micros,
        gpu_seconds=charged.gpu_seconds,
        price_micros_per_gpu_second=job.price_micros_per_gpu_second,
    )
    return f"It has cost its budget of {dollar_text(job.budget_micros or 0)}." if spent else None


async def add_speed(ctx: AccountContext, session: AsyncSession, job: Job, charged: Charge) -> None:
    """Add the speed of a job that succeeded, by which later jobs of its kind are estimated."""
    if not charged.trained_tokens or not charged.reported_gpu_seconds:
        return
    estimate = job.gpu_estimate or {}
    await billing.add_speed(
        session,
        job_id=job.id,
        model=await sync.base_name(ctx, session, job),
        account_id=ctx.upstream.account_id,
        method_type=job.method["type"],
        adapter_type=adapter_type(job.adapter),
        trained_tokens=charged.trained_tokens,
        gpu_seconds=charged.reported_gpu_seconds,
        estimated_low=estimate.get("low"),
        estimated_gpu_seconds=estimate.get("expected"),
        estimated_high=estimate.get("high"),
    )


def count(ctx: AccountContext, charged: Charge) -> None:
    """Count what a job used for `/metrics`."""
    TRAINED_TOKENS.labels(ctx.upstream.account_id).inc(charged.trained_tokens or 0)
    GPU_SECONDS.labels(ctx.upstream.account_id).inc(charged.gpu_seconds or 0)
