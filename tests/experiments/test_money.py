"""One budget for all arms: the ledger's reservations decide, also between workers that both act on a lease."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from service.database.leases import LeaseLost
from service.database.tables import Experiment
from service.experiments.queries import read_full
from tests.experiments.harness import ExperimentHarness
from workers.experiments.arms import Started, start_arm

DOLLAR = 1_000_000


async def uppers(experiments: ExperimentHarness, file_id: str, **body: Any) -> list[int]:
    """The upper prices of the arms, in micro-dollars."""
    quote = (await experiments.post("/fine_tuning/experiments/quotes", **_body(file_id, body))).json()
    return [round(arm["price"]["upper"]["value"] * DOLLAR) for arm in quote["arms"]]


def _body(file_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "training_file": file_id, "grid": {"n_epochs": [2, 3, 4]}, **body}


async def test_arms_start_only_while_the_budget_has_room_and_the_rest_waits_for_it(
    experiments: ExperimentHarness,
) -> None:
    file_id = await experiments.file()
    first, second, third = await uppers(experiments, file_id)
    budget = first + second + third - 1
    made = await experiments.create(**_body(file_id, {"budget": budget / DOLLAR, "max_parallel": 3}))
    jobs = await experiments.until_started(made["id"], 2)
    waiting = await experiments.step(made["id"])
    assert len(await experiments.jobs()) == 2
    assert "leaves no room" in waiting["waiting_reason"]
    assert waiting["reserved"]["value"] == pytest.approx((first + second) / DOLLAR)
    assert await experiments.reserved_micros() == first + second
    await experiments.end_job(jobs[0], cost_micros=first // 2)
    shown = await experiments.step(made["id"])
    assert [arm["status"] for arm in shown["arms"]][2] != "pending"
    assert shown["cost"]["value"] + shown["reserved"]["value"] <= budget / DOLLAR
    assert await experiments.reserved_micros() == second + third


async def test_an_arm_that_never_fits_is_skipped_once_nothing_can_make_room(experiments: ExperimentHarness) -> None:
    file_id = await experiments.file()
    first, second, _ = await uppers(experiments, file_id)
    budget = {"budget": (first + second // 2) / DOLLAR, "max_parallel": 3}
    made = await experiments.create(**_body(file_id, budget))
    [job] = await experiments.until_started(made["id"], 1)
    await experiments.end_job(job, cost_micros=first)
    done = await experiments.until_end(made["id"])
    assert [arm["status"] for arm in done["arms"]] == ["succeeded", "skipped", "skipped"]
    assert all("leaves no room for its upper price" in arm["reason"] for arm in done["arms"][1:])
    assert (done["status"], done["cost"]["value"]) == ("succeeded", pytest.approx(first / DOLLAR))


async def test_the_project_s_monthly_budget_skips_an_arm_as_well(experiments: ExperimentHarness) -> None:
    file_id = await experiments.file()
    first, _, _ = await uppers(experiments, file_id)
    await experiments.harness.limit(first)
    made = await experiments.create(**_body(file_id, {"max_parallel": 3}))
    [job] = await experiments.until_started(made["id"], 1)
    assert "monthly budget" in (await experiments.step(made["id"]))["waiting_reason"]
    await experiments.end_job(job, cost_micros=first)
    done = await experiments.until_end(made["id"])
    assert [arm["status"] for arm in done["arms"]] == ["succeeded", "skipped", "skipped"]


async def test_competing_workers_never_exceed_the_budget_nor_create_an_arm_twice(
    experiments: ExperimentHarness,
) -> None:
    """Both start arms at the same time: the one with the lease, and one whose lease is over but that does not know."""
    file_id = await experiments.file()
    first, second, _ = await uppers(experiments, file_id)
    body = {"budget": (first + second) / DOLLAR, "max_parallel": 3}
    made = await experiments.create(**_body(file_id, body))
    ctx = experiments.harness.ctx
    stale = await experiments.claim(made["id"])
    assert stale is not None
    await _end_lease(experiments, made["id"])
    current = await experiments.claim(made["id"])
    assert current is not None
    async with ctx.db.worker() as session:
        [full] = await read_full(session, [await experiments.row(made["id"])])
    outcomes = await asyncio.gather(
        *(start_arm(ctx, claim, full, arm) for claim in (stale, current) for arm in full.arms), return_exceptions=True
    )
    assert [isinstance(each, LeaseLost) or type(each).__name__ for each in outcomes].count(True) >= 1
    assert sum(isinstance(each, Started) for each in outcomes) >= 2
    jobs = await experiments.jobs()
    assert sorted(job.experiment_arm or 0 for job in jobs) == sorted({job.experiment_arm or 0 for job in jobs})
    assert 0 < await experiments.reserved_micros() <= first + second
    shown = await experiments.shown(made["id"])
    assert {arm["job"] for arm in shown["arms"] if arm["job"]} == {job.id for job in jobs}


async def _end_lease(experiments: ExperimentHarness, experiment_id: str) -> None:
    async with experiments.harness.ctx.db.worker() as session:
        await session.execute(update(Experiment).where(Experiment.id == experiment_id).values(leased_until=None))
