"""Shows base models: which of them a project's upstreams serve, and what an open one can do. Pure."""

import datetime as dt
from collections.abc import Sequence

import msgspec

from service.billing.price_list import inference_price_on, price_on
from service.billing.queries import Prices
from service.catalogue.base_models import BaseModel, TrainingPrice
from service.models.schemas import ModelObject, OpenModelPrice
from service.upstreams.capabilities import matches, provider_at, serves, shutdown_of
from service.upstreams.queries import AccountRow


def serving_accounts(model: BaseModel, accounts: Sequence[AccountRow], now: dt.datetime) -> list[AccountRow]:
    """The accounts that serve a base model today: their provider has not ended it, and their upstream lists it."""
    return [
        account
        for account in accounts
        if serves(account, model, now)
        and ((shutdown := model.shutdown_at(provider_at(account))) is None or now.date() < shutdown.stops)
    ]


def show_base(
    name: str,
    model: BaseModel,
    accounts: Sequence[AccountRow],
    *,
    now: dt.datetime,
    prices: Prices,
) -> ModelObject:
    """A base model under one of its names. `prices` are those that the platform team set."""
    serving = serving_accounts(model, accounts, now)
    announced = serving or [account for account in accounts if matches(account.models, (model.name, *model.aliases))]
    shutdown = shutdown_of(model, [provider_at(account) for account in announced])
    shown = ModelObject(
        id=name,
        created=0,
        owned_by="system",
        root=model.name,
        parent=None,
        shutdown_date=shutdown.stops.isoformat() if shutdown else None,
    )
    if not model.is_open:
        return shown
    return msgspec.structs.replace(
        shown,
        context_tokens=model.max_tokens,
        license=model.license,
        methods=list(model.methods),
        formats=list(model.formats),
        tools=model.tools,
        tokenizer_sha256=model.tokenizer_sha256,
        learning_rate=model.learning_rate,
        price=_price(model, prices, now.date()),
        upstreams=[account.name or account.id for account in serving],
    )


def _price(model: BaseModel, prices: Prices, day: dt.date) -> OpenModelPrice:
    by_token = price_on(model, prices.training, day)
    calls = inference_price_on(model, prices.inference, day, tuned=False)
    return OpenModelPrice(
        training_per_million_tokens=by_token.micros_per_million if by_token else None,
        training_per_hour=_current(model.training_hour, day),
        training_per_gpu_second=_current(model.training_gpu_second, day),
        input_per_million_tokens=calls.input_micros_per_million if calls else None,
        output_per_million_tokens=calls.output_micros_per_million if calls else None,
    )


def _current(prices: Sequence[TrainingPrice], day: dt.date) -> int | None:
    current = [price for price in prices if price.since <= day]
    return max(current, key=lambda price: price.since).micros if current else None
