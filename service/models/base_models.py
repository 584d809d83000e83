"""Shows base models: which of them a project's upstreams train or answer, and what each can do. Pure."""

import datetime as dt
from collections.abc import Sequence

from service.billing.price_list import inference_price_on, price_on
from service.billing.queries import Prices
from service.catalogue.base_models import BaseModel, TrainingPrice
from service.models.schemas import BaseModelPrice, BaseModelRates, ModelObject
from service.upstreams.capabilities import (
    matches,
    methods_of,
    provider_at,
    reason_not_served,
    serves,
    shutdown_of,
)
from service.upstreams.queries import AccountRow


def possible_accounts(model: BaseModel, accounts: Sequence[AccountRow], now: dt.datetime) -> list[AccountRow]:
    """The accounts that train a base model today, or answer calls to it."""
    return [account for account in accounts if _trains(account, model, now) or _answers(account, model, now)]


def show_base(
    name: str,
    model: BaseModel,
    accounts: Sequence[AccountRow],
    *,
    now: dt.datetime,
    prices: Prices,
) -> ModelObject:
    """A base model under one of its names. `prices` are those that the platform team set."""
    possible = possible_accounts(model, accounts, now)
    announced = possible or [account for account in accounts if matches(account.models, (model.name, *model.aliases))]
    shutdown = shutdown_of(model, [provider_at(account) for account in announced])
    offered = {method for account in possible if _trains(account, model, now) for method in methods_of(account)}
    return ModelObject(
        id=name,
        created=0,
        owned_by="system",
        root=model.name,
        parent=None,
        shutdown_date=shutdown.stops.isoformat() if shutdown else None,
        context_tokens=model.max_tokens,
        license=model.license,
        methods=[method for method in model.methods if method in offered],
        formats=list(model.formats),
        tools=model.tools,
        tokenizer_sha256=model.tokenizer_sha256,
        learning_rate=BaseModelRates(lora=model.learning_rates.lora, full=model.learning_rates.full),
        price=_price(model, prices, now.date()),
        upstreams=[account.name or account.id for account in possible],
    )


def _trains(account: AccountRow, model: BaseModel, now: dt.datetime) -> bool:
    names = {model.name, *model.aliases}
    return reason_not_served(account, names, model, today=now.date(), now=now) is None


def _answers(account: AccountRow, model: BaseModel, now: dt.datetime) -> bool:
    shutdown = model.shutdown_at(provider_at(account))
    return serves(account, model, now) and (shutdown is None or now.date() < shutdown.stops)


def _price(model: BaseModel, prices: Prices, day: dt.date) -> BaseModelPrice:
    by_token = price_on(model, prices.training, day)
    calls = inference_price_on(model, prices.inference, day, tuned=False)
    return BaseModelPrice(
        training_per_million_tokens=by_token.micros_per_million if by_token else None,
        training_per_hour=_current(model.training_hour, day),
        training_per_gpu_second=_current(model.training_gpu_second, day),
        input_per_million_tokens=calls.input_micros_per_million if calls else None,
        output_per_million_tokens=calls.output_micros_per_million if calls else None,
    )


def _current(prices: Sequence[TrainingPrice], day: dt.date) -> int | None:
    current = [price for price in prices if price.since <= day]
    return max(current, key=lambda price: price.since).micros if current else None
