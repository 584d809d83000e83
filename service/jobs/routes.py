"""`/v1/fine_tuning`: jobs, their events, checkpoints, metrics and timeline, and quotes."""

import csv
import datetime as dt
import io

from litestar import Response, get, post
from litestar.params import FromPath
from litestar.response import Stream
from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import actions as billing
from service.catalogue.base_models import Catalogue
from service.database.engine import Database
from service.database.reads import Reader
from service.database.tables import Job
from service.errors import InFlight, InvalidRequest
from service.http.bodies import read_body, read_query
from service.http.event_streams import EventStreams
from service.http.idempotency import answer_once
from service.http.operation import operation
from service.http.pagination import page_of
from service.http.resources import ApiRequest, resource
from service.http.wire_types import NoFields, Page
from service.identity.requests import access_check, caller, request_identity_of
from service.jobs.actions import PricingContext, create_job, request_cancel, request_pause
from service.jobs.forecast import Forecast
from service.jobs.last_viewed import is_view_due, record_view
from service.jobs.listing import list_jobs
from service.jobs.names import JobNames, names_of
from service.jobs.presentation import (
    show_checkpoint,
    show_cost,
    show_deployment,
    show_event,
    show_job,
    show_metric,
    show_state,
)
from service.jobs.queries import EVENTS, JobRow, get_job, list_checkpoints, list_metrics, list_states, read_job
from service.jobs.quotes import CreateQuote, QuoteObject, create_quote, request_reports
from service.jobs.rules import check_metadata
from service.jobs.schemas import (
    CheckpointObject,
    CreateJob,
    FineTuningJob,
    JobEventObject,
    JobPage,
    ListCheckpoints,
    ListEvents,
    ListJobs,
    MetricRow,
    Metrics,
    MetricsQuery,
    Timeline,
)
from service.jobs.stream import JobEvents
from service.jobs.summary import QueueObject
from service.runs.comparisons.actions import check_graders
from service.runs.evaluator import Evaluator
from service.settings import Settings

METADATA_FILTER = "metadata["


@post(
    "/fine_tuning/jobs",
    status_code=200,
    summary="Create a fine-tuning job",
    opt=operation(returns=FineTuningJob, body=CreateJob, creates=True),
)
async def post_job(request: ApiRequest) -> Response[bytes]:
    """Create a job. Invalid data, an unknown model or an exhausted budget are refused before anything is spent."""
    who = caller(request)
    body, sha256 = await read_body(request, CreateJob)
    if body.deploy is not None and body.deploy.comparison is not None:
        await check_graders(
            body.deploy.comparison.graders,
            resource(request, Evaluator),
            project_id=who.project_id,
            param="deploy.comparison.graders",
        )

    async def act(session: AsyncSession) -> FineTuningJob:
        job = await create_job(
            session,
            project_id=who.project_id,
            body=body,
            pricing_context=_pricing_context(request),
            api_key_id=who.key_id,
        )
        names = await _names(session, job)
        return _show(request, job, names, await resource(request, Forecast).of(job))

    return await answer_once(resource(request, Database), request_identity_of(request, sha256), act)


@get("/fine_tuning/jobs", summary="List fine-tuning jobs", opt=operation(returns=JobPage, query=ListJobs))
async def get_jobs(request: ApiRequest) -> JobPage:
    """The project's jobs, newest first or by `sort` and `order`; `metadata[key]=value` and `metadata=null` filter too.

    A cursor is the id of a job, or `next_after` of the page before.
    """
    who = caller(request)
    query = read_query(request, ListJobs, extra=(METADATA_FILTER,))
    metadata = _metadata_filter(request)
    check_metadata(metadata)
    if query.metadata and metadata:
        raise InvalidRequest(
            "'metadata=null' finds jobs without metadata. Give it alone, or metadata[key]=value.", param="metadata"
        )
    now = dt.datetime.now(dt.UTC)
    async with resource(request, Database).project(who.project_id) as session:
        found = await list_jobs(
            session,
            who.project_id,
            query,
            now=now,
            metadata=query.metadata or metadata,
            models=[] if query.model is None else resource(request, Catalogue).names_of(query.model),
        )
        names = await names_of(await Reader.of_session(session), who.project_id, found.rows)
    waiting = await resource(request, Forecast).of_all(found.rows)
    organization = resource(request, Settings).organization_id
    jobs = [show_job(row, names[row.id], waiting[row.id], organization=organization, now=now) for row in found.rows]
    return JobPage(
        data=jobs,
        first_id=jobs[0].id if jobs else None,
        last_id=jobs[-1].id if jobs else None,
        has_more=found.has_more,
        next_after=UNSET if found.next_after is None else found.next_after,
    )


@get("/fine_tuning/jobs/{job_id:str}", summary="Retrieve a fine-tuning job", opt=operation(returns=FineTuningJob))
async def get_one_job(request: ApiRequest, job_id: FromPath[str]) -> FineTuningJob:
    """One job in its current state."""
    who, db = caller(request), resource(request, Database)
    async with db.read(who.project_id) as reader:
        job, names = await read_job(reader, who.project_id, job_id)
    if is_view_due(job):
        async with db.project(who.project_id) as session:
            await record_view(session, job)
    return _show(request, job, names, await resource(request, Forecast).of(job))


@post(
    "/fine_tuning/jobs/{job_id:str}/cancel",
    status_code=200,
    summary="Cancel a fine-tuning job",
    opt=operation(returns=FineTuningJob),
)
async def post_cancel(request: ApiRequest, job_id: FromPath[str]) -> FineTuningJob:
    """Request a cancel. Workers carry it out in any state; the job ends as `cancelled`, unless it ended before."""
    who = caller(request)
    await read_body(request, NoFields)
    async with resource(request, Database).project(who.project_id) as session:
        job = await request_cancel(session, who.project_id, job_id)
        names = await _names(session, job)
    return _show(request, job, names, await resource(request, Forecast).of(job))


@post(
    "/fine_tuning/jobs/{job_id:str}/pause",
    status_code=200,
    summary="Pause a fine-tuning job",
    opt=operation(returns=FineTuningJob),
)
async def post_pause(request: ApiRequest, job_id: FromPath[str]) -> FineTuningJob:
    """Request a pause. A paused job has the status `queued`."""
    return await _pause(request, job_id, pause=True)


@post(
    "/fine_tuning/jobs/{job_id:str}/resume",
    status_code=200,
    summary="Resume a fine-tuning job",
    opt=operation(returns=FineTuningJob),
)
async def post_resume(request: ApiRequest, job_id: FromPath[str]) -> FineTuningJob:
    """Request that a paused job continues."""
    return await _pause(request, job_id, pause=False)


@get(
    "/fine_tuning/jobs/{job_id:str}/events",
    summary="List a job's events",
    opt=operation(returns=Page[JobEventObject], query=ListEvents),
)
async def get_events(request: ApiRequest, job_id: FromPath[str]) -> Page[JobEventObject] | Stream:
    """Events, newest first; with `stream=true` as server-sent events from the beginning, or from `Last-Event-ID`."""
    db = resource(request, Database)
    who = caller(request)
    query = read_query(request, ListEvents)
    if query.stream:
        last_event_id = request.headers.get("last-event-id") or query.after
        source = JobEvents(db, who.project_id, job_id, last_event_id)
        return await resource(request, EventStreams).open(who.project_id, source, access_check=access_check(request))
    async with db.project(who.project_id) as session:
        await record_view(session, await get_job(session, who.project_id, job_id))
        rows = await EVENTS.page(session, who.project_id, job_id, after=query.after, limit=query.limit)
    return page_of(rows, query.limit, show_event, lambda event: event.id)


@get(
    "/fine_tuning/jobs/{job_id:str}/checkpoints",
    summary="List a job's checkpoints",
    opt=operation(returns=Page[CheckpointObject], query=ListCheckpoints),
)
async def get_checkpoints(request: ApiRequest, job_id: FromPath[str]) -> Page[CheckpointObject]:
    """The checkpoints of a job, newest first."""
    who = caller(request)
    query = read_query(request, ListCheckpoints)
    async with resource(request, Database).project(who.project_id) as session:
        await record_view(session, await get_job(session, who.project_id, job_id))
        rows = await list_checkpoints(session, who.project_id, job_id, after=query.after, limit=query.limit)
    return page_of(rows, query.limit, show_checkpoint, lambda checkpoint: checkpoint.id)


@get(
    "/fine_tuning/jobs/{job_id:str}/metrics",
    summary="Retrieve a job's metrics",
    opt=operation(returns=Metrics, query=MetricsQuery),
)
async def get_metrics(request: ApiRequest, job_id: FromPath[str]) -> Metrics | Response[str]:
    """The metrics of every step in order, while the job runs and afterwards; `format=csv` for a table."""
    who = caller(request)
    query = read_query(request, MetricsQuery)
    async with resource(request, Database).project(who.project_id) as session:
        await record_view(session, await get_job(session, who.project_id, job_id))
        rows = [show_metric(row) for row in await list_metrics(session, who.project_id, job_id)]
    return Response(_csv(rows), media_type="text/csv") if query.format == "csv" else Metrics(data=rows)


@get(
    "/fine_tuning/jobs/{job_id:str}/timeline",
    summary="Retrieve a job's timeline",
    opt=operation(returns=Timeline),
)
async def get_timeline(request: ApiRequest, job_id: FromPath[str]) -> Timeline:
    """Every state with its time, why the job waits now, its place in the queue, its cost, and what `deploy` did."""
    who = caller(request)
    async with resource(request, Database).project(who.project_id) as session:
        job = await get_job(session, who.project_id, job_id)
        rows = await list_states(session, who.project_id, job_id)
        reserved = await billing.reserved_micros(session, job_id)
    queue = await resource(request, Forecast).of(job)
    return Timeline(
        job_id=job.id,
        data=[show_state(row) for row in rows],
        waiting_reason=job.waiting_reason if queue is None else queue.message,
        queue=queue,
        upstream_account=job.account_id,
        cost=show_cost(job, reserved_micros=reserved),
        deploy=show_deployment(job),
    )


@post(
    "/fine_tuning/quotes",
    status_code=200,
    summary="Quote a fine-tuning job",
    opt=operation(returns=QuoteObject, body=CreateQuote, creates=True),
)
async def post_quote(request: ApiRequest) -> Response[bytes]:
    """Tokens, epochs and price before anything is spent. A job created with the `quote_id` has this price."""
    db = resource(request, Database)
    who = caller(request)
    body, sha256 = await read_body(request, CreateQuote)

    async def act(session: AsyncSession) -> QuoteObject:
        return await create_quote(
            session, project_id=who.project_id, body=body, pricing_context=_pricing_context(request)
        )

    try:
        return await answer_once(db, request_identity_of(request, sha256), act)
    except InFlight:
        async with db.project(who.project_id) as session:  # the refusal has rolled back the request for the report
            await request_reports(
                session, project_id=who.project_id, body=body, pricing_context=_pricing_context(request)
            )
        raise


async def _pause(request: ApiRequest, job_id: str, *, pause: bool) -> FineTuningJob:
    who = caller(request)
    await read_body(request, NoFields)
    async with resource(request, Database).project(who.project_id) as session:
        job = await request_pause(session, who.project_id, job_id, pause=pause)
        names = await _names(session, job)
    return _show(request, job, names, await resource(request, Forecast).of(job))


async def _names(session: AsyncSession, job: Job) -> JobNames:
    return (await names_of(await Reader.of_session(session), job.project_id, [job]))[job.id]


def _show(request: ApiRequest, job: Job | JobRow, names: JobNames, waiting: QueueObject | None) -> FineTuningJob:
    organization = resource(request, Settings).organization_id
    return show_job(job, names, waiting, organization=organization, now=dt.datetime.now(dt.UTC))


def _pricing_context(request: ApiRequest) -> PricingContext:
    return PricingContext(catalogue=resource(request, Catalogue), today=dt.datetime.now(dt.UTC).date())


def _metadata_filter(request: ApiRequest) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name.startswith(METADATA_FILTER):
            if not name.endswith("]"):
                raise InvalidRequest("Write the filter as metadata[key]=value.", param=name, code="invalid_value")
            metadata[name.removeprefix(METADATA_FILTER)[:-1]] = value
    return metadata


def _csv(rows: list[MetricRow]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(MetricRow.__struct_fields__)
    writer.writerows([getattr(row, name) for name in MetricRow.__struct_fields__] for row in rows)
    return out.getvalue()


ROUTES = [
    post_job,
    get_jobs,
    get_one_job,
    post_cancel,
    post_pause,
    post_resume,
    get_events,
    get_checkpoints,
    get_metrics,
    get_timeline,
    post_quote,
]
