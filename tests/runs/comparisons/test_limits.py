"""A grader that takes too long on an answer ends its own comparison, at the first attempt and with its name."""

import dataclasses

from service.runs.evaluator import Evaluator
from tests.evaluation.bombs import nested, recursive
from tests.runs.comparisons.harness import ComparisonHarness
from tests.runs.scripted import Reply
from workers.runs import advance


async def test_a_grader_that_takes_too_long_ends_its_comparison(comparisons: ComparisonHarness) -> None:
    harness = comparisons.harness
    harness.upstream.script = lambda call: Reply(text=nested(60), usage=(30, 5))
    made = await comparisons.compare(
        await comparisons.file(),
        models=["gpt-4o-mini"],
        graders=[{"type": "json_schema", "name": "shape", "schema": recursive()}],
        max_examples=1,
    )
    evaluator = Evaluator(processes=2, seconds=0.5, memory_bytes=512 << 20)
    try:
        claimed = await harness.claim(made["id"])
        assert claimed is not None
        await advance.advance(dataclasses.replace(harness.ctx, evaluator=evaluator), claimed)
    finally:
        await evaluator.close()
    shown = await comparisons.shown(made["id"])
    assert (shown["status"], shown["error"]["code"]) == ("failed", "evaluation_limit_exceeded")
    assert shown["error"]["param"] == "graders"
    assert "the grader 'shape'" in shown["error"]["message"]
    assert "0.5 seconds of processor time (TUNEGATE_EVALUATION_SECONDS)" in shown["error"]["message"]
    assert (await harness.row(made["id"])).failures <= 1
