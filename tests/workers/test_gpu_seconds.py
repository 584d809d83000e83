"""Jobs billed by the GPU-second: reserved by an estimate, metered by the upstream, whatever it reports and when."""

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import usage
from service.billing.audit import ledger_snapshot, prove
from service.billing.buckets import span
from service.billing.throughput import DOCUMENTED_FACTOR
from service.billing.usage import Found, Row, Selection
from service.catalogue.base_models import Catalogue, TrainingPrice
from service.database.tables import LedgerEntry, TrainingSpeed
from service.errors import InFlight, InvalidRequest
from service.jobs.actions import PricingContext, create_job
from service.jobs.adapter_settings import AdapterSettings
from service.jobs.forecast import Forecast
from service.jobs.presentation import show_cost
from service.jobs.quotes import CreateQuote, QuoteObject, create_quote
from service.jobs.schemas import CreateJob, Hyperparameters
from tests.faults.control import CANCEL, error
from tests.faults.upstream import TRAINED_TOKENS
from tests.workers.harness import MODEL, WorkerHarness

PRICE_MICROS = 1000
SPEED = 100.0
"""Tokens by GPU-second, as the models file documents it."""

EXPECTED_SECONDS = TRAINED_TOKENS / SPEED
THREE_EPOCHS = Hyperparameters(n_epochs=3)
SINCE = dt.date(2026, 1, 1)


def with_prices(
    harness: WorkerHarness, *, speed: float | None = SPEED, micros: int | None = PRICE_MICROS
) -> WorkerHarness:
    """The harness, whose model costs so much by the GPU-second; `micros` None: it has no price."""
    base = harness.ctx.catalogue.find(MODEL)
    assert base is not None
    prices = () if micros is None else (TrainingPrice(since=SINCE, micros=micros, source="ours"),)
    model = msgspec.structs.replace(base, training=(), training_gpu_second=prices, tokens_per_gpu_second=speed)
    return dataclasses.replace(harness, ctx=dataclasses.replace(harness.ctx, catalogue=Catalogue(MODEL, (model,))))


@pytest.fixture
def own(harness: WorkerHarness) -> WorkerHarness:
    """A model on own hardware, whose speed the models file documents."""
    return with_prices(harness)


def reports(harness: WorkerHarness, *polls: dict[str, Any] | float | None, status: str = "succeeded") -> None:
    """Script what the trainer reports at each poll: GPU-seconds, nothing, or other fields. The last poll is the end."""
    steps: list[dict[str, Any]] = []
    for place, poll in enumerate(polls):
        step: dict[str, Any] = {"status": status if place == len(polls) - 1 else "running"}
        if isinstance(poll, dict):
            step |= poll
        elif poll is not None:
            step["usage"] = {"gpu_seconds": poll, "trained_tokens": None, "process_seconds": poll}
        steps.append(step)
    harness.upstream.configure(steps=steps)


async def create(harness: WorkerHarness, **fields: Any) -> str:
    """A job as the API accepts it. Raises `InvalidRequest`."""
    training = fields.pop("training_file", None) or await harness.new_file()
    body = CreateJob(model=MODEL, training_file=training, hyperparameters=THREE_EPOCHS, **fields)
    context = PricingContext(catalogue=harness.ctx.catalogue, today=harness.ctx.today())
    async with harness.ctx.db.project(harness.project_id) as session:
        return (await create_job(session, project_id=harness.project_id, body=body, pricing_context=context)).id


async def quoted(harness: WorkerHarness, **fields: Any) -> QuoteObject:
    """A quote as the API gives it. Raises `InvalidRequest`."""
    training = fields.pop("training_file", None) or await harness.new_file()
    body = CreateQuote(model=MODEL, training_file=training, hyperparameters=THREE_EPOCHS, **fields)
    context = PricingContext(catalogue=harness.ctx.catalogue, today=harness.ctx.today())
    async with harness.ctx.db.project(harness.project_id) as session:
        return await create_quote(session, project_id=harness.project_id, body=body, pricing_context=context)


async def post_of(harness: WorkerHarness, job_id: str) -> LedgerEntry:
    """The resolution of the job's reservation."""
    async with harness.ctx.db.worker() as session:
        query = select(LedgerEntry).where(LedgerEntry.subject == job_id, LedgerEntry.kind != "reserve")
        return (await session.scalars(query)).one()


async def reserved(harness: WorkerHarness, job_id: str) -> int:
    """What the job reserved."""
    async with harness.ctx.db.worker() as session:
        query = select(LedgerEntry.reserved_micros).where(LedgerEntry.subject == job_id, LedgerEntry.kind == "reserve")
        return (await session.scalars(query)).one()


async def results(
    own: WorkerHarness,
    read: Callable[[AsyncSession, Selection], Awaitable[Found[Row]]],
    entry: LedgerEntry,
    *,
    group_by: list[str],
) -> Sequence[Row]:
    """The results of the day of a post."""
    at = int(entry.created_at.timestamp())
    day = span(start=at, end=at + 1, now=at, width="1d", limit=1, page=None, query=b"", whole=True)
    only = {"project_id": [own.project_id]}
    selection = Selection(span=day, seconds=86_400, limit=1, empty_buckets=True, group_by=group_by, only=only)
    async with own.ctx.db.admin() as session:
        [(_, rows)] = (await read(session, selection)).buckets
    return rows


async def assert_books_balance(harness: WorkerHarness) -> None:
    """Nothing that `tunegate audit` checks drifts."""
    async with ledger_snapshot(harness.ctx.settings.database_url) as session:
        assert (await prove(session)).consistent


class TestWhatIsCharged:
    async def test_is_what_the_upstream_metered_and_the_rest_is_released(self, own: WorkerHarness) -> None:
        reports(own, 5, 20.5, 33.25)
        job_id = await create(own)
        assert await reserved(own, job_id) == EXPECTED_SECONDS * DOCUMENTED_FACTOR * PRICE_MICROS
        await own.until_end(job_id)
        job = await own.assert_succeeded_once(job_id)
        assert (job.gpu_seconds, job.cost_micros, job.trained_tokens) == (33.25, 33_250, TRAINED_TOKENS)
        entry = await post_of(own, job_id)
        assert (entry.line_item, entry.quantity) == (f"GPU-seconds {MODEL}", TRAINED_TOKENS)
        assert (entry.gpu_seconds, entry.spent_micros) == (33.25, 33_250)
        [cost] = await results(own, usage.costs, entry, group_by=["line_item", "job_id"])
        [used] = await results(own, usage.fine_tuning, entry, group_by=["model"])
        assert cost.group["job_id"] == job_id
        assert (cost.group["line_item"], cost.micros, cost.gpu_seconds) == (entry.line_item, 33_250, 33.25)
        assert (used.group["model"], used.trained_tokens, used.gpu_seconds) == (MODEL, TRAINED_TOKENS, 33.25)
        assert used.jobs == 1
        assert await own.messages(job_id, "warn") == []
        await assert_books_balance(own)

    async def test_what_it_cost_above_its_reservation_is_posted_and_flagged(self, own: WorkerHarness) -> None:
        reports(own, 1, 100)
        job_id = await create(own)
        await own.until_end(job_id)
        job = await own.assert_succeeded_once(job_id)
        assert job.cost_micros == 100_000
        [warning] = await own.messages(job_id, "warn")
        assert "more than the $0.06 that were reserved" in warning
        assert show_cost(job, reserved_micros=await reserved(own, job_id)).over_reservation
        await assert_books_balance(own)

    async def test_a_price_of_nothing_is_metered_and_needs_no_estimate(self, harness: WorkerHarness) -> None:
        free = with_prices(harness, speed=None, micros=0)
        reports(free, 5, 33)
        job_id = await create(free)
        await free.until_end(job_id)
        job = await free.assert_succeeded_once(job_id)
        assert (job.gpu_seconds, job.cost_micros, (await post_of(free, job_id)).gpu_seconds) == (33, 0, 33)

    async def test_so_does_a_model_without_a_price(self, harness: WorkerHarness) -> None:
        free = with_prices(harness, micros=None)
        job_id = await create(free)
        await free.until_end(job_id)
        job = await free.assert_succeeded_once(job_id)
        assert (job.trained_tokens, job.cost_micros) == (TRAINED_TOKENS, 0)


class TestAnUpstreamThatErrs:
    async def test_reports_the_figure_late_and_less_than_before(self, own: WorkerHarness) -> None:
        unsaid = {"status": "succeeded"}
        reports(own, 5, 20, 4, unsaid, unsaid, 6)
        job_id = await create(own)
        await own.until_end(job_id)
        job = await own.assert_succeeded_once(job_id)
        assert (job.gpu_seconds, job.cost_micros) == (20, 20_000)

    async def test_reports_nothing_that_can_be_true(self, own: WorkerHarness) -> None:
        """After five attempts the expected price is charged, and the job gives no speed."""
        reports(own, 5, {"usage": {"gpu_seconds": 9e8}})
        job_id = await create(own)
        await own.until_end(job_id)
        job = await own.assert_succeeded_once(job_id)
        assert (job.gpu_seconds, job.cost_micros) == (5, EXPECTED_SECONDS * PRICE_MICROS)
        [warning] = await own.messages(job_id, "warn")
        assert "the expected price was charged" in warning
        async with own.ctx.db.worker() as session:
            assert (await session.scalars(select(TrainingSpeed))).all() == []
        await assert_books_balance(own)

    async def test_says_nothing_of_a_failed_job(self, own: WorkerHarness) -> None:
        reports(own, 5, {"usage": None}, status="failed")
        job_id = await create(own)
        job = await own.until_end(job_id)
        assert (job.state, job.cost_micros) == ("failed", 5_000)
        await own.assert_ended_once(job_id, entries=["reserve", "post"])


class TestBudgets:
    async def test_are_required_where_nothing_is_known_of_the_speed(self, harness: WorkerHarness) -> None:
        unknown = with_prices(harness, speed=None)
        for refused_by in (create, quoted):
            with pytest.raises(InvalidRequest) as refused:
                await refused_by(unknown)
            assert (refused.value.param, refused.value.code) == ("budget", "budget_required")

    async def test_are_required_before_the_report_is_ready(self, harness: WorkerHarness) -> None:
        unknown = with_prices(harness, speed=None)
        training = await unknown.new_file()
        await unknown.leave_unchecked(training)
        with pytest.raises(InvalidRequest) as refused:
            await create(unknown, training_file=training)
        assert refused.value.code == "budget_required"

    async def test_are_reserved_and_the_job_pays_what_it_used(self, harness: WorkerHarness) -> None:
        unknown = with_prices(harness, speed=None)
        reports(unknown, 5, 12)
        job_id = await create(unknown, budget=0.02)
        assert await reserved(unknown, job_id) == 20_000
        await unknown.until_end(job_id)
        assert (await unknown.assert_succeeded_once(job_id)).cost_micros == 12_000

    async def test_stop_a_job_that_has_cost_as_much(self, own: WorkerHarness) -> None:
        reports(own, 5, 19, 20.5, 21, 22, 23)
        job_id = await create(own, budget=0.02)
        own.upstream.fault(CANCEL, error(500), times=1)
        job = await own.until_end(job_id)
        assert job.state == "cancelled"
        [warning, *_] = await own.messages(job_id, "warn")
        assert "has cost its budget of $0.02" in warning
        assert (await own.messages(job_id)).count(warning) == 1
        assert job.cost_micros is not None
        assert job.cost_micros >= 20_500
        await own.assert_ended_once(job_id, entries=["reserve", "post"])
        await assert_books_balance(own)

    async def test_do_not_belong_to_a_price_by_the_token(self, harness: WorkerHarness) -> None:
        with pytest.raises(InvalidRequest) as refused:
            await create(harness, budget=1.0)
        assert (refused.value.param, refused.value.code) == ("budget", "conflicting_parameters")


class TestQuotes:
    async def test_say_what_is_expected_and_how_sure_that_is(self, own: WorkerHarness) -> None:
        quote = await quoted(own)
        assert (quote.basis, quote.allowed, quote.past_quotes) == ("gpu_seconds", True, None)
        assert quote.gpu_seconds is not None
        assert (quote.gpu_seconds.expected, quote.gpu_seconds.source, quote.gpu_seconds.jobs) == (30, "documented", 0)
        assert (quote.price.low.value, quote.price.expected.value, quote.price.upper.value) == (0.015, 0.03, 0.06)
        assert quote.price_per_gpu_second is not None
        assert quote.price_per_gpu_second.value == 0.001

    async def test_follow_from_finished_jobs_and_show_how_earlier_ones_came_out(self, own: WorkerHarness) -> None:
        for seconds in (60, 90):
            reports(own, 1, seconds)
            await own.until_end(await create(own))
        async with own.ctx.db.worker() as session:
            [first, _] = (await session.scalars(select(TrainingSpeed).order_by(TrainingSpeed.finished_at))).all()
        assert (first.model, first.method_type, first.adapter_type) == (MODEL, "supervised", "lora")
        assert (first.trained_tokens, first.gpu_seconds, first.estimated_gpu_seconds) == (TRAINED_TOKENS, 60, 30)
        quote = await quoted(own)
        assert quote.gpu_seconds is not None
        assert (quote.gpu_seconds.source, quote.gpu_seconds.jobs) == ("jobs", 2)
        assert 60 < quote.gpu_seconds.expected < 90
        assert quote.past_quotes is not None
        assert (quote.past_quotes.jobs, quote.past_quotes.within) == (2, 2)
        assert quote.past_quotes.actual_to_expected == pytest.approx((60 / 30 + 90 / 60) / 2, rel=0.01)

    async def test_are_of_the_same_kind_of_job_only(self, own: WorkerHarness) -> None:
        reports(own, 1, 60)
        await own.until_end(await create(own))
        full = await quoted(own, adapter=AdapterSettings(type="full"))
        ranked = await quoted(own, adapter=AdapterSettings(rank=4))
        assert full.gpu_seconds is not None
        assert ranked.gpu_seconds is not None
        assert (full.gpu_seconds.source, ranked.gpu_seconds.source) == ("documented", "jobs")

    async def test_bind_the_job_that_is_created_with_them(self, own: WorkerHarness) -> None:
        quote = await quoted(own, adapter=AdapterSettings(rank=4))
        reports(own, 1, 600)
        await own.until_end(await create(own))
        with pytest.raises(InvalidRequest) as refused:
            await create(own, training_file=quote.training_file, quote_id=quote.id)
        assert refused.value.code == "quote_mismatch"
        same = AdapterSettings(rank=4)
        job_id = await create(own, training_file=quote.training_file, quote_id=quote.id, adapter=same)
        assert await reserved(own, job_id) == 60_000, "the speed that was measured since does not count"
        assert (await own.job(job_id)).price_micros_per_gpu_second == PRICE_MICROS

    async def test_warn_of_a_budget_below_the_expected_price(self, own: WorkerHarness) -> None:
        quote = await quoted(own, budget=0.01)
        assert quote.price.upper.value == quote.price.expected.value == 0.01
        assert any("about $0.03" in warning for warning in quote.warnings)
        assert quote.budget is not None
        assert quote.budget.value == 0.01


class TestAReportThatIsMadeLater:
    async def test_is_estimated_and_reserved_by_the_workers(self, own: WorkerHarness) -> None:
        training = await own.new_file()
        await own.leave_unchecked(training)
        with pytest.raises(InFlight):
            await quoted(own, training_file=training)
        job_id = await create(own, training_file=training)
        assert (await own.step(job_id)).state == "validating"
        await own.check_step(training)
        job = await own.until(job_id, "waiting")
        assert job.price_micros_per_gpu_second == PRICE_MICROS
        assert job.gpu_estimate is not None
        assert job.gpu_estimate["source"] == "documented"
        assert await reserved(own, job_id) == round(job.gpu_estimate["high"] * PRICE_MICROS)


class TestTheQueueAtTheUpstream:
    async def test_is_shown_with_the_job_s_place_until_it_trains(self, own: WorkerHarness) -> None:
        reports(own, {"status": "queued", "queue_place": 3}, {"status": "queued", "queue_place": 1}, 5, 5, 5)
        job_id = await create(own)
        await own.until(job_id, "running")
        forecast = Forecast(own.ctx.db, own.ctx.catalogue)
        shown = [await forecast.of(await own.step(job_id)) for _ in range(3)]
        assert [each and (each.reason, each.place) for each in shown] == [
            ("upstream_queue", 3), ("upstream_queue", 1), None
        ]  # fmt: skip
        assert shown[0] is not None
        assert shown[0].message.startswith("The job has place 3 in the upstream's queue")
