"""How an experiment ends: its table, the arm that it recommends, the comparison, the promotion, and more data."""

from typing import Any

import pytest

from tests.experiments.harness import BASE, ExperimentHarness
from tests.runs.comparisons.harness import answering

GOOD = answering({0: lambda line: line % 4 == 0, 1: lambda line: line % 4 != 0, 2: lambda line: line % 2 == 0})
BAD = answering({0: lambda line: line % 4 != 0, 1: lambda line: line % 4 == 0, 2: lambda line: line % 4 == 0})
COMPARISON = {"graders": [{"type": "exact"}], "max_examples": 12}


async def trained(experiments: ExperimentHarness, losses: list[float | None], **body: Any) -> dict[str, Any]:
    """An experiment whose arms have succeeded with these validation losses."""
    file_id = await experiments.file()
    made = await experiments.create(
        training_file=file_id,
        grid={"n_epochs": list(range(1, len(losses) + 1))},
        max_parallel=len(losses),
        **body,
    )
    for job, loss in zip(await experiments.until_started(made["id"], len(losses)), losses, strict=True):
        await experiments.end_job(job, valid_loss=loss, cost_micros=100)
    return made


async def alias(experiments: ExperimentHarness) -> str | None:
    """The model of the alias."""
    async with experiments.harness.http() as http:
        model: str | None = (await http.get("/model_aliases/support")).json().get("model")
    return model


async def test_the_lowest_validation_loss_is_recommended_and_promoted(experiments: ExperimentHarness) -> None:
    made = await trained(experiments, [1.5, 0.9, 1.2], promote="support")
    done = await experiments.until_end(made["id"])
    assert done["status"] == "succeeded"
    recommended = done["recommended"]
    assert (recommended["arm"], recommended["tied"]) == (2, [])
    assert recommended["model"] == done["arms"][1]["fine_tuned_model"] == await alias(experiments)
    assert done["promotion"] == {"alias": "support", "status": "promoted", "reason": None}
    assert [arm["metrics_summary"]["valid_loss"]["final"] for arm in done["arms"]] == [1.5, 0.9, 1.2]
    assert done["cost"]["value"] == pytest.approx(0.0003)
    assert await experiments.events(made["id"]) == ["fine_tuning.experiment.succeeded"]
    async with experiments.harness.http() as http:
        [step] = (await http.get("/model_aliases/support/history")).json()["data"]
    assert step["by"]["id"] == done["arms"][1]["job"] or done["arms"][1]["job"] in str(step["by"])


async def test_nothing_is_promoted_without_anything_to_decide_by(experiments: ExperimentHarness) -> None:
    made = await trained(experiments, [None, None], promote="support")
    done = await experiments.until_end(made["id"])
    assert (done["recommended"]["arm"], done["promotion"]["status"]) == (None, "refused")
    assert "validation_file" in done["promotion"]["reason"]
    assert await alias(experiments) is None


async def test_the_comparison_decides_over_the_losses_and_promotes_what_beats_the_base(
    experiments: ExperimentHarness,
) -> None:
    """Models are compared in the order of their losses: the second one of the comparison is arm 2."""
    experiments.harness.upstream.script = GOOD
    file_id = await experiments.file(12)
    made = await trained(experiments, [1.2, 0.9], promote="support", comparison={"file": file_id, **COMPARISON})
    done = await experiments.until_end(made["id"])
    assert (done["comparison"]["status"], done["comparison"]["base_model"]) == ("succeeded", BASE)
    scores = [arm["score"]["value"] for arm in done["arms"]]
    assert done["recommended"]["arm"] == 2
    assert scores[1] > scores[0] > done["comparison"]["base"]["value"]
    assert all(arm["score"]["low"] <= arm["score"]["value"] <= arm["score"]["high"] for arm in done["arms"])
    assert done["promotion"]["status"] == "promoted"
    assert await alias(experiments) == done["arms"][1]["fine_tuned_model"]
    assert done["cost"]["value"] <= done["budget"]["value"]


@pytest.mark.parametrize(
    ("script", "comparison", "words"),
    [
        (BAD, {}, "is no better"),
        (GOOD, {"least_score": 0.99}, "below 0.990"),
        (GOOD, {"budget": 0.000001}, "has failed"),
    ],
)
async def test_nothing_is_promoted_unless_its_comparison_passes(
    experiments: ExperimentHarness, script: Any, comparison: dict[str, Any], words: str
) -> None:
    experiments.harness.upstream.script = script
    file_id = await experiments.file(12)
    wanted = {"file": file_id, **COMPARISON, **comparison}
    made = await trained(experiments, [1.2, 0.9], promote="support", comparison=wanted)
    done = await experiments.until_end(made["id"])
    assert (done["status"], done["promotion"]["status"]) == ("succeeded", "refused")
    assert words in done["promotion"]["reason"]
    assert await alias(experiments) is None


async def test_a_comparison_without_money_left_does_not_begin(experiments: ExperimentHarness) -> None:
    file_id = await experiments.file(12)
    body: dict[str, Any] = {"model": BASE, "training_file": file_id, "grid": {"n_epochs": [1]}}
    quote = (await experiments.post("/fine_tuning/experiments/quotes", **body)).json()
    upper = quote["arms"][0]["price"]["upper"]["value"]
    comparison = {"file": file_id, **COMPARISON}
    made = await experiments.create(**body, budget=upper, comparison=comparison, promote="support")
    [job] = await experiments.until_started(made["id"], 1)
    await experiments.end_job(job, valid_loss=0.5, cost_micros=round(upper * 1_000_000))
    done = await experiments.until_end(made["id"])
    assert (done["comparison"]["id"], done["comparison"]["status"]) == (None, None)
    assert "used up the budget" in done["comparison"]["reason"]
    assert (done["recommended"]["arm"], done["promotion"]["status"]) == (1, "refused")


async def test_an_experiment_without_a_successful_arm_fails_with_the_reason(experiments: ExperimentHarness) -> None:
    made = await experiments.create(promote="support")
    for job in await experiments.until_started(made["id"], 2):
        await experiments.end_job(job, state="failed")
    done = await experiments.until_end(made["id"])
    assert (done["status"], done["error"]["code"]) == ("failed", "no_arm_succeeded")
    assert "It broke." in done["error"]["message"]
    assert done["promotion"]["status"] == "refused"
    assert await experiments.events(made["id"]) == ["fine_tuning.experiment.failed"]


async def test_shares_of_the_data_are_files_of_the_project_and_say_what_more_data_would_give(
    experiments: ExperimentHarness,
) -> None:
    file_id = await experiments.file(40)
    grid = {"data_share": [1.0, 0.5, 0.25]}
    made = await experiments.create(training_file=file_id, grid=grid, seed=5, max_parallel=3)
    assert [(arm["examples"], arm["settings"]["n_epochs"]) for arm in made["arms"]] == [(40, 3), (20, 3), (10, 3)]
    jobs = await experiments.until_started(made["id"], 3)
    assert (await experiments.files())[1:] == ["held-out.share-0.5.seed-5.jsonl", "held-out.share-0.25.seed-5.jsonl"]
    shown = await experiments.shown(made["id"])
    whole, half, quarter = [await experiments.harness.examples(arm["training_file"]) for arm in shown["arms"]]
    assert (len(whole), len(half), len(quarter)) == (40, 20, 10)
    assert all(row in half for row in quarter)
    assert all(row in whole for row in half)
    for job, loss in zip(jobs, (1.0, 1.2, 1.5), strict=True):
        await experiments.end_job(job, valid_loss=loss, cost_micros=10)
    done = await experiments.until_end(made["id"])
    assert done["recommended"]["arm"] == 1
    assert done["data_scaling"]["examples"] == 80
    assert done["data_scaling"]["loss"]["low"] < done["data_scaling"]["loss"]["value"] < 1.0
    assert "Twice the data" in done["data_scaling"]["message"]


async def test_arms_that_differ_by_more_than_their_data_say_nothing_about_more_data(
    experiments: ExperimentHarness,
) -> None:
    arms = [{"n_epochs": 1}, {"n_epochs": 2, "data_share": 0.5}]
    made = await experiments.create(arms=arms, max_parallel=2)
    for job in await experiments.until_started(made["id"], 2):
        await experiments.end_job(job, valid_loss=1.0)
    assert (await experiments.until_end(made["id"]))["data_scaling"] is None
