"""Experiments over HTTP: quotes, refusals, limits, lists, and what uses a file."""

import json
from typing import Any

import pytest
from sqlalchemy import func, select, update

from service.database.tables import AuditLog, Experiment, File, Job, Project, WebhookEvent
from service.deletions.redaction import REDACTED_JOB, emptied_tables
from service.limits.unfinished_work import MAX_UNFINISHED_EXPERIMENTS
from tests.experiments.harness import BASE, PATH, ExperimentHarness
from tests.wire import make_tenant, refusal
from workers.deletions.projects import _cancel_work, _empty_some, _redact
from workers.maintenance.retention import remove_expired_files

EXPERIMENT_COLUMNS = [column.name for column in Experiment.__table__.columns]


async def test_a_quote_has_the_price_of_every_arm_and_of_all(experiments: ExperimentHarness) -> None:
    file_id = await experiments.file(40)
    body: dict[str, Any] = {
        "model": BASE,
        "training_file": file_id,
        "grid": {"data_share": [1.0, 0.5], "n_epochs": [2]},
    }
    quote = (await experiments.post(f"{PATH}/quotes", **body)).json()
    whole, half = quote["arms"]
    assert (whole["examples"], half["examples"], quote["varied"]) == (40, 20, ["data_share"])
    for arm in (whole, half):
        price = arm["price"]
        assert 0 < price["low"]["value"] <= price["expected"]["value"] <= price["upper"]["value"]
    assert half["price"]["upper"]["value"] < whole["price"]["upper"]["value"]
    for name in ("low", "expected", "upper"):
        together = sum(arm["price"][name]["value"] for arm in (whole, half))
        assert quote["price"][name]["value"] == pytest.approx(together)
    assert (quote["allowed"], quote["reasons"], quote["budget"]) == (True, [], quote["price"]["upper"])
    assert "no arm will be recommended" in quote["warnings"][0]
    async with experiments.harness.http() as http:
        job_quote = (
            await http.post("/fine_tuning/quotes", json={"model": BASE, "training_file": file_id, **_epochs(2)})
        ).json()
    assert whole["price"] == job_quote["price"]
    made = await experiments.create(**body)
    assert made["budget"] == quote["price"]["upper"]


@pytest.mark.parametrize(
    "arms",
    [
        [{"model": "gpt-4o-mini"}, {"model": BASE}],
        [{"data_share": 0.5}, {"data_share": 1.0, "n_epochs": 3}, {"data_share": 1.0}],
    ],
    ids=["two names of a model", "the epochs that auto means"],
)
async def test_arms_that_would_train_the_same_are_refused(
    experiments: ExperimentHarness, arms: list[dict[str, Any]]
) -> None:
    body: dict[str, Any] = {"model": BASE, "training_file": await experiments.file(40), "arms": arms}
    for path in (PATH, f"{PATH}/quotes"):
        answer = await experiments.post(path, **body)
        assert (answer.status_code, refusal(answer)["code"]) == (400, "conflicting_parameters")
        assert f"Arm {len(arms)} is the same as arm {len(arms) - 1}" in refusal(answer)["message"]


async def test_a_quote_with_a_comparison_includes_its_price_and_says_what_a_budget_leaves_out(
    experiments: ExperimentHarness,
) -> None:
    file_id = await experiments.file(40)
    comparison = {"file": file_id, "graders": [{"type": "judge", "model": "gpt-4.1"}], "max_examples": 5}
    body: dict[str, Any] = {
        "model": BASE,
        "training_file": file_id,
        "grid": {"n_epochs": [2, 3]},
        "comparison": comparison,
    }
    quote = (await experiments.post(f"{PATH}/quotes", **body)).json()
    arms = sum(arm["price"]["upper"]["value"] for arm in quote["arms"])
    assert quote["price"]["upper"]["value"] == pytest.approx(arms + quote["comparison"]["upper"]["value"])
    assert quote["warnings"] == []
    least = min(arm["price"]["upper"]["value"] for arm in quote["arms"])
    some = (await experiments.post(f"{PATH}/quotes", **body, budget=least)).json()
    assert (some["allowed"], "some arms would be skipped" in some["reasons"][0]) == (False, True)
    capped: dict[str, Any] = {**body, "comparison": {**comparison, "budget": 0.001}}
    quote = (await experiments.post(f"{PATH}/quotes", **capped)).json()
    assert quote["comparison"]["upper"]["value"] == pytest.approx(0.001)


def _epochs(count: int) -> dict[str, Any]:
    return {"method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": count}}}}


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"grid": {"n_epochs": [2]}, "budget": 0.000001}, "budget", "budget_too_small"),
        ({"grid": {"data_share": [0.1]}}, "data_share", "invalid_training_file"),
        ({"grid": {"n_epochs": [2]}, "training_file": "file-none"}, "training_file", "file_not_found"),
        ({"grid": {"model": ["gpt-none"]}}, "model", "model_not_found"),
        ({"grid": {"n_epochs": [2]}, "promote": "gpt-4o"}, "promote", "model_alias_name_taken"),
        ({"grid": {"n_epochs": [2]}, "early_stopping": {"rule": "median"}}, "early_stopping", "conflicting_parameters"),
        ({"grid": {"n_epochs": [0]}}, "grid.n_epochs[0]", "invalid_value"),
        (
            {"grid": {"n_epochs": [2]}, "comparison": {"file": "file-none", "graders": [{"type": "exact"}]}},
            "comparison.file",
            "file_not_found",
        ),
        (
            {"grid": {"n_epochs": [2]}, "comparison": {"file": "SELF", "graders": [{"type": "exact"}] * 2}},
            "comparison.graders[1].name",
            "invalid_grader",
        ),
        (
            {
                "grid": {"n_epochs": [2]},
                "comparison": {"file": "SELF", "graders": [{"type": "exact"}], "must_beat": "current"},
            },
            "comparison.must_beat",
            "conflicting_parameters",
        ),
    ],
)
async def test_a_refusal_names_the_field_and_reserves_nothing(
    experiments: ExperimentHarness, body: dict[str, Any], param: str, code: str
) -> None:
    file_id = await experiments.file(20)
    wanted = json.loads(json.dumps({"model": BASE, "training_file": file_id, **body}).replace("SELF", file_id))
    error = refusal(await experiments.post(**wanted))
    assert (error["param"], error["code"]) == (param, code)
    async with experiments.harness.http() as http:
        assert (await http.get(PATH)).json()["data"] == []


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"data_share": [0.5, 1.0]}, "worse by design"),
        ({"model": [BASE, "gpt-3.5-turbo-0125"]}, "different tokenizers"),
    ],
)
async def test_early_stopping_does_not_compare_what_cannot_be_compared(
    experiments: ExperimentHarness, grid: dict[str, Any], words: str
) -> None:
    file_id, validation = await experiments.file(40), await experiments.file(11)
    error = refusal(
        await experiments.post(
            model=BASE,
            training_file=file_id,
            validation_file=validation,
            grid=grid,
            early_stopping={"rule": "median"},
        )
    )
    assert (error["param"], words in error["message"]) == ("early_stopping", True)


async def test_a_repeated_create_makes_one_experiment_with_an_audit_entry(experiments: ExperimentHarness) -> None:
    file_id = await experiments.file()
    body: dict[str, Any] = {
        "model": BASE,
        "training_file": file_id,
        "grid": {"n_epochs": [2, 3]},
        "metadata": {"team": "a"},
    }
    await experiments.post(f"{PATH}/quotes", **body)
    async with experiments.harness.http() as http:
        answers = [await http.post(PATH, json=body, headers={"idempotency-key": "once"}) for _ in range(2)]
        listed = (await http.get(PATH, params={"limit": 1})).json()
    assert answers[0].json() == answers[1].json()
    assert [each["id"] for each in listed["data"]] == [answers[0].json()["id"]]
    assert (listed["has_more"], listed["data"][0]["metadata"]) == (False, {"team": "a"})
    async with experiments.harness.ctx.db.admin() as session:
        query = select(AuditLog).where(AuditLog.resource_id == answers[0].json()["id"])
        [entry] = (await session.scalars(query)).all()
    assert (entry.type, entry.detail["arms"]) == ("experiment.created", 2)


async def test_a_project_has_so_many_experiments_at_a_time(experiments: ExperimentHarness) -> None:
    file_id = await experiments.file()
    first = await experiments.create(training_file=file_id)
    async with experiments.harness.ctx.db.worker() as session:
        row = await session.get_one(Experiment, first["id"])
        columns = {name: getattr(row, name) for name in EXPERIMENT_COLUMNS if name != "id"}
        session.add_all(
            Experiment(id=f"{first['id']}{number}", **columns | ({"due_at": None} if number % 2 else {}))
            for number in range(MAX_UNFINISHED_EXPERIMENTS - 1)
        )  # half of them wait for their comparisons
    body: dict[str, Any] = {"model": BASE, "training_file": file_id, "grid": {"n_epochs": [2]}}
    answer = await experiments.post(**body)
    assert (answer.status_code, refusal(answer)["code"]) == (429, "too_much_unfinished_work")


async def test_files_of_an_unfinished_experiment_cannot_be_deleted(experiments: ExperimentHarness) -> None:
    training, validation, compared = [await experiments.file(count) for count in (40, 11, 12)]
    made = await experiments.create(
        training_file=training,
        validation_file=validation,
        grid={"data_share": [0.5]},
        comparison={"file": compared, "graders": [{"type": "exact"}]},
    )
    await experiments.step(made["id"])
    cut = (await experiments.shown(made["id"]))["arms"][0]["training_file"]
    async with experiments.harness.ctx.db.worker() as session:
        await session.execute(update(File).where(File.id == compared).values(expires_at=func.now()))
    assert await remove_expired_files(experiments.harness.ctx) == 0
    async with experiments.harness.http() as http:
        for file_id in (training, validation, compared, cut):
            error = refusal(await http.delete(f"/files/{file_id}"))
            assert (error["code"], made["id"] in error["message"]) == ("file_in_use", True)
        assert (await experiments.cancel(made["id"])).status_code == 200
        assert (await experiments.until_end(made["id"]))["status"] == "cancelled"
        await experiments.comparisons.check_files()
        for file_id in (training, validation, compared, cut):
            assert (await http.delete(f"/files/{file_id}")).status_code == 200


async def test_an_ended_experiment_cannot_be_cancelled(experiments: ExperimentHarness) -> None:
    made = await experiments.create()
    for job in await experiments.until_started(made["id"], 2):
        await experiments.end_job(job)
    await experiments.until_end(made["id"])
    error = refusal(await experiments.cancel(made["id"]))
    assert error["code"] == "experiment_not_cancellable"


async def test_arms_are_ordinary_jobs_below_the_project_s_others(experiments: ExperimentHarness) -> None:
    made = await experiments.create(suffix="sweep", metadata={"sweep": "1"}, grid={"n_epochs": [1, 2, 3]})
    jobs = await experiments.until_started(made["id"], 2)
    assert len(await experiments.jobs()) == 2, "no more than max_parallel at a time"
    async with experiments.harness.http() as http:
        shown = [(await http.get(f"/fine_tuning/jobs/{job}")).json() for job in jobs]
    assert [job["hyperparameters"]["n_epochs"] for job in shown] == [1, 2]
    assert {(job["suffix"], job["metadata"]["sweep"]) for job in shown} == {("sweep", "1")}
    assert {job.priority for job in await experiments.jobs()} == {-10}
    assert len({job["seed"] for job in shown}) == 1
    assert [job["experiment"] for job in shown] == [{"id": made["id"], "arm": 1}, {"id": made["id"], "arm": 2}]


async def test_archiving_and_deleting_a_project_end_its_experiments(experiments: ExperimentHarness) -> None:
    made = await experiments.create()
    await experiments.until_started(made["id"], 1)
    claimed = await experiments.claim(made["id"])
    assert claimed is not None
    harness = experiments.harness
    async with harness.ctx.db.worker() as session:
        assert await _cancel_work(session, harness.project_id) is not None
    row = await experiments.row(made["id"])
    assert (row.status, row.due_at, row.lease_token) == ("cancelled", None, claimed.token + 1)
    async with harness.ctx.db.worker() as session:
        types = list(await session.scalars(select(WebhookEvent.type).where(WebhookEvent.subject == made["id"])))
        cancelled = await session.scalars(select(Job.cancel_requested_at).where(Job.experiment_id == made["id"]))
        assert all(moment is not None for moment in cancelled)
        await session.execute(update(Project).where(Project.id == harness.project_id).values(status="archived"))
    assert types == ["fine_tuning.experiment.cancelled"]
    await _redact(harness.ctx, Job, harness.project_id, REDACTED_JOB)
    for table in emptied_tables():
        while await _empty_some(harness.ctx, table, harness.project_id):
            pass
    assert [(job.experiment_id, job.experiment_arm) for job in await experiments.jobs()] == [(None, None)] * 2


async def test_another_project_s_experiment_is_none(experiments: ExperimentHarness) -> None:
    made = await experiments.create()
    tenant = experiments.harness.tenant
    other = await make_tenant(tenant.base_url, tenant.database_url)
    async with experiments.harness.http(other) as http:
        for answer in (await http.get(f"{PATH}/{made['id']}"), await http.post(f"{PATH}/{made['id']}/cancel")):
            assert (answer.status_code, refusal(answer)["code"]) == (404, "experiment_not_found")
        assert (await http.get(PATH)).json()["data"] == []
    body: dict[str, Any] = {"model": BASE, "training_file": made["training_file"], "grid": {"n_epochs": [2]}}
    assert refusal(await experiments.post(tenant=other, **body))["code"] == "file_not_found"
