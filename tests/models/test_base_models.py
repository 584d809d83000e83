"""Which base models a project's accounts can train or call on a day, by one rule for every model. Pure."""

import datetime as dt
from typing import Any

import pytest

from service.billing.queries import Prices
from service.catalogue.base_models import BaseModel
from service.catalogue.models_file import load
from service.models.base_models import possible_accounts, show_base
from service.upstreams.queries import AccountRow

CATALOGUE = load()
OPENAI = "https://api.openai.com/v1"
TRAINER = "http://trainer/v1"


def account(base_url: str = OPENAI, **fields: Any) -> AccountRow:
    """An account's row with nothing set that could limit it."""
    row = AccountRow(
        id=base_url,
        kind="openai",
        base_url=base_url,
        provider=None,
        models=None,
        methods=None,
        listed_models=None,
        models_listed_at=None,
        name=None,
    )
    return row._replace(**fields)


def base(name: str) -> BaseModel:
    """A base model of the shipped catalogue."""
    found = CATALOGUE.find(name)
    assert found is not None
    return found


def at(day: str) -> dt.datetime:
    """Noon of a day in UTC."""
    return dt.datetime.fromisoformat(f"{day}T12:00:00+00:00")


def possible(name: str, *accounts: AccountRow, on: str) -> tuple[list[str], list[str]]:
    """The `upstreams` and `methods` of an entry of `GET /v1/models`."""
    shown = show_base(name, base(name), accounts, now=at(on), prices=Prices())
    assert shown.upstreams == [each.name or each.id for each in possible_accounts(base(name), accounts, at(on))]
    assert isinstance(shown.methods, list)
    return shown.upstreams, shown.methods


@pytest.mark.parametrize(
    ("on", "upstreams", "methods"),
    [
        ("2027-01-06", [OPENAI], ["supervised", "dpo"]),
        ("2027-01-07", [OPENAI], []),  # it still answers
        ("2027-01-14", [], []),
    ],
)
def test_a_provider_s_dates_decide_what_is_possible(on: str, upstreams: list[str], methods: list[str]) -> None:
    assert possible("gpt-4o-mini", account(), on=on) == (upstreams, methods)


def test_a_model_is_trained_on_the_last_day_on_which_it_stops_too() -> None:
    assert possible("davinci-002", account(), on="2026-10-23") == ([OPENAI], ["supervised"])
    assert possible("davinci-002", account(), on="2026-10-24") == ([], [])


def test_another_provider_s_dates_do_not_apply() -> None:
    both = possible("gpt-4o-mini", account(), account(TRAINER), on="2027-03-01")
    assert both == ([TRAINER], ["supervised", "dpo"])


def test_an_account_s_own_list_decides_for_openai_s_names_too() -> None:
    listing = account(TRAINER, listed_models=["gpt-4o-mini"], models_listed_at=at("2026-11-30"))
    assert possible("gpt-4o-mini", listing, on="2026-11-30")[0] == [TRAINER]
    assert possible("gpt-4.1", listing, on="2026-11-30") == ([], [])


def test_methods_are_those_of_the_accounts_that_train() -> None:
    assert possible("gpt-4.1", account(), on="2026-11-30")[1] == ["supervised", "dpo"]
    assert possible("gpt-4.1", account(methods=["dpo"]), on="2026-11-30")[1] == ["dpo"]
    assert possible("gpt-4.1", account(methods=["dpo"], models=["gpt-4o*"]), on="2026-11-30") == ([], [])


def test_without_an_account_nothing_is_possible() -> None:
    assert possible("gpt-4o-mini", on="2026-11-30") == ([], [])
