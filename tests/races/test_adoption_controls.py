"""Negative controls of the create: with a guard taken out, the upstream shows what the guard is for."""

from typing import cast

import pytest

from service.upstreams.adapters.openai import OpenAIUpstream
from tests.faults.control import CREATE, NEVER
from tests.workers.harness import Bench
from workers.jobs import create


async def test_without_finding_out_a_lost_answer_makes_a_second_job(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "_search", create._send)
    bench.upstream.fault(CREATE, "reset", made=True)
    job_id = await bench.new_job()
    await bench.until(job_id, "running")
    assert len(bench.upstream.alive(job_id)) == 2


async def test_without_the_settle_time_a_late_job_makes_a_second_one(
    hasty: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "EMPTY_LISTS", 0)
    hasty.upstream.fault(CREATE, None, late=NEVER)
    job_id = await hasty.new_job()
    await hasty.until_sent(job_id)
    await hasty.pass_settle_time(job_id)
    await hasty.until(job_id, "running")
    assert len(hasty.upstream.creates()) == 2


async def test_with_the_retries_of_the_sdk_one_create_makes_three_jobs(bench: Bench) -> None:
    cast("OpenAIUpstream", (await bench.at_account()).upstream)._client.max_retries = 2
    bench.upstream.fault(CREATE, "reset", times=3, made=True)
    job_id = await bench.new_job()
    await bench.until_sent(job_id)
    assert len(bench.upstream.alive(job_id)) == 3
