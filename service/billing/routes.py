"""`/v1/organization/prices`: what training costs, and from when; for the platform team."""

import datetime as dt
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from sqlalchemy.dialects.postgresql import insert

from service.billing.price_list import Price, prices_of
from service.billing.prices import Amount, dollars
from service.billing.queries import price_overrides
from service.http.bodies import read_body
from service.http.operation import operation
from service.http.shapes import RequestModel
from service.ids import new_id
from service.models.rules import known_model
from service.services import ApiRequest, services
from service.tables import PriceOverride

ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class SetPrice(RequestModel, frozen=True, kw_only=True):
    """A training price in dollars per million tokens, from a day on, and where it comes from."""

    model: str
    effective_from: dt.date
    dollars_per_million_tokens: Annotated[float, msgspec.Meta(ge=0, le=100_000)]
    source: ShortText


class PriceObject(msgspec.Struct, frozen=True, kw_only=True):
    """A training price. `origin` is `catalogue` (shipped or by file) or `override` (set here)."""

    object: Literal["price"] = "price"
    model: str
    effective_from: dt.date
    per_million_tokens: Amount
    source: str
    origin: Literal["catalogue", "override"]


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """Every price of every model, the latest first."""

    object: Literal["list"] = "list"
    data: list[PriceObject]


@get("/prices", summary="List training prices", opt=operation(returns=PriceList))
async def get_prices(request: ApiRequest) -> PriceList:
    """Past, present and future prices. Of those that have begun, the latest holds."""
    here = services(request)
    async with here.db.admin() as session:
        overrides = await price_overrides(session)
    return PriceList(data=[_show(price) for model in here.catalogue.models for price in prices_of(model, overrides)])


@post("/prices", status_code=200, summary="Set a training price", opt=operation(returns=PriceObject, body=SetPrice))
async def post_price(request: ApiRequest) -> PriceObject:
    """Set a price from a day on; setting the same day again replaces it. Quotes and jobs that stand keep theirs."""
    here = services(request)
    body, _ = await read_body(request, SetPrice)
    price = Price(
        model=known_model(here.catalogue, body.model).name,
        since=body.effective_from,
        micros_per_million=round(body.dollars_per_million_tokens * 1_000_000),
        source=body.source,
        origin="override",
    )
    values = {"micros_per_million": price.micros_per_million, "source": price.source}
    async with here.db.admin() as session:
        await session.execute(
            insert(PriceOverride)
            .values(id=new_id("price-"), model=price.model, since=price.since, **values)
            .on_conflict_do_update(index_elements=["model", "since"], set_=values)
        )
    return _show(price)


def _show(price: Price) -> PriceObject:
    return PriceObject(
        model=price.model,
        effective_from=price.since,
        per_million_tokens=dollars(price.micros_per_million),
        source=price.source,
        origin=price.origin,
    )


ADMIN_ROUTES = [get_prices, post_price]
