"""A deleted model is gone for its callers at once, and upstream as soon as nothing trains from it."""

import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, update

from service.database.tables import AuditLog, CheckpointPermission, Job, Model, Run
from service.ids import new_id
from service.runs.actions import NewRun, create_run
from tests.deletions.factories import carry_out_all, carry_out_due, deletions, new_project, statuses, trained
from tests.deletions.served import served
from tests.faults.control import DELETE_MODEL, error
from tests.wire import refusal
from tests.workers.harness import WorkerHarness

CHECKPOINT = {
    "id": "ftckpt-up1",
    "object": "fine_tuning.job.checkpoint",
    "created_at": 1,
    "step_number": 2,
    "fine_tuned_model_checkpoint": "ft:gpt-4o-mini:org-upstream::one:ckpt-step-2",
    "fine_tuning_job_id": "ftjob-up1",
    "metrics": {"step": 2},
}


async def delete_model(harness: WorkerHarness, name: str) -> httpx2.Response:
    async with served(harness) as http:
        return await http.delete(f"/models/{name}")


async def model_of(harness: WorkerHarness) -> str:
    """A tuned model with a checkpoint: its name."""
    job_id = await harness.new_job()
    await harness.until(job_id, "running")
    upstream_id = (await harness.job(job_id)).upstream_job_id
    harness.upstream.put_job(id=upstream_id, _checkpoints=[CHECKPOINT])
    job = await harness.until_end(job_id)
    assert job.fine_tuned_model is not None
    return job.fine_tuned_model


async def test_the_upstream_s_model_and_its_checkpoints_go_too(harness: WorkerHarness) -> None:
    name = await model_of(harness)
    async with harness.ctx.db.worker() as session:
        theirs = set(await session.scalars(select(Model.upstream_name)))
    assert len(theirs) == 2
    answer = await delete_model(harness, name)
    assert (answer.status_code, answer.json()["deleted"]) == (200, True)
    assert harness.upstream.gone_models() == []
    await carry_out_all(harness)
    assert set(harness.upstream.gone_models()) == theirs
    assert await statuses(harness, "upstream_model") == ["done", "done"]
    async with harness.ctx.db.admin() as session:
        entries = await session.scalars(select(AuditLog.resource_id).where(AuditLog.type == "resource.deleted"))
        assert set(entries) == {name, f"{name}:ckpt-step-2"}
    assert (await delete_model(harness, name)).status_code == 404


@pytest.mark.parametrize("answer", ["reset", "hang", error(500), error(403)], ids=str)
@pytest.mark.parametrize("made", [True, False])
async def test_a_lost_answer_or_a_refusal_is_tried_again(
    impatient_harness: WorkerHarness, answer: object, made: bool
) -> None:
    job = await trained(impatient_harness)
    impatient_harness.upstream.fault(DELETE_MODEL, answer, made=made)
    await delete_model(impatient_harness, job.fine_tuned_model or "")
    await carry_out_due(impatient_harness)
    (row,) = await deletions(impatient_harness, "upstream_model")
    assert (row.status, row.failures) == ("pending", 1)
    await carry_out_all(impatient_harness)
    assert len(impatient_harness.upstream.gone_models()) == 1


async def test_not_while_a_job_trains_from_it(harness: WorkerHarness) -> None:
    name = (await trained(harness)).fine_tuned_model or ""
    harness.upstream.steps("running")
    following = await create_from(harness, name)
    answer = await delete_model(harness, name)
    assert (answer.status_code, refusal(answer)["code"]) == (409, "model_in_use")
    assert following in answer.text
    assert answer.headers["x-should-retry"] == "false"
    async with served(harness) as http:
        assert (await http.get(f"/models/{name}")).status_code == 200
        await harness.request_cancel(following)
        await harness.until_end(following)
        assert (await http.delete(f"/models/{name}")).status_code == 200


async def test_a_job_of_another_project_that_trains_from_it_is_waited_for(harness: WorkerHarness) -> None:
    """It was granted, and its owner cannot see who uses it."""
    job = await trained(harness)
    other = await new_project(harness)
    theirs = await other.new_job()
    async with harness.ctx.db.worker() as session:
        upstream_name = await session.scalar(select(Model.upstream_name).where(Model.name == job.fine_tuned_model))
        await session.execute(update(Job).where(Job.id == theirs).values(upstream_model=upstream_name))
    assert (await delete_model(harness, job.fine_tuned_model or "")).status_code == 200
    for _ in range(3):
        await carry_out_due(harness)
    (row,) = await deletions(harness, "upstream_model")
    assert (row.status, row.failures, row.last_error) == ("pending", 0, "A job trains from it.")
    assert harness.upstream.gone_models() == []
    await other.request_cancel(theirs)
    await other.until_end(theirs)
    await carry_out_all(harness)
    assert harness.upstream.gone_models() == [upstream_name]


async def test_what_depends_on_it_is_said_before(harness: WorkerHarness) -> None:
    name = await model_of(harness)
    harness.upstream.steps("running")
    following = await create_from(harness, f"{name}:ckpt-step-2")
    run_id = await running(harness, {"models": [{"asked": "answers", "model": f"{name}:ckpt-step-2"}]})
    other = await new_project(harness)
    await grant(other, name)
    async with served(harness) as http:
        for alias, model in (("answers", f"{name}:ckpt-step-2"), ("support", name)):
            assert (await http.post("/model_aliases", json={"name": alias, "model": model})).status_code == 200
        reported = (await http.get(f"/models/{name}/dependents")).json()
        assert (reported["object"], reported["model"], reported["deletable"]) == ("model.dependents", name, False)
        assert reported["checkpoints"] == [f"{name}:ckpt-step-2"]
        assert reported["aliases"] == ["answers", "support"]
        assert (reported["jobs"], reported["runs"], reported["granted_projects"]) == ([following], [run_id], 1)
        refused = await http.delete(f"/models/{name}", params={"force": "true"})
        assert (refused.status_code, refusal(refused)["code"]) == (409, "model_in_use")
        assert refused.headers["x-should-retry"] == "false"
        for each in ("answers", "support", following, run_id):
            assert each in refused.text
        assert "Permissions" not in refused.text
        assert "Permissions let another project use it" in reported["reason"]
        assert other.project_id not in json.dumps(reported)
        for path in ("/models/gpt-4o-mini/dependents", "/models/ft:none/dependents"):
            answer = await http.get(path)
            assert refusal(answer)["code"] == ("model_not_found" if "none" in path else "model_not_deletable")
    async with served(other) as http:
        assert refusal(await http.get(f"/models/{name}/dependents"))["code"] == "model_not_found"


async def test_a_run_that_has_ended_and_one_of_other_models_are_no_hindrance(harness: WorkerHarness) -> None:
    name = (await trained(harness)).fine_tuned_model or ""
    await running(harness, {"models": [{"model": f"{name}x"}], "prompt": f"Say {name}."})
    ended = await running(harness, {"models": [{"model": name}]})
    async with harness.ctx.db.worker() as session:
        done = {"status": "cancelled", "finished_at": func.now(), "due_at": None}
        await session.execute(update(Run).where(Run.id == ended).values(**done))
    async with served(harness) as http:
        reported = (await http.get(f"/models/{name}/dependents")).json()
        assert (reported["deletable"], reported["reason"], reported["runs"]) == (True, None, [])
    assert (await delete_model(harness, name)).status_code == 200


@pytest.mark.parametrize("checkpoint", [False, True])
async def test_one_that_was_granted_goes_by_force_only(harness: WorkerHarness, checkpoint: bool) -> None:
    name = await model_of(harness)
    await grant(await new_project(harness), f"{name}:ckpt-step-2" if checkpoint else name)
    refused = await delete_model(harness, name)
    assert (refused.status_code, refusal(refused)["code"]) == (409, "model_in_use")
    assert "force=true" in refused.text
    async with served(harness) as http:
        assert (await http.get(f"/models/{name}")).status_code == 200
        assert refusal(await http.delete(f"/models/{name}", params={"force": "maybe"}))["param"] == "force"
        assert (await http.delete(f"/models/{name}", params={"force": "true"})).status_code == 200
        assert (await http.get(f"/models/{name}")).status_code == 404


async def running(harness: WorkerHarness, options: dict[str, Any]) -> str:
    """A run that has not ended, with these options: its id."""
    async with harness.ctx.db.project(harness.project_id) as session:
        new = NewRun(kind="comparison", api_key_id="key_1", options=options, concurrency=1, budget_micros=1, total=1)
        return (await create_run(session, harness.project_id, new)).id


async def grant(harness: WorkerHarness, name: str) -> None:
    """Let a project use another one's model."""
    async with harness.ctx.db.admin() as session:
        session.add(CheckpointPermission(id=new_id("cp_"), project_id=harness.project_id, model=name))


async def create_from(harness: WorkerHarness, name: str) -> str:
    """A job that goes on from a tuned model: its id."""
    async with served(harness) as http:
        body = {"model": name, "training_file": await harness.new_file()}
        answer = await http.post("/fine_tuning/jobs", json=body)
        assert answer.status_code == 200, answer.text
        job_id: str = answer.json()["id"]
        return job_id
