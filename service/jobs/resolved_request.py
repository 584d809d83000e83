"""Resolves a request for training: looks up the model, files, reports and price that a create or a quote refers to."""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from service.billing.quote import Estimate
from service.catalogue.base_models import BaseModel, Catalogue
from service.database.tables import File, UpstreamAccount
from service.datasets.files.reports import request_ready_report
from service.datasets.leakage.reports import request_leakage_report
from service.datasets.report_schema import FileReport, Leakage
from service.errors import InvalidRequest
from service.jobs.adapter_settings import AdapterSettings, AdapterType
from service.jobs.estimates import Kind, Terms, terms_of
from service.jobs.lifecycle import JobError
from service.jobs.rules import check_method, dataset_fault
from service.models.queries import find_model, lock_model
from service.upstreams.capabilities import Needs, provider_at, shutdown_of, trainable_names
from service.upstreams.queries import offer, usable_accounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The model to train: its name here and upstream, and the base model whose rules and prices apply."""

    name: str
    upstream_name: str
    model: BaseModel


class TrainingRequest(Protocol):
    """What the bodies of a create and a quote have in common."""

    @property
    def model(self) -> str:
        """The name of a base model or a tuned model."""

    @property
    def training_file(self) -> str:
        """The id of a file."""

    @property
    def validation_file(self) -> str | None:
        """The id of a file, or None."""

    @property
    def adapter(self) -> AdapterSettings | None:
        """The weights to train, or None."""

    @property
    def budget(self) -> float | None:
        """The most that the job may cost in dollars, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedRequest:
    """A request with everything that it refers to. `fault` is why the datasets cannot be used.

    `estimate` is set if the training file's report is ready, `terms` are what it is made by. `leakage` is what the two
    files share, as far as that has been checked. `providers` are those at which the job can run.
    """

    base: Base
    providers: tuple[str, ...]
    method: dict[str, Any]
    training: File
    validation: File | None
    training_report: FileReport | None
    leakage: Leakage | None
    fault: JobError | None
    terms: Terms
    estimate: Estimate | None


async def find_base(
    session: AsyncSession,
    catalogue: Catalogue,
    *,
    project_id: str,
    name: str,
    providers: Collection[str],
    today: dt.date,
) -> Base:
    """The base model, or a tuned model to continue from: the project's own, or one that it was granted.

    Raises `InvalidRequest`, with a list of the models that can be trained.
    """
    trainable = ", ".join(
        each
        for each in catalogue.names()
        if not providers or any(each in catalogue.trainable_names(provider, today) for provider in providers)
    )
    model = catalogue.find(name)
    upstream_name = name
    if model is None and name.startswith("ft:"):
        tuned = await find_model(session, project_id, name)
        if tuned is not None and tuned.project_id == project_id and not await lock_model(session, tuned):
            tuned = None
        if tuned is not None:
            model, upstream_name = catalogue.find(tuned.base_model), tuned.upstream_name
    if model is None:
        raise InvalidRequest(
            f"The model '{name[:128]}' does not exist or cannot be trained. Models that can: {trainable}.",
            param="model",
            code="model_not_found",
        )
    if providers and not any(model.trainable(provider, today) for provider in providers):
        shutdown = shutdown_of(model, providers)
        raise InvalidRequest(
            f"{model.name} takes no new jobs since {shutdown.no_new_jobs if shutdown else today}. "
            f"Models that can be trained: {trainable}.",
            param="model",
            code="model_not_trainable",
        )
    return Base(name=name, upstream_name=upstream_name, model=model)


async def providers_of(session: AsyncSession, project_id: str) -> tuple[str, ...]:
    """The providers of the accounts that the project can use."""
    return tuple(dict.fromkeys(provider_at(each) for each in await usable_accounts(session, project_id)))


async def check_offer(
    session: AsyncSession,
    catalogue: Catalogue,
    *,
    project_id: str,
    name: str,
    method_type: str,
    needs: Needs,
    today: dt.date,
) -> list[UpstreamAccount]:
    """The accounts that can run the request, the preferred one first, including those in cool-down or drained.

    Raises `InvalidRequest` if no account ever can, before anything is spent: the job would wait forever.
    """
    usable = await usable_accounts(session, project_id)
    if needs.account_id is not None and needs.account_id not in [account.id for account in usable]:
        raise InvalidRequest(
            f"No upstream account '{needs.account_id[:128]}' for this project. GET /v1/upstreams lists its own.",
            param="upstream_account",
            code="upstream_not_found",
        )
    found = await offer(
        session,
        project_id=project_id,
        model=name,
        method_type=method_type,
        catalogue=catalogue,
        today=today,
        needs=needs,
    )
    able = [*found.accounts, *found.waiting]
    if usable and not able and found.unable:
        what, param = found.unable[0]
        raise InvalidRequest(
            f"The upstream that serves {name[:128]} cannot {what}. Leave it out, or take another model or account.",
            param=param,
            code="upstream_unsupported",
        )
    if usable and not able:
        others = trainable_names(catalogue, usable, today=today, now=dt.datetime.now(dt.UTC))
        message = f"{found.reason} Models that can be trained: {', '.join(others) or 'none'}."
        raise InvalidRequest(message, param="model", code="model_not_trainable")
    return able


async def resolve(
    session: AsyncSession,
    *,
    catalogue: Catalogue,
    base: Base,
    accounts: Sequence[UpstreamAccount],
    method: dict[str, Any],
    adapter_type: AdapterType,
    budget_micros: int | None,
    training: File,
    validation: File | None,
    today: dt.date,
) -> ResolvedRequest:
    """Resolve the rest of a request from the files' reports. Requests the reports that do not exist yet.

    `accounts` are those at which the job can run. Raises `InvalidRequest` as `terms_of`.
    """
    check_method(method, base.model)
    kind = Kind(
        model=base.model, method=method, adapter_type=adapter_type, account_ids=[account.id for account in accounts]
    )
    terms = await terms_of(session, kind, budget_micros=budget_micros, today=today)
    fault, reports = None, []
    for file, param in ((training, "training_file"), (validation, "validation_file")):
        report = await request_ready_report(session, file, base.model) if file is not None else None
        reports.append(report)
        if report is not None:
            fault = fault or dataset_fault(
                report, method_type=method["type"], model=base.model, param=param, others=catalogue.models
            )
    return ResolvedRequest(
        base=base,
        providers=tuple(dict.fromkeys(provider_at(account) for account in accounts)),
        method=method,
        training=training,
        validation=validation,
        training_report=reports[0],
        leakage=await request_leakage_report(session, training, validation) if validation is not None else None,
        fault=fault,
        terms=terms,
        estimate=terms.estimate(reports[0], method) if reports[0] is not None else None,
    )
