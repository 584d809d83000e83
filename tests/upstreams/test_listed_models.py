"""Jobs and calls go only to upstreams that list their base model, and `GET /v1/models` says which those are."""

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.catalogue.models_file import load
from service.database.tables import UpstreamAccount
from service.settings import Settings
from service.states import UpstreamKind, UpstreamProvider
from service.upstreams.capabilities import LISTED_FOR, lists, reason_not_served, serves, trainable_names
from tests.catalogue.open_models import ENTRY, write_models_file, write_open_model
from tests.faults.control import FaultyUpstream, error
from tests.upstreams.conftest import UpstreamApi, add_account
from tests.wire import chat_rows, jsonl
from tests.workers.harness import WorkerHarness
from workers.maintenance.listed_models import read_listed_models

NOW = dt.datetime(2026, 11, 30, 12, 0, tzinfo=dt.UTC)
LIST = "GET /v1/models"
MINI = 'name = "gpt-4o-mini"\nencoding = "o200k_base"\nmax_tokens = 8\nmethods = ["supervised"]\nformats = ["chat"]'
PRICE = 'training = [{ from = 2026-01-01, micros = 700, source = "own" }]\n'


class Account(NamedTuple):
    """The columns that the rules read."""

    kind: UpstreamKind = "openai"
    base_url: str = "http://trainer/v1"
    provider: UpstreamProvider | None = None
    models: list[str] | None = None
    methods: list[str] | None = None
    deployments: dict[str, str] | None = None
    listed_models: list[str] | None = None
    models_listed_at: dt.datetime | None = NOW


OPENAI = Account(base_url="https://api.openai.com/v1")


@pytest.fixture(scope="module")
def models_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models file with one open model and one of OpenAI's names."""
    folder = tmp_path_factory.mktemp("models")
    write_open_model(folder / "tiny")
    license_and_rate = 'aliases = ["small"]\nlicense = "apache-2.0"\nlearning_rate = 1e-3\n'
    return write_models_file(folder / "models.toml", ENTRY + license_and_rate + PRICE, MINI)


class TestRules:
    def test_a_list_decides_by_any_name_of_the_model(self, models_file: Path) -> None:
        tiny = load(str(models_file)).default
        assert lists(Account(), tiny, NOW)
        assert lists(Account(listed_models=["small", "other"]), tiny, NOW)
        assert not lists(Account(listed_models=["other"]), tiny, NOW)

    def test_an_old_list_forbids_nothing(self, models_file: Path) -> None:
        tiny, account = load(str(models_file)).default, Account(listed_models=["other"])
        assert not lists(account, tiny, NOW + LISTED_FOR)
        assert lists(account, tiny, NOW + LISTED_FOR + dt.timedelta(seconds=1))

    def test_an_open_model_is_served_by_its_providers_only(self, models_file: Path) -> None:
        tiny = load(str(models_file)).default
        assert serves(Account(), tiny, NOW)
        assert not serves(OPENAI, tiny, NOW)
        assert not serves(Account(models=["gpt-*"]), tiny, NOW)

    def test_a_refusal_says_why_and_what_can_be_trained(self, models_file: Path) -> None:
        catalogue = load(str(models_file))
        today, account = NOW.date(), Account(listed_models=["gpt-4o-mini"])
        reason = reason_not_served(account, {"tiny"}, catalogue.default, today=today, now=NOW)
        assert reason == "its upstream does not list tiny among its models"
        assert trainable_names(catalogue, [account], today=today, now=NOW) == ["gpt-4o-mini"]
        assert trainable_names(catalogue, [Account(), OPENAI], today=today, now=NOW) == ["tiny", "gpt-4o-mini"]


class TestLists:
    @pytest.fixture
    def step_settings(self, step_settings: Settings, models_file: Path) -> Settings:
        """The settings of the harness and the API, with the models file."""
        return dataclasses.replace(step_settings, models_file=str(models_file))

    @staticmethod
    async def listed(harness: WorkerHarness, account_id: str) -> list[str] | None:
        """What is stored after the task has read the lists."""
        await read_listed_models(harness.ctx)
        async with harness.ctx.db.worker() as session:
            row = await session.get_one(UpstreamAccount, account_id)
        assert (row.listed_models is None) == (row.models_listed_at is None)
        return row.listed_models

    async def test_only_names_of_the_catalogue_are_stored_and_the_last_list_stays_while_it_is_unavailable(
        self, harness: WorkerHarness, second: FaultyUpstream
    ) -> None:
        account_id = await add_account(harness, second.base_url)
        second.fault(LIST, _list("small", "ft:tiny::1", "else"))
        assert await self.listed(harness, account_id) == ["small"]
        second.fault(LIST, error(500))
        assert await self.listed(harness, account_id) == ["small"]

    @pytest.mark.parametrize("answer", [error(404), {"status": 200, "body": {"data": 5}, "headers": {}}])
    async def test_an_upstream_without_a_list_of_base_models_has_none(
        self, harness: WorkerHarness, second: FaultyUpstream, answer: dict[str, Any]
    ) -> None:
        account_id = await add_account(harness, second.base_url, listed_models=["x"], models_listed_at=NOW)
        second.fault(LIST, answer)
        assert await self.listed(harness, account_id) is None
        assert await self.listed(harness, account_id) is None  # it lists no model at all now

    async def test_the_api_lists_and_trains_what_an_upstream_of_the_project_serves(
        self, harness: WorkerHarness, second: FaultyUpstream, upstream_api: UpstreamApi
    ) -> None:
        account_id = await add_account(harness, second.base_url, own=True)
        harness.upstream.fault(LIST, _list("gpt-4o-mini"), times=0)
        second.fault(LIST, _list("tiny"), times=0)
        assert await self.listed(harness, account_id) == ["tiny"]
        shown = {each["id"]: each for each in (await upstream_api.mine.get("/models")).json()["data"]}
        assert list(shown) == ["tiny", "small", "gpt-4o-mini"]
        assert shown["gpt-4o-mini"].keys() == shown["tiny"].keys()
        assert account_id not in shown["gpt-4o-mini"]["upstreams"] != []
        theirs = (await upstream_api.other.get("/models")).json()["data"]
        assert [each["id"] for each in theirs] == ["gpt-4o-mini"]
        assert shown["tiny"] == {
            "id": "tiny",
            "object": "model",
            "created": 0,
            "owned_by": "system",
            "root": "tiny",
            "parent": None,
            "shutdown_date": None,
            "context_tokens": 512,
            "license": "apache-2.0",
            "methods": ["supervised", "dpo"],
            "formats": ["chat", "completion", "preference"],
            "tools": False,
            "tokenizer_sha256": load(harness.ctx.settings.models_file).default.tokenizer_sha256,
            "learning_rate": {"lora": 1e-3, "full": None},
            "price": {
                "training_per_million_tokens": 700,
                "training_per_hour": None,
                "training_per_gpu_second": None,
                "input_per_million_tokens": None,
                "output_per_million_tokens": None,
            },
            "upstreams": [account_id],
        }
        asked = await upstream_api.other.post(
            "/chat/completions", json={"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
        )
        assert (asked.status_code, asked.json()["error"]["code"]) == (404, "model_not_found")
        assert "No upstream of this project serves tiny now" in asked.json()["error"]["message"]
        file = await upstream_api.other.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", jsonl(chat_rows(10)))}
        )
        body = {"model": "tiny", "training_file": file.json()["id"]}
        refused = (await upstream_api.other.post("/fine_tuning/jobs", json=body)).json()["error"]
        assert (refused["param"], refused["code"]) == ("model", "model_not_trainable")
        assert refused["message"].endswith(
            "its upstream does not list tiny among its models. Models that can be trained: gpt-4o-mini."
        )
        assert (await upstream_api.mine.post("/fine_tuning/jobs", json=body)).json()["error"][
            "param"
        ] == "training_file"


def _list(*names: str) -> dict[str, Any]:
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "trainer"} for name in names]
    return {"status": 200, "body": {"object": "list", "data": data}, "headers": {}}
