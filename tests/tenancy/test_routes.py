"""Every project route with another project's ids: the same bytes as for an id that never was, but for the id."""

import datetime as dt
import re
from typing import Any

import pytest
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from sqlalchemy import select, update

from service.app import create_litestar
from service.database.engine import Database
from service.database.tables import (
    ApiKey,
    Checkpoint,
    Experiment,
    File,
    Job,
    JobEvent,
    Model,
    Quote,
    Run,
    UpstreamAccount,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from service.ids import new_id
from service.settings import Settings
from tests.http.fixtures import Api
from tests.wire import chat_rows, jsonl

BODIES: dict[str, dict[str, Any]] = {
    "/v1/webhook_endpoints/{endpoint_id}": {"name": "mine now"},
    "/v1/webhook_endpoints/{endpoint_id}/test": {"event_type": "fine_tuning.job.succeeded"},
    "/v1/webhook_endpoints/{endpoint_id}/recover": {"since": 0},
    "/v1/uploads/{upload_id}/complete": {"part_ids": ["part_none"]},
    "/v1/model_aliases/{alias}/promote": {"model": "gpt-4o-mini"},
}
"""What a POST needs to get as far as the look-up."""

FOR_OTHERS = re.compile(r"/v1/(organization/|fine_tuning/checkpoints/|upstreams/[^/]+/events)")
"""Routes that no project's key reaches: administrators' (tests/identity) and upstreams' (tests/upstreams)."""

LISTS = {
    "/files": "file_id",
    "/fine_tuning/jobs": "job_id",
    "/fine_tuning/experiments": "experiment_id",
    "/webhook_endpoints": "endpoint_id",
    "/dataset_preparations": "preparation_id",
    "/dataset_generations": "generation_id",
    "/model_comparisons": "comparison_id",
    "/model_aliases": "alias",
    "/webhook_events": "event_id",
    "/upstreams": "upstream_id",
}


def _routes() -> list[tuple[str, str, tuple[str, ...]]]:
    app = create_litestar(Settings())
    return sorted(
        (method, route.path_format, tuple(parameter.name for parameter in route.path_parameters.values()))
        for route in app.routes
        if isinstance(route, HTTPRoute) and route.path_parameters and not FOR_OTHERS.match(route.path_format)
        for handler in route.route_handlers
        if isinstance(handler, HTTPRouteHandler)
        for method in handler.http_methods - {"OPTIONS"}
    )


ROUTES = _routes()


@pytest.fixture
async def theirs(api: Api) -> dict[str, str]:
    """One of everything in the other project, by the name that it has in paths."""
    async with api.http(api.other) as http:
        file = await http.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", jsonl(chat_rows(10)))}
        )
        job = await http.post("/fine_tuning/jobs", json={"model": "gpt-4o-mini", "training_file": file.json()["id"]})
        announced = {"bytes": 1, "filename": "a", "mime_type": "text/plain", "purpose": "user_data"}
        upload = await http.post("/uploads", json=announced)
        preparation = await http.post("/dataset_preparations", json={"file": file.json()["id"]})
        generation = await http.post(
            "/dataset_generations", json={"topics": ["rivers"], "n_per_topic": 1, "model": "gpt-4o-mini"}
        )
        alias = await http.post("/model_aliases", json={"name": "theirs", "model": "gpt-4o-mini"})
    return {
        "upload_id": upload.json()["id"],
        "preparation_id": preparation.json()["id"],
        "generation_id": generation.json()["id"],
        "alias": alias.json()["id"],
        "file_id": file.json()["id"],
        "job_id": job.json()["id"],
        **await _rows(api.db, api.other.project_id, job.json()["id"]),
    }


@pytest.mark.parametrize(("method", "path", "names"), ROUTES, ids=[f"{method} {path}" for method, path, _ in ROUTES])
async def test_route(api: Api, theirs: dict[str, str], method: str, path: str, names: tuple[str, ...]) -> None:
    """A new route with a new kind of id fails until it is covered here."""
    never = {name: _other_id(theirs[name]) for name in names}
    body = BODIES.get(path, {}) if method == "POST" else None
    answers = []
    async with api.http() as mine:
        for ids in (theirs, never):
            address = path.removeprefix("/v1")
            for name in names:
                address = address.replace(f"{{{name}}}", ids[name])
            answer = await mine.request(method, address, json=body)
            reported = answer.text
            for name in names:
                reported = reported.replace(ids[name], "ID")
            answers.append((answer.status_code, reported, sorted(set(answer.headers) - {"x-request-id"})))
    assert answers[0] == answers[1]
    assert answers[0][0] == 404, answers[0]
    async with api.http(api.other) as owner:
        assert (await owner.get(f"/files/{theirs['file_id']}")).status_code == 200
        assert (await owner.get(f"/fine_tuning/jobs/{theirs['job_id']}")).json()["status"] == "validating_files"
        assert (await owner.get(f"/models/{theirs['name']}")).status_code == 200
        assert (await owner.get(f"/webhook_endpoints/{theirs['endpoint_id']}")).json()["name"] == "receiver"


@pytest.mark.parametrize(("path", "name"), LISTS.items())
async def test_a_list_shows_nothing_of_another_and_takes_no_cursor_of_it(
    api: Api, theirs: dict[str, str], path: str, name: str
) -> None:
    """Neither items nor the existence of an id leak through pages."""
    async with api.http() as mine:
        assert (await mine.get(path)).json()["data"] == []
        reported = []
        for after in (theirs[name], _other_id(theirs[name])):
            answer = await mine.get(path, params={"after": after})
            reported.append((answer.status_code, answer.text.replace(after, "ID")))
    assert reported[0] == reported[1]
    assert reported[0][0] == 400


async def test_a_job_names_and_finds_nothing_of_another(api: Api, theirs: dict[str, str]) -> None:
    """A row that refers to another project's key, which no caller can make, shows no name; filters find nothing."""
    async with api.db.admin() as session:
        their_key = await session.scalar(select(ApiKey.id).where(ApiKey.project_id == api.other.project_id))
        their_name = await session.scalar(select(ApiKey.name).where(ApiKey.id == their_key))
    async with api.http() as mine:
        file = await mine.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": ("mine.jsonl", jsonl(chat_rows(10)))}
        )
        body = {"model": "gpt-4o-mini", "training_file": file.json()["id"]}
        job_id = (await mine.post("/fine_tuning/jobs", json=body)).json()["id"]
        async with api.rows() as session:
            await session.execute(update(Job).where(Job.id == job_id).values(api_key_id=their_key))
        shown = (await mine.get(f"/fine_tuning/jobs/{job_id}")).json()
        [listed] = (await mine.get("/fine_tuning/jobs")).json()["data"]
        assert (shown, shown["created_by"], shown["training_file_name"]) == (listed, None, "mine.jsonl")
        queries: list[dict[str, Any]] = [
            {"training_file": theirs["file_id"]},
            {"created_by": their_key},
            {"created_by": their_name},
            {"model": theirs["name"]},
        ]
        for query in queries:
            for sort in ("created_at", "cost"):
                assert (await mine.get("/fine_tuning/jobs", params={**query, "sort": sort})).json()["data"] == [], query
        reported = []
        for after in (theirs["job_id"], _other_id(theirs["job_id"])):
            answer = await mine.get("/fine_tuning/jobs", params={"sort": "cost", "after": f"{after}:1:1"})
            reported.append((answer.status_code, answer.text.replace(after, "ID")))
        assert reported[0] == reported[1]
        assert reported[0][0] == 400


@pytest.mark.parametrize(
    ("path", "field"),
    [
        *(
            ("/fine_tuning/jobs", field)
            for field in ("training_file", "validation_file", "model", "quote_id", "upstream_account")
        ),
        *(("/fine_tuning/quotes", field) for field in ("training_file", "validation_file", "model")),
        *(("/fine_tuning/experiments", field) for field in ("training_file", "validation_file", "model")),
    ],
)
async def test_a_body_that_names_another_s_thing(api: Api, theirs: dict[str, str], path: str, field: str) -> None:
    """References in bodies are looked up inside the caller's project only."""
    async with api.http() as mine:
        file = await mine.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", jsonl(chat_rows(10)))}
        )
        reported = []
        foreign = {
            "model": theirs["name"],
            "quote_id": theirs["quote_id"],
            "upstream_account": theirs["upstream_id"],
        }.get(field, theirs["file_id"])
        for value in (foreign, _other_id(foreign)):
            body = {"model": "gpt-4o-mini", "training_file": file.json()["id"], field: value}
            if path == "/fine_tuning/experiments":
                body["grid"] = {"n_epochs": [2]}
            answer = await mine.post(path, json=body)
            reported.append((answer.status_code, answer.text.replace(value, "ID")))
    assert reported[0] == reported[1]
    assert reported[0][0] == 400


async def test_models_are_asked_by_their_own_project_only(api: Api, theirs: dict[str, str]) -> None:
    """Inference with another project's model is refused before the upstream is asked."""
    async with api.http() as mine:
        assert theirs["name"] not in (await mine.get("/models")).text
        for path in ("/chat/completions", "/completions"):
            answer = await mine.post(path, json={"model": theirs["name"], "messages": [], "prompt": ""})
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")


def _other_id(known: str) -> str:
    return known[:-4] + ("0000" if known[-4:] != "0000" else "1111")


async def _rows(db: Database, project_id: str, job_id: str) -> dict[str, str]:
    ids = {
        "account": new_id("account-"),
        "upstream_id": new_id("upstream_"),
        "name": f"ft:gpt-4o-mini:tunegate::{job_id[-12:]}",
        "endpoint_id": new_id("we_"),
        "delivery_id": new_id("whd_"),
        "quote_id": new_id("quote_"),
        "event_id": new_id("evt_"),
        "comparison_id": new_id("cmp_"),
        "experiment_id": new_id("exp_"),
    }
    async with db.admin() as session:
        session.add(UpstreamAccount(id=ids["account"], kind="openai", base_url=ids["account"]))
        session.add(
            UpstreamAccount(
                id=ids["upstream_id"], project_id=project_id, kind="openai", base_url="https://upstream.example.com/v1"
            )
        )
        await session.flush()
        job = (await session.scalars(select(Job).where(Job.id == job_id))).one()
        session.add_all(
            [
                Model(
                    name=ids["name"],
                    project_id=project_id,
                    job_id=job_id,
                    kind="model",
                    base_model="gpt-4o-mini",
                    account_id=ids["account"],
                    upstream_name="ft:upstream",
                ),
                Checkpoint(
                    id=new_id("ftckpt-"),
                    project_id=project_id,
                    job_id=job_id,
                    step_number=1,
                    name=f"{ids['name']}:ckpt-step-1",
                    metrics={},
                    upstream_checkpoint_id="x",
                ),
                WebhookEndpoint(
                    id=ids["endpoint_id"],
                    project_id=project_id,
                    name="receiver",
                    url="https://example.com/",
                    event_types=["fine_tuning.job.succeeded"],
                    secret_encrypted=b"x",
                    secret_hint="whsec_...x",
                ),
                WebhookEvent(
                    id=ids["event_id"],
                    project_id=project_id,
                    type="fine_tuning.job.succeeded",
                    subject=job_id,
                    body=b"{}",
                ),
                Run(
                    id=ids["comparison_id"],
                    project_id=project_id,
                    api_key_id="key_1",
                    kind="comparison",
                    options={},
                    concurrency=1,
                    budget_micros=1,
                    total=1,
                ),
                Experiment(
                    id=ids["experiment_id"],
                    project_id=project_id,
                    api_key_id="key_1",
                    request={},
                    training_file_id=job.training_file_id,
                    budget_micros=1,
                    max_parallel=1,
                ),
                Quote(
                    id=ids["quote_id"],
                    project_id=project_id,
                    request={},
                    n_epochs=1,
                    billable_tokens=1,
                    price_micros_per_million=1,
                    low_micros=1,
                    expected_micros=1,
                    upper_micros=1,
                    expires_at=job.created_at + dt.timedelta(days=1),
                ),
            ]
        )
        await session.flush()
        session.add(
            WebhookDelivery(
                id=ids["delivery_id"], project_id=project_id, endpoint_id=ids["endpoint_id"], event_id=ids["event_id"]
            )
        )
        assert (await session.scalars(select(JobEvent.id).where(JobEvent.job_id == job_id))).all()
        assert (await session.scalars(select(File.id).where(File.project_id == project_id))).all()
    return ids
