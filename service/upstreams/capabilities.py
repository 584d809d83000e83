"""What each kind of upstream supports, and whether an account serves a model. Pure; see docs/upstreams.md.

What an upstream does not support is refused when a job is created, before it costs anything; nothing is silently left
out of the upstream request later.
"""

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal, Protocol

from service.catalogue.base_models import BaseModel, Catalogue, Shutdown, provider_of
from service.states import UpstreamKind, UpstreamProvider

LISTED_FOR = dt.timedelta(minutes=15)
"""The age at which an upstream's list of models no longer counts. Workers read it every minute while it answers."""

Method = Literal["supervised", "dpo", "reinforcement"]
LabelLocation = Literal["metadata", "training_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an upstream supports.

    `labels_in` says where a job's labels are, by which it is found after a lost response; `suffix_length` is the
    longest suffix; `deployments`: inference calls name a deployment; `checked_files`: a job needs files that the
    upstream has validated before; `full_names`: base models are known by their dated names only; `adapter_at`: the
    providers whose upstreams of this kind take a job's `adapter`.
    """

    methods: tuple[Method, ...]
    labels_in: LabelLocation
    suffix_length: int
    integrations: bool
    pause: bool
    deployments: bool
    checked_files: bool
    full_names: bool
    adapter_at: tuple[UpstreamProvider, ...]


CAPABILITIES: dict[UpstreamKind, Capabilities] = {
    "openai": Capabilities(
        methods=("supervised", "dpo", "reinforcement"),
        labels_in="metadata",
        suffix_length=64,
        integrations=True,
        pause=True,
        deployments=False,
        checked_files=False,
        full_names=False,
        adapter_at=("self-hosted",),
    ),
    "azure": Capabilities(
        methods=("supervised",),
        labels_in="training_file",
        suffix_length=40,
        integrations=False,
        pause=False,
        deployments=True,
        checked_files=True,
        full_names=True,
        adapter_at=(),
    ),
}
"""Capabilities by an account's kind. Azure's are those of its stable API, 2024-10-21."""


class Provided(Protocol):
    """The attributes of an account's row that name its provider."""

    @property
    def kind(self) -> UpstreamKind: ...
    @property
    def base_url(self) -> str: ...
    @property
    def provider(self) -> UpstreamProvider | None: ...


class Serving(Provided, Protocol):
    """The attributes of an account's row that say which models it serves."""

    @property
    def models(self) -> list[str] | None: ...
    @property
    def listed_models(self) -> list[str] | None: ...
    @property
    def models_listed_at(self) -> dt.datetime | None: ...


class Offering(Provided, Protocol):
    """The attributes of an account's row that say by which methods it trains."""

    @property
    def methods(self) -> list[str] | None: ...


class Account(Serving, Offering, Protocol):
    """The attributes of an account's row that these rules read."""

    @property
    def deployments(self) -> dict[str, str] | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a job requires of its account besides model and method; `account_id` is the one that the caller named."""

    account_id: str | None = None
    suffix: str | None = None
    integrations: bool = False
    adapter: bool = False


NO_NEEDS = Needs()


def provider_at(account: Provided) -> str:
    """The provider whose shutdown dates apply at an account: as its row says, else by its kind and base URL."""
    if account.provider:
        return str(account.provider)
    return "azure" if account.kind == "azure" else provider_of(account.base_url)


def shutdown_of(base: BaseModel, providers: Collection[str]) -> Shutdown | None:
    """When a model ends for a project that can use it at these providers: the last of their dates, if all have one."""
    announced = [base.shutdown_at(provider) for provider in providers]
    known = [shutdown for shutdown in announced if shutdown is not None]
    return max(known, key=lambda each: each.stops) if known and len(known) == len(announced) else None


def methods_of(account: Offering) -> tuple[str, ...]:
    """The methods that an account offers: those of its kind, unless its row limits them."""
    offered = CAPABILITIES[account.kind].methods
    return offered if account.methods is None else tuple(method for method in offered if method in account.methods)


def reason_not_served(
    account: Serving, names: Collection[str], base: BaseModel | None, *, today: dt.date | None, now: dt.datetime
) -> str | None:
    """Why an account does not train the model with these `names`, or None when it does."""
    if not matches(account.models, names):
        return "it does not serve the model"
    if base is not None and not lists(account, base, now):
        return f"its upstream does not list {base.name} among its models"
    if base is not None and today is not None and not base.trainable(provider_at(account), today):
        return f"its provider takes no new jobs for {base.name}"
    return None


def trainable_names(
    catalogue: Catalogue, accounts: Sequence[Serving], *, today: dt.date, now: dt.datetime
) -> list[str]:
    """The base models that any of these accounts trains today, by their names without aliases."""
    return [
        base.name
        for base in catalogue.models
        if any(
            reason_not_served(account, {base.name, *base.aliases}, base, today=today, now=now) is None
            for account in accounts
        )
    ]


def unsupported_feature(account: Account, method: str, needs: Needs) -> tuple[str, str] | None:
    """What an account's upstream cannot do for a job, with the request's parameter; None if it can do all."""
    supported = CAPABILITIES[account.kind]
    if method not in methods_of(account):
        return f"train by '{method}'", "method.type"
    if needs.suffix is not None and len(needs.suffix) > supported.suffix_length:
        return f"take a suffix of more than {supported.suffix_length} characters", "suffix"
    if needs.integrations and not supported.integrations:
        return "report to integrations", "integrations"
    if needs.adapter and provider_at(account) not in supported.adapter_at:
        return "take an 'adapter', which is for self-hosted trainers", "adapter"
    return None


def serves(account: Serving, base: BaseModel, now: dt.datetime) -> bool:
    """Whether an account answers calls to a base model: by its row, the model's providers, and its upstream's list."""
    return (
        matches(account.models, (base.name, *base.aliases))
        and (not base.providers or provider_at(account) in base.providers)
        and lists(account, base, now)
    )


def lists(account: Serving, base: BaseModel, now: dt.datetime) -> bool:
    """Whether an account's upstream lists a base model; true if it has no list that is younger than `LISTED_FOR`."""
    if account.listed_models is None or account.models_listed_at is None:
        return True
    if now - account.models_listed_at > LISTED_FOR:
        return True
    return not {base.name, *base.aliases}.isdisjoint(account.listed_models)


def matches(patterns: list[str] | None, names: Collection[str]) -> bool:
    """Whether any of a model's names matches any of the patterns (`*` and `?` as in a shell); None matches all."""
    return patterns is None or any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
