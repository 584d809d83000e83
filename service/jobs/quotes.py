"""Quotes: a binding price before anything is spent. A quote prices the same resolved request as a job."""

import datetime as dt
from typing import Any, Literal

import msgspec
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing import actions as billing
from service.billing.prices import Amount, amount_of
from service.billing.queries import calibration
from service.database.tables import Quote
from service.datasets.files.reports import report_pending
from service.datasets.report_schema import Leakage
from service.http.wire_types import RequestModel
from service.ids import new_id
from service.jobs.actions import PricingContext, quoted_request, resolve_request
from service.jobs.adapter_settings import AdapterSettings
from service.jobs.estimates import Terms, budget_micros_of, stored_gpu_seconds
from service.jobs.rules import resolve_method
from service.jobs.schemas import GpuSecondsObject, Hyperparameters, Method
from service.jobs.warnings import of_budget, of_leakage
from service.runs.budget import Budget
from service.upstreams.capabilities import shutdown_of

QUOTE_LIFE = dt.timedelta(hours=24)


class CreateQuote(RequestModel, frozen=True, kw_only=True):
    """The body: those fields of a job's create that determine the price."""

    model: str
    training_file: str
    validation_file: str | None = None
    method: Method | None = None
    hyperparameters: Hyperparameters | None = None
    adapter: AdapterSettings | None = None
    budget: Budget | None = None


class QuotedTokens(msgspec.Struct, frozen=True, kw_only=True):
    """How the billed tokens are made up."""

    per_epoch: int
    trained_per_epoch: int
    definitions_per_epoch: int
    billable: int


class PriceRange(msgspec.Struct, frozen=True, kw_only=True):
    """The lowest, expected and highest price. A job reserves the highest."""

    low: Amount
    expected: Amount
    upper: Amount


class PastQuotesObject(msgspec.Struct, frozen=True, kw_only=True):
    """How estimated GPU-seconds came out: over so many finished jobs of the kind the median of actual by expected ones,
    and how many jobs ended between `low` and `high`."""

    jobs: int
    actual_to_expected: float
    within: int


class CalibrationObject(msgspec.Struct, frozen=True, kw_only=True):
    """The accuracy of earlier estimates for this model: actual by estimated tokens, over this many finished jobs."""

    jobs: int
    actual_to_estimate: float


class QuoteObject(msgspec.Struct, frozen=True, kw_only=True):
    """A quote. `reasons` say why the job is not `allowed`; `warnings` do not prevent it.

    `basis` is the unit of the price. With `gpu_seconds`, the field of that name is null if only a budget bounds the
    price, and `past_quotes` is null before a job that began with an estimate has finished.
    """

    id: str
    object: Literal["fine_tuning.quote"] = "fine_tuning.quote"
    model: str
    training_file: str
    validation_file: str | None
    n_epochs: int
    epochs_reason: str
    tokens: QuotedTokens
    basis: Literal["tokens", "gpu_seconds"]
    price: PriceRange
    price_per_gpu_second: Amount | None
    gpu_seconds: GpuSecondsObject | None
    past_quotes: PastQuotesObject | None
    budget: Amount | None
    calibration: CalibrationObject | None
    remaining_budget: Amount | None
    allowed: bool
    reasons: list[str]
    warnings: list[str]
    shutdown_date: dt.date | None
    expires_at: int


async def request_reports(
    session: AsyncSession, *, project_id: str, body: CreateQuote, pricing_context: PricingContext
) -> None:
    """Request the reports that a quote needs and that do not exist yet. The transaction must commit."""
    method = resolve_method(body.method, body.hyperparameters)
    await resolve_request(session, project_id=project_id, body=body, method=method, pricing_context=pricing_context)


async def create_quote(
    session: AsyncSession, *, project_id: str, body: CreateQuote, pricing_context: PricingContext
) -> QuoteObject:
    """Create a quote. Raises `InvalidRequest` as a create would, and `InFlight` while a report is being made."""
    method = resolve_method(body.method, body.hyperparameters)
    resolved = await resolve_request(
        session, project_id=project_id, body=body, method=method, pricing_context=pricing_context
    )
    report, price = resolved.training_report, resolved.estimate
    if report is None or price is None:
        raise report_pending("training_file")
    now = dt.datetime.now(dt.UTC)
    standing = await billing.month_balance(session, project_id, billing.month_of(now))
    reasons = [] if resolved.fault is None else [resolved.fault.message]
    if standing.remaining is not None and price.upper_micros > standing.remaining:
        reasons.append("The upper price exceeds the rest of the monthly budget.")
    shutdown = shutdown_of(resolved.base.model, resolved.providers)
    known = await calibration(session, resolved.base.model.name)
    row = Quote(
        id=new_id("quote_"),
        project_id=project_id,
        request=quoted_request(body, method),
        n_epochs=price.n_epochs,
        billable_tokens=price.billable_tokens,
        price_micros_per_million=price.price_micros_per_million,
        low_micros=price.low_micros,
        expected_micros=price.expected_micros,
        upper_micros=price.upper_micros,
        price_micros_per_gpu_second=price.price_micros_per_gpu_second,
        gpu_estimate=stored_gpu_seconds(price),
        expires_at=func.now() + QUOTE_LIFE,
    )
    session.add(row)
    await session.flush()
    tokens: Any = report.tokens
    by_gpu_second, budget_micros = price.price_micros_per_gpu_second, budget_micros_of(body.budget)
    return QuoteObject(
        id=row.id,
        model=resolved.base.name,
        training_file=resolved.training.id,
        validation_file=resolved.validation.id if resolved.validation else None,
        n_epochs=price.n_epochs,
        epochs_reason=price.epochs_reason,
        tokens=QuotedTokens(
            per_epoch=report.billable_tokens_per_epoch,
            trained_per_epoch=tokens.trained if tokens else 0,
            definitions_per_epoch=tokens.definitions if tokens else 0,
            billable=price.billable_tokens,
        ),
        basis="tokens" if by_gpu_second is None else "gpu_seconds",
        price_per_gpu_second=None if by_gpu_second is None else amount_of(by_gpu_second),
        gpu_seconds=None if price.gpu_seconds is None else msgspec.convert(stored_gpu_seconds(price), GpuSecondsObject),
        past_quotes=_past_quotes(resolved.terms),
        budget=None if budget_micros is None else amount_of(budget_micros),
        price=PriceRange(
            low=amount_of(price.low_micros),
            expected=amount_of(price.expected_micros),
            upper=amount_of(price.upper_micros),
        ),
        calibration=None
        if known is None
        else CalibrationObject(jobs=known.jobs, actual_to_estimate=round(known.ratio, 4)),
        remaining_budget=None if standing.remaining is None else amount_of(standing.remaining),
        allowed=not reasons,
        reasons=reasons,
        warnings=[*(each.message for each in of_budget(price, budget_micros)), *_warnings(resolved.leakage)],
        shutdown_date=shutdown.stops if shutdown else None,
        expires_at=int((now + QUOTE_LIFE).timestamp()),
    )


def _past_quotes(terms: Terms) -> PastQuotesObject | None:
    known = terms.past_error
    if known is None:
        return None
    return PastQuotesObject(jobs=known.jobs, actual_to_expected=round(known.actual_to_expected, 4), within=known.within)


def _warnings(leakage: Leakage | None) -> list[str]:
    if leakage is None:
        return []
    if leakage.status == "pending":
        return [
            "Whether the validation file contains examples of the training file is still being checked: "
            f"GET /v1/files/{{training_file}}/report?validation_file={leakage.validation_file}."
        ]
    return [each.message for each in of_leakage(leakage)]
