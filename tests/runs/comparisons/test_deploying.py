"""`deploy.comparison` of a job's create: the alias takes the model only when the comparison passes."""

import asyncio
import datetime as dt
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from service.database import leases
from service.database.tables import Deployment, Job, Model, UpstreamAccount
from service.ids import new_id
from service.jobs.deployment import why_not
from service.runs.comparisons.grading import ComparisonOutcome, JudgeFigures, ModelFigures
from service.runs.comparisons.options import Condition
from service.runs.comparisons.statistics import Estimate
from service.upstreams.accounts import DEFAULT_ACCOUNT
from tests.runs.comparisons.harness import ComparisonHarness, answering, capitals
from tests.wire import refusal
from workers.jobs.deploy import MAX_WAIT_HOURS, advance_deployment
from workers.maintenance.deployments import adopt_deployments

BASE = "gpt-4o-mini-2024-07-18"
BETTER = answering({0: lambda line: line % 3 == 0, 1: lambda line: line % 4 != 0})
WORSE = answering({0: lambda line: line % 4 != 0, 1: lambda line: line % 3 == 0})


def found(score: float, difference: float | None, low: float | None = None) -> ComparisonOutcome:
    """An outcome of which only the last model's figures matter."""
    figures = ModelFigures(
        score=Estimate(value=score, low=None, high=None),
        difference=None if difference is None else Estimate(value=difference, low=low, high=1.0),
        wins=None, graders={}, refused=0, cut=0, input_tokens=0, output_tokens=0, cost_micros=0,
    )  # fmt: skip
    judges = JudgeFigures(calls=0, input_tokens=0, output_tokens=0, cost_micros=0)
    return ComparisonOutcome(cases=9, models=[figures], judges=judges)


@pytest.mark.parametrize(
    ("outcome", "condition", "words"),
    [
        (found(0.8, 0.2, 0.1), {}, None),
        (found(0.8, 0.0, -0.1), {}, "no better"),
        (found(0.8, -0.1, -0.2), {}, "0.800 against 0.900 of base"),
        (found(0.8, 0.2, -0.1), {"sure": True}, "may be chance"),
        (found(0.8, 0.2, 0.1), {"sure": True}, None),
        (found(0.8, 0.2, 0.1), {"least_score": 0.9}, "below 0.900"),
        (found(0.9, 0.2, 0.1), {"least_score": 0.9}, None),
    ],
)
def test_the_verdict(outcome: ComparisonOutcome, condition: dict[str, Any], words: str | None) -> None:
    said = why_not(outcome, Condition(job_id="ftjob-1", **condition), reference="base")
    assert said is None if words is None else words in (said or "")


def test_without_another_model_the_score_alone_decides() -> None:
    assert why_not(found(0.9, None), Condition(job_id="j", least_score=0.5), reference=None) is None
    assert why_not(found(0.4, None), Condition(job_id="j", least_score=0.5), reference=None) is not None


async def trained(comparisons: ComparisonHarness, **comparison: Any) -> tuple[str, str]:
    """A job with `deploy.comparison` that has just succeeded: its id and its model."""
    harness = comparisons.harness
    file_id = await comparisons.file()
    wanted = {"file": file_id, "graders": [{"type": "exact"}], **comparison}
    async with harness.http() as http:
        body = {"model": BASE, "training_file": file_id, "deploy": {"alias": "support", "comparison": wanted}}
        answer = await http.post("/fine_tuning/jobs", json=body)
    assert answer.status_code == 200, answer.text
    job_id = answer.json()["id"]
    model = f"ft:{BASE}:tunegate::{new_id('')}"
    async with harness.ctx.db.worker() as session:
        session.add(
            Model(
                name=model,
                project_id=harness.project_id,
                job_id=job_id,
                kind="model",
                base_model=BASE,
                account_id=DEFAULT_ACCOUNT,
                upstream_name=f"up-{model}",
            )
        )
        ended = {"state": "succeeded", "finished_at": func.now(), "due_at": None, "fine_tuned_model": model}
        await session.execute(update(Job).where(Job.id == job_id).values(deploy_status="comparing", **ended))
        session.add(Deployment(id=job_id, project_id=harness.project_id, due_at=func.now()))
    return job_id, model


async def advance_due(comparisons: ComparisonHarness) -> int:
    """The steps of the project's deployments that are due now; how many there were."""
    ctx, mine = comparisons.harness.ctx, Deployment.project_id == comparisons.harness.project_id
    async with ctx.db.worker() as session:
        claims = await leases.claim(session, Deployment, lease_seconds=60, limit=100, where=[mine])
    for claimed in claims:
        await advance_deployment(ctx, claimed)
    return len(claims)


async def deployment(comparisons: ComparisonHarness, job_id: str) -> dict[str, Any]:
    """What became of it."""
    async with comparisons.harness.http() as http:
        reported: dict[str, Any] = (await http.get(f"/fine_tuning/jobs/{job_id}/timeline")).json()["deploy"]
    return reported


async def events(comparisons: ComparisonHarness, job_id: str) -> list[str]:
    """What the job tells."""
    async with comparisons.harness.http() as http:
        listed = (await http.get(f"/fine_tuning/jobs/{job_id}/events", params={"limit": 50})).json()["data"]
    return [event["message"] for event in listed]


async def decided(comparisons: ComparisonHarness, job_id: str) -> dict[str, Any]:
    """It, worked on until it is decided."""
    while (reported := await deployment(comparisons, job_id))["status"] == "comparing":
        await comparisons.check_files()
        await advance_due(comparisons)
        comparison = (await deployment(comparisons, job_id))["comparison"]
        if comparison is not None:
            await comparisons.ended(comparison)
    return reported


async def alias_of(comparisons: ComparisonHarness) -> str | None:
    async with comparisons.harness.http() as http:
        answer = await http.get("/model_aliases/support")
    model: str | None = answer.json().get("model")
    return model


async def test_one_that_beats_the_base_model_takes_the_alias(comparisons: ComparisonHarness) -> None:
    comparisons.harness.upstream.script = BETTER
    job_id, model = await trained(comparisons)
    assert (await deployment(comparisons, job_id))["status"] == "comparing"
    reported = await decided(comparisons, job_id)
    assert (reported["status"], reported["reason"]) == ("deployed", None)
    assert await alias_of(comparisons) == model
    shown = await comparisons.shown(reported["comparison"])
    assert (shown["models"], shown["fine_tuning_job"]) == ([BASE, model], job_id)
    said = await events(comparisons, job_id)
    assert said[0] == "The comparison passed, and the alias support points at the model now"
    assert said[1] == f"Comparing the model with {BASE}: {reported['comparison']}"


async def test_one_that_does_not_leaves_it_as_it_was(comparisons: ComparisonHarness) -> None:
    comparisons.harness.upstream.script = WORSE
    async with comparisons.harness.http() as http:
        await http.post("/model_aliases", json={"name": "support", "model": "gpt-4o"})
    job_id, _ = await trained(comparisons, must_beat="current")
    reported = await decided(comparisons, job_id)
    assert reported["status"] == "refused"
    assert "0.333 against 0.750 of gpt-4o is no better" in reported["reason"]
    assert await alias_of(comparisons) == "gpt-4o"
    assert reported["reason"] in (await events(comparisons, job_id))[0]
    assert (await comparisons.shown(reported["comparison"]))["status"] == "succeeded"


async def test_one_that_beat_what_the_alias_no_longer_is_waits_for_nobody(comparisons: ComparisonHarness) -> None:
    comparisons.harness.upstream.script = BETTER
    async with comparisons.harness.http() as http:
        await http.post("/model_aliases", json={"name": "support", "model": "gpt-4o"})
        job_id, _ = await trained(comparisons, must_beat="current")
        await advance_due(comparisons)
        await http.post("/model_aliases/support/promote", json={"model": "gpt-4.1"})
    reported = await decided(comparisons, job_id)
    assert (reported["status"], await alias_of(comparisons)) == ("refused", "gpt-4.1")
    assert "promoted to gpt-4.1 meanwhile" in reported["reason"]


async def test_a_cancelled_comparison_deploys_nothing(comparisons: ComparisonHarness) -> None:
    job_id, _ = await trained(comparisons)
    await advance_due(comparisons)
    comparison = (await deployment(comparisons, job_id))["comparison"]
    async with comparisons.harness.http() as http:
        assert (await http.post(f"/model_comparisons/{comparison}/cancel")).status_code == 200
    reported = await decided(comparisons, job_id)
    assert (reported["status"], reported["reason"]) == ("refused", "The comparison was cancelled.")
    assert await alias_of(comparisons) is None


async def test_what_cannot_be_compared_is_a_refusal_with_the_reason(comparisons: ComparisonHarness) -> None:
    job_id, _ = await trained(comparisons, graders=[{"type": "judge", "model": "nobody"}])
    reported = await decided(comparisons, job_id)
    assert (reported["status"], reported["comparison"]) == ("refused", None)
    assert "'nobody' does not exist" in reported["reason"]


async def test_workers_beside_each_other_begin_and_decide_once(comparisons: ComparisonHarness) -> None:
    comparisons.harness.upstream.script = BETTER
    job_id, model = await trained(comparisons)
    for _ in range(2):
        await asyncio.gather(*(advance_due(comparisons) for _ in range(4)))
        comparison = (await deployment(comparisons, job_id))["comparison"]
        await comparisons.ended(comparison)
    assert (await deployment(comparisons, job_id))["status"] == "deployed"
    async with comparisons.harness.http() as http:
        assert len((await http.get("/model_comparisons")).json()["data"]) == 1
        history = (await http.get("/model_aliases/support/history")).json()["data"]
    assert [(each["action"], each["model"]) for each in history] == [("deployed", model)]
    assert len([message for message in await events(comparisons, job_id) if "Comparing" in message]) == 1


async def test_a_running_comparison_is_not_polled_and_its_end_makes_the_deployment_due(
    comparisons: ComparisonHarness,
) -> None:
    job_id, _ = await trained(comparisons)
    await comparisons.check_files()
    assert await advance_due(comparisons) == 1
    comparison = (await deployment(comparisons, job_id))["comparison"]
    assert await advance_due(comparisons) == 0
    await comparisons.ended(comparison)
    assert await advance_due(comparisons) == 1
    assert (await deployment(comparisons, job_id))["status"] != "comparing"
    assert await advance_due(comparisons) == 0


async def test_one_whose_credential_is_unusable_is_attempted_again_and_delays_no_other(
    comparisons: ComparisonHarness,
) -> None:
    comparisons.harness.upstream.script = BETTER
    broken, model = await trained(comparisons)
    well, _ = await trained(comparisons)
    await comparisons.check_files()
    account_id = new_id("acct_")
    async with comparisons.harness.ctx.db.worker() as session:
        session.add(
            UpstreamAccount(id=account_id, kind="openai", base_url="https://a.example/v1", credential_sealed=b"broken")
        )
        await session.flush()
        await session.execute(update(Model).where(Model.name == model).values(account_id=account_id))
    assert await advance_due(comparisons) == 2
    reported = await deployment(comparisons, broken)
    assert (reported["status"], reported["comparison"]) == ("comparing", None)
    assert "cannot be used now" in reported["reason"]
    assert reported["reason"] in (await events(comparisons, broken))[0]
    assert (await deployment(comparisons, well))["comparison"] is not None
    assert await advance_due(comparisons) == 0  # not before its pause is over
    async with comparisons.harness.ctx.db.worker() as session:
        row = await session.get_one(Deployment, broken)
        assert (row.failures, row.due_at is None) == (1, False)
        await session.execute(update(Model).where(Model.name == model).values(account_id=DEFAULT_ACCOUNT))
        await session.execute(update(Deployment).where(Deployment.id == broken).values(due_at=func.now()))
    assert await advance_due(comparisons) == 1
    reported = await deployment(comparisons, broken)
    assert (reported["reason"], reported["comparison"] is None) == (None, False)


async def test_one_that_cannot_be_compared_for_a_day_is_refused(comparisons: ComparisonHarness) -> None:
    job_id, model = await trained(comparisons)
    await comparisons.check_files()
    account_id = new_id("acct_")
    async with comparisons.harness.ctx.db.worker() as session:
        session.add(
            UpstreamAccount(id=account_id, kind="openai", base_url="https://a.example/v1", credential_sealed=b"broken")
        )
        await session.flush()
        await session.execute(update(Model).where(Model.name == model).values(account_id=account_id))
        long_ago = func.now() - dt.timedelta(hours=MAX_WAIT_HOURS, minutes=1)
        await session.execute(update(Deployment).where(Deployment.id == job_id).values(created_at=long_ago))
    assert await advance_due(comparisons) == 1
    reported = await deployment(comparisons, job_id)
    assert reported["status"] == "refused"
    assert "for 24 hours: The upstream that serves this model cannot be used" in reported["reason"]


async def test_what_a_worker_of_an_earlier_version_began_or_ended_is_adopted(comparisons: ComparisonHarness) -> None:
    db = comparisons.harness.ctx.db
    job_id, _ = await trained(comparisons)
    await comparisons.check_files()
    async with db.worker() as session:
        await session.execute(delete(Deployment).where(Deployment.id == job_id))
    assert await adopt_deployments(db) >= 1
    assert await advance_due(comparisons) == 1
    await comparisons.ended((await deployment(comparisons, job_id))["comparison"])
    async with db.worker() as session:
        await session.execute(update(Deployment).where(Deployment.id == job_id).values(due_at=None))
    assert await adopt_deployments(db) >= 1
    assert await advance_due(comparisons) == 1
    assert (await deployment(comparisons, job_id))["status"] != "comparing"


async def test_its_file_is_kept_until_then(comparisons: ComparisonHarness) -> None:
    job_id, _ = await trained(comparisons, file=(kept := await comparisons.file(capitals(11))))
    async with comparisons.harness.http() as http:
        refused = await http.delete(f"/files/{kept}")
        assert (refused.status_code, refusal(refused)["code"]) == (409, "file_in_use")
        assert job_id in refused.text
        comparisons.harness.upstream.script = WORSE
        await decided(comparisons, job_id)
        assert (await http.delete(f"/files/{kept}")).status_code == 200


@pytest.mark.parametrize(
    ("comparison", "code", "param"),
    [
        ({"file": "file-none"}, "file_not_found", "deploy.comparison.file"),
        ({"graders": [{"type": "exact"}] * 2}, "invalid_grader", "deploy.comparison.graders[1].name"),
        ({"graders": []}, "invalid_value", "deploy.comparison.graders"),
        ({"must_beat": None}, "missing_required_parameter", "deploy.comparison.must_beat"),
        (
            {"must_beat": None, "least_score": 0.5, "sure": True},
            "conflicting_parameters",
            "deploy.comparison.must_beat",
        ),
        ({"must_beat": "rivals"}, "invalid_value", "deploy.comparison.must_beat"),
        ({"least_score": 2}, "invalid_value", "deploy.comparison.least_score"),
    ],
)
async def test_what_makes_no_sense_is_refused_at_the_create(
    comparisons: ComparisonHarness, comparison: dict[str, Any], code: str, param: str
) -> None:
    file_id = await comparisons.file()
    wanted = {"file": file_id, "graders": [{"type": "exact"}], **comparison}
    async with comparisons.harness.http() as http:
        body = {"model": BASE, "training_file": file_id, "deploy": {"alias": "support", "comparison": wanted}}
        answer = await http.post("/fine_tuning/jobs", json=body)
        error = refusal(answer)
        assert (answer.status_code, error["code"], error["param"]) == (400, code, param)
    async with comparisons.harness.ctx.db.worker() as session:
        jobs = select(func.count()).select_from(Job).where(Job.project_id == comparisons.harness.project_id)
        assert await session.scalar(jobs) == 0
