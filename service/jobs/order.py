"""An order: a request for training with everything it refers to looked up. A quote and a create begin alike with it."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.price_list import price_on
from service.billing.queries import price_overrides
from service.billing.quote import Estimate, estimate
from service.datasets.actions import FINE_TUNE, ask_for_report
from service.datasets.queries import find_file
from service.datasets.report_schema import FileReport
from service.errors import InvalidRequest
from service.jobs.lifecycle import JobError
from service.jobs.rules import check_method, dataset_fault, epochs_asked
from service.models.catalogue import BaseModel, Catalogue
from service.tables import File, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """What is to be trained: our name for it, the upstream's, and the base model whose rules and prices hold."""

    name: str
    upstream_name: str
    model: BaseModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`fault` is why the datasets cannot be used; `estimate` is there once the training file's report is ready."""

    base: Base
    method: dict[str, Any]
    training: File
    validation: File | None
    training_report: FileReport | None
    fault: JobError | None
    estimate: Estimate | None


async def find_base(
    session: AsyncSession, catalogue: Catalogue, *, project_id: str, name: str, provider: str, today: dt.date
) -> Base:
    """The base model, or the project's own tuned model to go on from.

    Raises `InvalidRequest` that lists what can be trained.
    """
    trainable = ", ".join(catalogue.trainable_names(provider, today))
    model = catalogue.find(name)
    upstream_name = name
    if model is None and name.startswith("ft:"):
        tuned = (
            await session.scalars(
                select(Model).where(Model.project_id == project_id, Model.name == name, Model.deleted_at.is_(None))
            )
        ).one_or_none()
        if tuned is not None:
            model, upstream_name = catalogue.find(tuned.base_model), tuned.upstream_name
    if model is None:
        raise InvalidRequest(
            f"The model '{name[:128]}' does not exist or cannot be trained. Models that can: {trainable}.",
            param="model",
            code="model_not_found",
        )
    if not model.trainable(provider, today):
        shutdown = model.shutdown_at(provider)
        raise InvalidRequest(
            f"{model.name} takes no new jobs since {shutdown.no_new_jobs if shutdown else today}. "
            f"Models that can be trained: {trainable}.",
            param="model",
            code="model_not_trainable",
        )
    return Base(name=name, upstream_name=upstream_name, model=model)


async def training_data(session: AsyncSession, *, project_id: str, file_id: str, param: str) -> File:
    """The project's file, kept from being deleted meanwhile. Raises `InvalidRequest` with `param`."""
    file = await find_file(session, project_id, file_id, lock=True)
    if file is None:
        raise InvalidRequest(
            f"No file '{file_id[:128]}' in this project. Upload it with purpose 'fine-tune' first.",
            param=param,
            code="file_not_found",
        )
    if file.purpose != FINE_TUNE:
        raise InvalidRequest(
            f"File '{file.id}' has the purpose '{file.purpose}'; upload it with purpose 'fine-tune'.",
            param=param,
            code="wrong_purpose",
        )
    return file


async def take_order(
    session: AsyncSession,
    *,
    base: Base,
    method: dict[str, Any],
    training: File,
    validation: File | None,
    today: dt.date,
) -> Order:
    """Look at the reports of the files; those that are not there yet are asked for."""
    check_method(method, base.model)
    fault, reports = None, []
    for file, param in ((training, "training_file"), (validation, "validation_file")):
        report = await _ready_report(session, file, base.model) if file is not None else None
        reports.append(report)
        if report is not None:
            fault = fault or dataset_fault(report, method_type=method["type"], model=base.model, param=param)
    return Order(
        base=base,
        method=method,
        training=training,
        validation=validation,
        training_report=reports[0],
        fault=fault,
        estimate=await estimate_for(session, reports[0], base.model, method, today) if reports[0] is not None else None,
    )


async def estimate_for(
    session: AsyncSession, report: FileReport, model: BaseModel, method: dict[str, Any], today: dt.date
) -> Estimate:
    """What training on the file costs."""
    price = price_on(model, await price_overrides(session), today)
    if price is None:
        raise InvalidRequest(f"{model.name} has no price for today.", param="model", code="unsupported_method")
    return estimate(
        examples=report.examples,
        tokens_per_epoch=report.billable_tokens_per_epoch,
        n_epochs=epochs_asked(method),
        price_micros_per_million=price.micros_per_million,
    )


async def _ready_report(session: AsyncSession, file: File, model: BaseModel) -> FileReport | None:
    row = await ask_for_report(session, file, model)
    return None if row.report is None else msgspec.convert({**row.report, "file_id": file.id}, FileReport)
