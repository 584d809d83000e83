"""Arms that fall behind are cancelled by the rule that the caller chose, and their jobs cost what they have trained."""

from typing import Any

from tests.experiments.harness import ExperimentHarness

RULE = {"rule": "median", "after": 0.3, "min_arms": 3}


async def falling_behind(experiments: ExperimentHarness, **body: Any) -> tuple[dict[str, Any], list[str]]:
    """Four arms that have trained for a half, the last one with a much higher loss; the experiment and the jobs."""
    made = await experiments.create(
        validation_file=await experiments.file(11),
        grid={"n_epochs": [1, 2, 3, 4]},
        max_parallel=4,
        early_stopping=RULE,
        **body,
    )
    jobs = await experiments.until_started(made["id"], 4)
    for job, level in zip(jobs, (1.0, 1.01, 1.005, 3.0), strict=True):
        await experiments.train(job, [level + 0.01 * (step % 3) for step in range(50)])
    return made, jobs


async def test_an_arm_above_the_median_is_cancelled_and_the_others_train_on(experiments: ExperimentHarness) -> None:
    made, jobs = await falling_behind(experiments)
    shown = await experiments.step(made["id"])
    assert [arm["stopped_early"] for arm in shown["arms"]] == [False, False, False, True]
    assert "above the median" in shown["arms"][3]["reason"]
    assert shown["early_stopping"] == RULE
    cancelled = [job.id for job in await experiments.jobs() if job.cancel_requested_at is not None]
    assert cancelled == [jobs[3]]
    await experiments.end_job(jobs[3], state="cancelled", cost_micros=7)
    for job in jobs[:3]:
        await experiments.end_job(job, valid_loss=1.0, cost_micros=10)
    done = await experiments.until_end(made["id"])
    assert (done["status"], done["arms"][3]["status"]) == ("succeeded", "cancelled")
    assert 4 not in (done["recommended"]["arm"], *done["recommended"]["tied"])
    assert round(done["cost"]["value"] * 1_000_000) == 37


async def test_without_a_rule_no_arm_is_stopped(experiments: ExperimentHarness) -> None:
    made = await experiments.create(grid={"n_epochs": [1, 2, 3, 4]}, max_parallel=4)
    for job, level in zip(await experiments.until_started(made["id"], 4), (1.0, 1.01, 1.005, 3.0), strict=True):
        await experiments.train(job, [level] * 50)
    await experiments.step(made["id"])
    assert all(job.cancel_requested_at is None for job in await experiments.jobs())
