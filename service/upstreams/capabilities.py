"""What each kind of upstream can do, and whether an account serves a model. Pure; docs/upstreams.md explains the rows.

What an upstream cannot do is refused at a job's create, before the spend, and is never dropped on the way.
"""

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol

from service.catalogue.base_models import BaseModel, Shutdown, provider_of

Kind = Literal["openai", "azure"]
Provider = Literal["openai", "azure", "self-hosted"]
Method = Literal["supervised", "dpo", "reinforcement"]
LabelLocation = Literal["metadata", "training_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What an adapter can carry to its upstream.

    `marker` is by what its jobs are found again after a lost answer; `suffix_length` the longest suffix that it takes;
    `deployments` that a model is asked by a deployment's name; `checked_files` that a job needs files which the
    upstream has looked through before; `full_names` that it knows base models by their dated names only.
    """

    methods: tuple[Method, ...]
    labels_in: LabelLocation
    suffix_length: int
    integrations: bool
    pause: bool
    deployments: bool
    checked_files: bool
    full_names: bool


CAPABILITIES: dict[str, Capabilities] = {
    "openai": Capabilities(
        methods=("supervised", "dpo", "reinforcement"),
        labels_in="metadata",
        suffix_length=64,
        integrations=True,
        pause=True,
        deployments=False,
        checked_files=False,
        full_names=False,
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
    ),
}
"""By an account's kind. Azure's are those of its stable API, 2024-10-21."""


class Account(Protocol):
    """What these rules read of an account's row."""

    kind: Any
    base_url: Any
    provider: Any
    models: Any
    methods: Any
    deployments: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What else a job wants of its upstream; `account_id` is the one that the caller names."""

    account_id: str | None = None
    suffix: str | None = None
    integrations: bool = False


NOTHING_MORE = Needs()


def provider_at(account: Account) -> str:
    """Whose shutdown dates hold at an account: what its row says, else what its kind and base URL say."""
    if account.provider:
        return str(account.provider)
    return "azure" if account.kind == "azure" else provider_of(account.base_url)


def shutdown_of(base: BaseModel, providers: Collection[str]) -> Shutdown | None:
    """When a model ends for somebody who can use it at these providers: with the last of them, if all have said so."""
    announced = [base.shutdown_at(provider) for provider in providers]
    known = [shutdown for shutdown in announced if shutdown is not None]
    return max(known, key=lambda each: each.stops) if known and len(known) == len(announced) else None


def methods_of(account: Account) -> tuple[str, ...]:
    """The methods that an account offers: those of its kind, or fewer."""
    offered = CAPABILITIES[account.kind].methods
    return offered if account.methods is None else tuple(method for method in offered if method in account.methods)


def unserved(account: Account, names: Collection[str], base: BaseModel | None, today: dt.date | None) -> str | None:
    """Why an account does not train the model known by `names`, or None when it does."""
    if not matches(account.models, names):
        return "it does not serve the model"
    if base is not None and today is not None and not base.trainable(provider_at(account), today):
        return f"its provider takes no new jobs for {base.name}"
    return None


def unsupported(account: Account, method: str, needs: Needs) -> tuple[str, str] | None:
    """(what, the create's parameter) that an account's upstream cannot do, or None."""
    can = CAPABILITIES[account.kind]
    if method not in methods_of(account):
        return f"train by '{method}'", "method.type"
    if needs.suffix is not None and len(needs.suffix) > can.suffix_length:
        return f"take a suffix of more than {can.suffix_length} characters", "suffix"
    if needs.integrations and not can.integrations:
        return "report to integrations", "integrations"
    return None


def matches(patterns: list[str] | None, names: Collection[str]) -> bool:
    """Whether any of a model's names fits any of the patterns (`*` and `?` as in a shell); no patterns fit all."""
    return patterns is None or any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
