"""Which price holds on a day."""

import datetime as dt

from msgspec import structs

from service.billing.price_list import (
    GpuSecondPrice,
    Price,
    gpu_second_prices_of,
    price_on,
    prices_of,
    training_price_on,
)
from service.catalogue.base_models import BaseModel, TrainingPrice

JULY, AUGUST, SEPTEMBER = (dt.date(2026, month, 1) for month in (7, 8, 9))
MODEL = BaseModel(
    name="small",
    encoding="o200k_base",
    max_tokens=1000,
    methods=("supervised",),
    formats=("chat",),
    training=(TrainingPrice(since=JULY, micros=3_000_000, source="the list"),),
)


def _set(since: dt.date, micros: int, model: str = "small") -> Price:
    return Price(model=model, since=since, micros_per_million=micros, source="a contract", origin="override")


def test_before_its_first_day_a_model_has_no_price() -> None:
    assert price_on(MODEL, [], JULY - dt.timedelta(days=1)) is None


def test_an_override_holds_from_its_day_on_and_not_before() -> None:
    overrides = [_set(AUGUST, 1_000_000)]
    assert _micros(overrides, AUGUST - dt.timedelta(days=1)) == 3_000_000
    assert _micros(overrides, AUGUST) == 1_000_000


def test_of_several_that_have_begun_the_latest_holds() -> None:
    assert _micros([_set(SEPTEMBER, 2_000_000), _set(AUGUST, 1_000_000)], SEPTEMBER) == 2_000_000


def test_of_two_from_the_same_day_the_platform_teams_holds() -> None:
    assert _micros([_set(JULY, 1)], JULY) == 1


def test_another_models_override_changes_nothing() -> None:
    assert _micros([_set(JULY, 1, model="large")], JULY) == 3_000_000


def test_prices_are_listed_the_latest_first_with_where_they_come_from() -> None:
    listed = prices_of(MODEL, [_set(AUGUST, 1)])
    assert [(price.since, price.origin) for price in listed] == [(AUGUST, "override"), (JULY, "catalogue")]


def _micros(overrides: list[Price], day: dt.date) -> int:
    price = price_on(MODEL, overrides, day)
    assert price is not None
    return price.micros_per_million


class TestWhatTrainingCosts:
    BY_GPU = structs.replace(
        MODEL, training=(), training_gpu_second=(TrainingPrice(since=AUGUST, micros=500, source="ours"),)
    )

    def test_is_a_price_by_the_gpu_second_from_its_day_on(self) -> None:
        assert training_price_on(self.BY_GPU, [], JULY) is None
        assert training_price_on(self.BY_GPU, [], AUGUST) == GpuSecondPrice(
            model="small", since=AUGUST, micros_per_gpu_second=500, source="ours"
        )

    def test_is_a_price_by_the_token_where_the_platform_team_sets_one(self) -> None:
        price = training_price_on(self.BY_GPU, [_set(SEPTEMBER, 1)], SEPTEMBER)
        assert isinstance(price, Price)
        assert training_price_on(self.BY_GPU, [_set(SEPTEMBER, 1)], AUGUST) == gpu_second_prices_of(self.BY_GPU)[0]

    def test_of_a_model_without_any_price_is_nothing(self) -> None:
        price = training_price_on(structs.replace(MODEL, training=()), [], JULY)
        assert isinstance(price, Price)
        assert price.micros_per_million == 0

    def test_by_the_hour_is_not_known_before(self) -> None:
        hourly = structs.replace(MODEL, training=(), training_hour=MODEL.training)
        assert training_price_on(hourly, [], SEPTEMBER) is None
