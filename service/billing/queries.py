"""Reads price overrides, calibrations and speeds, in any scope, since they belong to no project."""

import datetime as dt
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import BigInteger, Boolean, null, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.price_list import InferencePrice, Price
from service.billing.throughput import WINDOW, GpuSeconds, Measured
from service.database.reads import Query, Reader
from service.database.tables import InferencePriceOverride, ModelCalibration, PriceOverride, TrainingSpeed


class Calibration(NamedTuple):
    """The ratio of upstream token counts to estimates, over all finished jobs of a model."""

    jobs: int
    ratio: float


async def price_overrides(session: AsyncSession) -> Sequence[Price]:
    """The training prices that the platform team set."""
    return [
        Price(
            model=row.model,
            since=row.since,
            micros_per_million=row.micros_per_million,
            source=row.source,
            origin="override",
        )
        for row in await session.scalars(select(PriceOverride))
    ]


async def inference_price_overrides(session: AsyncSession) -> Sequence[InferencePrice]:
    """The inference prices that the platform team set."""
    return [
        InferencePrice(
            model=row.model,
            tuned=row.tuned,
            since=row.since,
            input_micros_per_million=row.input_micros_per_million,
            output_micros_per_million=row.output_micros_per_million,
            source=row.source,
            origin="override",
        )
        for row in await session.scalars(select(InferencePriceOverride))
    ]


class Prices(NamedTuple):
    """All prices that the platform team set."""

    training: Sequence[Price] = ()
    inference: Sequence[InferencePrice] = ()


def _price(
    tuned: bool | None, model: str, since: dt.date, micros: int, output_micros: int | None, source: str
) -> Price | InferencePrice:
    """A row of `_PRICES`: a training price has neither `tuned` nor `output_micros`."""
    if tuned is None or output_micros is None:
        return Price(model=model, since=since, micros_per_million=micros, source=source, origin="override")
    return InferencePrice(
        model=model,
        tuned=tuned,
        since=since,
        input_micros_per_million=micros,
        output_micros_per_million=output_micros,
        source=source,
        origin="override",
    )


_PRICES = Query(
    _price,
    union_all(
        select(
            null().cast(Boolean).label("tuned"),
            PriceOverride.model,
            PriceOverride.since,
            PriceOverride.micros_per_million,
            null().cast(BigInteger).label("output_micros"),
            PriceOverride.source,
        ),
        select(
            InferencePriceOverride.tuned,
            InferencePriceOverride.model,
            InferencePriceOverride.since,
            InferencePriceOverride.input_micros_per_million,
            InferencePriceOverride.output_micros_per_million,
            InferencePriceOverride.source,
        ),
    ),
)
"""Training and inference prices in one statement, since a list of models needs both at once."""


async def read_prices(reader: Reader) -> Prices:
    """All prices that the platform team set, for reads."""
    prices = await reader.all(_PRICES)
    return Prices(
        [price for price in prices if isinstance(price, Price)],
        [price for price in prices if isinstance(price, InferencePrice)],
    )


async def calibration(session: AsyncSession, model: str) -> Calibration | None:
    """The model's calibration; `ratio` is actual tokens divided by estimated ones. None before a job has finished."""
    row = await session.get(ModelCalibration, model)
    if row is None or row.estimated_tokens == 0:
        return None
    return Calibration(row.jobs, row.actual_tokens / row.estimated_tokens)


async def finished_jobs(
    session: AsyncSession, *, model: str, account_id: str, method_type: str, adapter_type: str
) -> list[Measured]:
    """The newest jobs of a kind that succeeded, the newest first, by which the next one's GPU-seconds are estimated."""
    table = TrainingSpeed
    rows = await session.scalars(
        select(table)
        .where(
            table.model == model,
            table.account_id == account_id,
            table.method_type == method_type,
            table.adapter_type == adapter_type,
        )
        .order_by(table.finished_at.desc())
        .limit(WINDOW)
    )
    return [Measured(row.trained_tokens, row.gpu_seconds, _estimate_of(row)) for row in rows]


def _estimate_of(row: TrainingSpeed) -> GpuSeconds | None:
    low, expected, high = row.estimated_low, row.estimated_gpu_seconds, row.estimated_high
    if low is None or expected is None or high is None:
        return None
    return GpuSeconds(low=low, expected=expected, high=high, jobs=0, source="jobs")
