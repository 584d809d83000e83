"""Estimates what a job costs: by the token, or by the GPU-second from the speed of finished jobs of its kind."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.price_list import GpuSecondPrice, Price, training_price_on
from service.billing.prices import micros_of_dollars
from service.billing.queries import finished_jobs, price_overrides
from service.billing.quote import Estimate, estimate, estimate_by_gpu_second, training
from service.billing.throughput import GpuSeconds, Measured, PastError, envelope, estimate_gpu_seconds, past_error
from service.catalogue.base_models import BaseModel
from service.datasets.report_schema import FileReport
from service.errors import InvalidRequest
from service.jobs.adapter_settings import AdapterType
from service.jobs.rules import requested_epochs


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What determines the speed and the price of a job: the accounts at which it may run, the preferred one first."""

    model: BaseModel
    method: dict[str, Any]
    adapter_type: AdapterType
    account_ids: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The price in force for a job, its budget, and finished jobs of its kind at each account."""

    model: BaseModel
    price: Price | GpuSecondPrice
    budget_micros: int | None
    finished: Sequence[Sequence[Measured]] = ()

    def estimate(self, report: FileReport, method: dict[str, Any]) -> Estimate:
        """The cost of training on a file by its report."""
        epochs = requested_epochs(method)
        if isinstance(self.price, Price):
            return estimate(
                examples=report.examples,
                tokens_per_epoch=report.billable_tokens_per_epoch,
                n_epochs=epochs,
                price_micros_per_million=self.price.micros_per_million,
            )
        trained = training(examples=report.examples, tokens_per_epoch=report.billable_tokens_per_epoch, n_epochs=epochs)
        return estimate_by_gpu_second(
            trained,
            price_micros_per_gpu_second=self.price.micros_per_gpu_second,
            gpu_seconds=self.gpu_seconds(trained.tokens),
            budget_micros=self.budget_micros,
        )

    def gpu_seconds(self, tokens: int) -> GpuSeconds | None:
        """The GPU-seconds of training on so many tokens, or None if nothing is known of the speed."""
        documented = self.model.tokens_per_gpu_second
        return envelope([estimate_gpu_seconds(tokens, jobs, documented=documented) for jobs in self.finished])

    @property
    def past_error(self) -> PastError | None:
        """How the estimates of finished jobs at the preferred account came out."""
        return past_error(self.finished[0]) if self.finished else None


async def terms_of(session: AsyncSession, kind: Kind, *, budget_micros: int | None, today: dt.date) -> Terms:
    """The terms of a job.

    Raises `InvalidRequest` if the model has no price today, if a price by the GPU-second has no upper bound because
    neither a speed nor a budget is known, and for a budget where the price is by the token.
    """
    model, price = kind.model, training_price_on(kind.model, await price_overrides(session), today)
    if price is None:
        raise InvalidRequest(f"{model.name} has no price for today.", param="model", code="unsupported_method")
    if isinstance(price, Price):
        if budget_micros is not None:
            raise InvalidRequest(
                f"{model.name} is billed by the token, so that its price is known before. Leave 'budget' out.",
                param="budget",
                code="conflicting_parameters",
            )
        return Terms(model=model, price=price, budget_micros=None)
    finished = [
        await finished_jobs(
            session,
            model=model.name,
            account_id=account_id,
            method_type=kind.method["type"],
            adapter_type=kind.adapter_type,
        )
        for account_id in kind.account_ids
    ]
    terms = Terms(model=model, price=price, budget_micros=budget_micros, finished=finished or [()])
    if price.micros_per_gpu_second and budget_micros is None and terms.gpu_seconds(1) is None:
        raise InvalidRequest(
            f"{model.name} is billed by the GPU-second, and no job of this kind has finished yet, so that its price "
            "is not known. Send 'budget', in dollars: it is reserved, and the job is stopped when it has cost as much.",
            param="budget",
            code="budget_required",
        )
    return terms


def budget_micros_of(dollars: float | None) -> int | None:
    """A request's budget in micro-dollars."""
    return None if dollars is None else max(1, micros_of_dollars(dollars))


def stored_gpu_seconds(estimate: Estimate) -> dict[str, Any] | None:
    """Estimated GPU-seconds as quotes and jobs store them."""
    stored: dict[str, Any] | None = msgspec.to_builtins(estimate.gpu_seconds)
    return stored
