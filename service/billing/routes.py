"""`/v1/organization/prices`: what training and inference cost, and from when. Also the list of this folder's routes."""

import datetime as dt
from typing import Annotated, Literal

import msgspec
from litestar import get, post
from sqlalchemy.dialects.postgresql import insert

from service.billing import alert_routes, limit_routes, usage_routes
from service.billing.price_list import (
    GpuSecondPrice,
    InferencePrice,
    Price,
    gpu_second_prices_of,
    inference_prices_of,
    prices_of,
)
from service.billing.prices import Amount, amount_of, micros_of_dollars
from service.billing.queries import inference_price_overrides, price_overrides
from service.catalogue.base_models import Catalogue
from service.catalogue.lookup import known_model
from service.database.engine import Database
from service.database.tables import InferencePriceOverride, PriceOverride
from service.errors import InvalidRequest
from service.http.bodies import read_body, read_query
from service.http.operation import operation
from service.http.resources import ApiRequest, resource
from service.http.wire_types import RequestModel
from service.identity import audit
from service.ids import new_id

ShortText = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
Dollars = Annotated[float, msgspec.Meta(ge=0, le=100_000)]
Kind = Literal["training", "inference", "tuned_inference"]
ListedKind = Literal["training", "training_gpu_second", "inference", "tuned_inference"]


class SetPrice(RequestModel, frozen=True, kw_only=True):
    """A price in dollars per million tokens, from a day on, and its source.

    `training` takes `dollars_per_million_tokens`; `inference` (of the model itself) and `tuned_inference` (of models
    trained from it) take `dollars_per_million_input_tokens` and `dollars_per_million_output_tokens`.
    """

    kind: Kind = "training"
    model: str
    effective_from: dt.date
    dollars_per_million_tokens: Dollars | None = None
    dollars_per_million_input_tokens: Dollars | None = None
    dollars_per_million_output_tokens: Dollars | None = None
    source: ShortText


class ListPrices(RequestModel, frozen=True, kw_only=True):
    """The kind of prices to list. Those by the GPU-second are set in the models file only."""

    kind: ListedKind = "training"


class PriceObject(msgspec.Struct, frozen=True, kw_only=True):
    """A price. `origin` is `catalogue` (shipped or from a file) or `override` (set here). Unused fields are null."""

    object: Literal["price"] = "price"
    kind: ListedKind
    model: str
    effective_from: dt.date
    per_gpu_second: Amount | None = None
    per_million_tokens: Amount | None = None
    per_million_input_tokens: Amount | None = None
    per_million_output_tokens: Amount | None = None
    source: str
    origin: Literal["catalogue", "override"]


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """Every price of a kind, of every model, the latest first."""

    object: Literal["list"] = "list"
    data: list[PriceObject]


@get("/prices", summary="List prices", opt=operation(returns=PriceList, query=ListPrices))
async def get_prices(request: ApiRequest) -> PriceList:
    """Past, present and future prices. Of those that have started, the latest is in force."""
    kind = read_query(request, ListPrices).kind
    models = resource(request, Catalogue).models
    if kind == "training_gpu_second":
        return PriceList(data=[_show_gpu_second(price) for model in models for price in gpu_second_prices_of(model)])
    async with resource(request, Database).admin() as session:
        if kind == "training":
            training = await price_overrides(session)
            return PriceList(data=[_show(price) for model in models for price in prices_of(model, training)])
        overrides, tuned = await inference_price_overrides(session), kind == "tuned_inference"
    return PriceList(
        data=[
            _show_inference(price) for model in models for price in inference_prices_of(model, overrides, tuned=tuned)
        ]
    )


@post("/prices", status_code=200, summary="Set a price", opt=operation(returns=PriceObject, body=SetPrice))
async def post_price(request: ApiRequest) -> PriceObject:
    """Set a price from a day on; setting the same day again replaces it. Existing quotes and jobs keep their price."""
    catalogue = resource(request, Catalogue)
    body, _ = await read_body(request, SetPrice)
    price = _training_price(body, catalogue) if body.kind == "training" else _inference_price(body, catalogue)
    async with resource(request, Database).admin() as session:
        if isinstance(price, Price):
            values: dict[str, object] = {"micros_per_million": price.micros_per_million, "source": price.source}
            await session.execute(
                insert(PriceOverride)
                .values(id=new_id("price-"), model=price.model, since=price.since, **values)
                .on_conflict_do_update(index_elements=["model", "since"], set_=values)
            )
        else:
            values = {
                "input_micros_per_million": price.input_micros_per_million,
                "output_micros_per_million": price.output_micros_per_million,
                "source": price.source,
            }
            await session.execute(
                insert(InferencePriceOverride)
                .values(id=new_id("price-"), model=price.model, tuned=price.tuned, since=price.since, **values)
                .on_conflict_do_update(index_elements=["model", "tuned", "since"], set_=values)
            )
        await audit.record(
            session,
            audit.actor_of(request),
            "price.updated",
            resource_id=price.model,
            data={"kind": body.kind, "effective_from": price.since.isoformat(), **values},
        )
    return _show(price) if isinstance(price, Price) else _show_inference(price)


def _training_price(body: SetPrice, catalogue: Catalogue) -> Price:
    _check_fields(body, required=("dollars_per_million_tokens",))
    return Price(
        model=known_model(catalogue, body.model).name,
        since=body.effective_from,
        micros_per_million=micros_of_dollars(body.dollars_per_million_tokens or 0),
        source=body.source,
        origin="override",
    )


def _inference_price(body: SetPrice, catalogue: Catalogue) -> InferencePrice:
    _check_fields(body, required=("dollars_per_million_input_tokens", "dollars_per_million_output_tokens"))
    return InferencePrice(
        model=known_model(catalogue, body.model).name,
        tuned=body.kind == "tuned_inference",
        since=body.effective_from,
        input_micros_per_million=micros_of_dollars(body.dollars_per_million_input_tokens or 0),
        output_micros_per_million=micros_of_dollars(body.dollars_per_million_output_tokens or 0),
        source=body.source,
        origin="override",
    )


def _check_fields(body: SetPrice, *, required: tuple[str, ...]) -> None:
    amounts = (
        "dollars_per_million_tokens",
        "dollars_per_million_input_tokens",
        "dollars_per_million_output_tokens",
    )
    for name in amounts:
        given = getattr(body, name) is not None
        if name in required and not given:
            raise InvalidRequest(
                f"Missing required parameter: '{name}'. Send it for a price of kind '{body.kind}'.",
                param=name,
                code="missing_required_parameter",
            )
        if given and name not in required:
            raise InvalidRequest(
                f"'{name}' does not belong to a price of kind '{body.kind}'. Leave it out.",
                param=name,
                code="conflicting_parameters",
            )


def _show(price: Price) -> PriceObject:
    return PriceObject(
        kind="training",
        model=price.model,
        effective_from=price.since,
        per_million_tokens=amount_of(price.micros_per_million),
        source=price.source,
        origin=price.origin,
    )


def _show_gpu_second(price: GpuSecondPrice) -> PriceObject:
    return PriceObject(
        kind="training_gpu_second",
        model=price.model,
        effective_from=price.since,
        per_gpu_second=amount_of(price.micros_per_gpu_second),
        source=price.source,
        origin="catalogue",
    )


def _show_inference(price: InferencePrice) -> PriceObject:
    return PriceObject(
        kind="tuned_inference" if price.tuned else "inference",
        model=price.model,
        effective_from=price.since,
        per_million_input_tokens=amount_of(price.input_micros_per_million),
        per_million_output_tokens=amount_of(price.output_micros_per_million),
        source=price.source,
        origin=price.origin,
    )


ROUTES = [*limit_routes.ROUTES, *usage_routes.ROUTES]
ADMIN_ROUTES = [
    get_prices,
    post_price,
    *limit_routes.ADMIN_ROUTES,
    *alert_routes.ADMIN_ROUTES,
    *usage_routes.ADMIN_ROUTES,
]
