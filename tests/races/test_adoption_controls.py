"""Negative controls of the create: with a guard taken out, the upstream shows what the guard is for."""

from typing import cast

import pytest

from service.upstreams.adapters.openai import OpenAIUpstream
from tests.faults.control import CREATE, NEVER
from tests.workers.harness import WorkerHarness
from workers.jobs import create


async def test_without_finding_out_a_lost_answer_makes_a_second_job(
    harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "_search", create._send)
    harness.upstream.fault(CREATE, "reset", made=True)
    job_id = await harness.new_job()
    await harness.until(job_id, "running")
    assert len(harness.upstream.alive(job_id)) == 2


async def test_without_the_settle_time_a_late_job_makes_a_second_one(
    impatient_harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(create, "EMPTY_LISTS", 0)
    impatient_harness.upstream.fault(CREATE, None, late=NEVER)
    job_id = await impatient_harness.new_job()
    await impatient_harness.until_sent(job_id)
    await impatient_harness.pass_settle_time(job_id)
    await impatient_harness.until(job_id, "running")
    assert len(impatient_harness.upstream.creates()) == 2


async def test_with_the_retries_of_the_sdk_one_create_makes_three_jobs(harness: WorkerHarness) -> None:
    cast("OpenAIUpstream", (await harness.at_account()).upstream)._client.max_retries = 2
    harness.upstream.fault(CREATE, "reset", times=3, made=True)
    job_id = await harness.new_job()
    await harness.until_sent(job_id)
    assert len(harness.upstream.alive(job_id)) == 3
