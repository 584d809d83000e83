"""The adapter for Azure against a program that speaks its dialect, alone and under the workers."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from service.project_memory import ProjectMemory
from service.upstreams.accounts import DEFAULT_ACCOUNT
from service.upstreams.adapters.azure import AzureUpstream
from service.upstreams.adapters.client import Connection
from service.upstreams.labels import GATEWAY, JOB, job_file_name, labels_of_name
from service.upstreams.port import Completion, Created, JobRequest, Refused, Unknown, UpstreamError
from tests.faults.control import FaultyUpstream
from tests.upstreams.azure_program import KEY
from tests.upstreams.conftest import add_account
from tests.upstreams.test_accounts import change
from tests.workers.harness import WorkerHarness
from workers.maintenance import orphaned_upstream_jobs

MEMORY = ProjectMemory(1 << 30).reservation("proj_test")

CREATE = "POST /openai/fine_tuning/jobs"
LIST = "GET /openai/fine_tuning/jobs"
FILES = "GET /openai/files"
UPLOAD = "POST /openai/files"
NAME = job_file_name("gateway", "ftjob-1", hashlib.sha256(b"x").hexdigest())


async def content() -> AsyncIterator[bytes]:
    """A small dataset."""
    yield b"{}\n"


def order(training_file: str, **changes: Any) -> JobRequest:
    """An order as the workers make it."""
    values: dict[str, Any] = {
        "model": "gpt-4o-mini-2024-07-18",
        "training_file": training_file,
        "validation_file": None,
        "suffix": "our models!",
        "seed": 7,
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": 0.1}},
        },
        "integrations": None,
        "metadata": {GATEWAY: "gateway", JOB: "ftjob-1"},
    }
    return JobRequest(**(values | changes))


@pytest.fixture
async def adapter(azure: FaultyUpstream) -> AsyncIterator[AzureUpstream]:
    """The adapter on the program."""
    made = AzureUpstream(_connection(azure, KEY))
    yield made
    await made.close()


def _connection(azure: FaultyUpstream, key: str) -> Connection:
    return Connection(
        account_id="upstream_1",
        kind="azure",
        provider="azure",
        base_url=azure.base_url,
        api_key=key,
        deployments={"gpt-4o-mini": "base-deployment"},
        control_timeout=60,
        upload_timeout=60,
        inference_timeout=60,
        max_answer_bytes=1 << 20,
    )


async def sent_file(adapter: AzureUpstream) -> str:
    """A file that the upstream has looked through."""
    made = await adapter.upload_file(NAME, 3, content())
    assert isinstance(made, Created)
    while await adapter.file_state(made.id) == "pending":
        continue
    return made.id


class TestTheDialect:
    async def test_the_credential_is_checked(self, adapter: AzureUpstream, azure: FaultyUpstream) -> None:
        await adapter.check()
        stranger = AzureUpstream(_connection(azure, "wrong-key-0123456789"))
        with pytest.raises(UpstreamError) as refused:
            await stranger.check()
        await stranger.close()
        assert refused.value.kind == "auth"

    async def test_a_file_is_imported_before_it_is_ready(self, adapter: AzureUpstream, azure: FaultyUpstream) -> None:
        made = await adapter.upload_file(NAME, 3, content())
        assert isinstance(made, Created)
        assert await adapter.file_state(made.id) == "pending"
        assert await adapter.file_state(made.id) == "ready"
        assert await adapter.find_file(NAME, 3) == made.id
        assert await adapter.find_file(NAME, 4) is None
        assert await adapter.file_state("file-unknown") == "gone"

    async def test_an_order_has_what_it_knows_and_nothing_else(
        self, adapter: AzureUpstream, azure: FaultyUpstream
    ) -> None:
        made = await adapter.create_job(order(await sent_file(adapter)))
        assert isinstance(made, Created)
        [create] = azure.seen(CREATE)
        assert create["body"] == {
            "model": "gpt-4o-mini-2024-07-18",
            "training_file": create["body"]["training_file"],
            "suffix": "our-models-",
            "seed": 7,
            "hyperparameters": {"n_epochs": 3, "learning_rate_multiplier": 0.1},
        }

    async def test_its_words_become_ours(self, adapter: AzureUpstream, azure: FaultyUpstream) -> None:
        made = await adapter.create_job(order(await sent_file(adapter)))
        assert isinstance(made, Created)
        reported = [(await adapter.get_job(made.id)).status for _ in range(3)]
        assert reported == ["queued", "running", "succeeded"]
        job = await adapter.get_job(made.id)
        assert job.fine_tuned_model is not None
        assert (len(job.result_files), job.trained_tokens) == (1, 3000)
        assert {event.level for event in await adapter.events_after(made.id, None)} == {"warn"}
        assert await adapter.checkpoints(made.id) == []
        azure.put_job(id=made.id, _steps=[{"status": "running"}], _polls=1)
        assert (await adapter.cancel_job(made.id)).status == "cancelled"

    async def test_its_refusals_are_refusals(self, adapter: AzureUpstream) -> None:
        outcome = await adapter.create_job(order("file-unknown"))
        assert isinstance(outcome, Refused)
        assert (outcome.kind, outcome.code) == ("not_found", "notFound")
        made = await adapter.upload_file(NAME, 3, content())
        assert isinstance(made, Created)
        early = await adapter.create_job(order(made.id))
        assert isinstance(early, Refused)
        assert (early.kind, early.code) == ("invalid", "unexpectedEntityState")

    @pytest.mark.parametrize("answer", ["reset", "cut", {"status": 500, "body": {}}], ids=["reset", "cut", "500"])
    async def test_what_is_unclear_is_unknown(self, adapter: AzureUpstream, azure: FaultyUpstream, answer: Any) -> None:
        azure.fault(CREATE, answer, made=True)
        assert isinstance(await adapter.create_job(order(await sent_file(adapter))), Unknown)

    async def test_a_job_is_found_by_its_file(self, adapter: AzureUpstream, azure: FaultyUpstream) -> None:
        azure.configure(page_size=1)
        file_id = await sent_file(adapter)
        made = [await adapter.create_job(order(file_id)) for _ in range(2)]
        azure.put_job(training_file="file-of-somebody")
        found = await adapter.find_jobs({GATEWAY: "gateway", JOB: "ftjob-1"})
        assert {job.id for job in found} == {each.id for each in made if isinstance(each, Created)}
        assert await adapter.find_jobs({GATEWAY: "another", JOB: "ftjob-1"}) == []
        azure.configure(files={})
        wanted = {GATEWAY: "gateway", JOB: "ftjob-1"}
        assert await adapter.find_jobs(wanted) == []
        assert len(await adapter.find_jobs(wanted, training_file=file_id)) == 2

    async def test_a_model_is_asked_by_its_deployment(self, adapter: AzureUpstream) -> None:
        assert adapter.model_name(("gpt-4o-mini",), "gpt-4o-mini") == "base-deployment"
        assert adapter.model_name(("ft:gpt-4o-mini:x",), "gpt-4o-mini.ft-1") is None
        answer = await adapter.complete(
            "/chat/completions", {"model": "base-deployment", "messages": []}, memory=MEMORY
        )
        assert answer.status == 200
        assert answer.body["choices"][0]["message"]["content"] == "from base-deployment"
        missing = await adapter.stream(
            "/chat/completions", {"model": "another/../x", "messages": [], "stream": True}, memory=MEMORY
        )
        assert isinstance(missing, Completion)
        assert missing.status == 404


class TestLabels:
    def test_a_name_has_the_marks_of_its_job(self) -> None:
        assert labels_of_name(NAME) == {GATEWAY: "gateway", JOB: "ftjob-1"}
        for other in ("train.jsonl", f"tunegate-{'0' * 64}.jsonl", f"x{NAME}", f"{NAME}.bak"):
            assert labels_of_name(other) is None


class TestUnderTheWorkers:
    @pytest.fixture
    async def account_id(self, harness: WorkerHarness, azure: FaultyUpstream) -> str:
        """Azure alone serves the model."""
        await change(harness, DEFAULT_ACCOUNT, models=["nothing"])
        return await add_account(harness, azure.base_url, kind="azure")

    async def test_a_job_goes_through(self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str) -> None:
        job_id = await harness.new_job(validation=await harness.new_file("\n"))
        job = await harness.until_end(job_id)
        assert (job.state, job.account_id) == ("succeeded", account_id), job.error_message
        assert len(azure.jobs()) == len(azure.seen(CREATE)) == 1
        await harness.assert_ended_once(job_id, entries=["reserve", "post"])
        reported = " ".join(await harness.messages(job_id))
        assert not [each["id"] for each in (*azure.jobs(), *azure.files()) if each["id"] in reported]

    async def test_jobs_do_not_share_a_file(
        self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str
    ) -> None:
        same = await harness.new_file()
        jobs = [await harness.new_job(training=same) for _ in range(2)]
        for job_id in jobs:
            await harness.until_end(job_id)
        assert len({create["body"]["training_file"] for create in azure.seen(CREATE)}) == 2

    @pytest.mark.parametrize("answer", ["reset", {"status": 500, "body": {}}], ids=["reset", "500"])
    async def test_a_job_whose_answer_is_lost_is_adopted(
        self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str, answer: Any
    ) -> None:
        azure.fault(CREATE, answer, made=True)
        azure.fault(UPLOAD, "reset", made=True)
        job_id = await harness.new_job()
        job = await harness.until_end(job_id)
        assert (job.state, len(azure.seen(CREATE)), len(azure.jobs())) == ("succeeded", 1, 1)
        assert len(azure.files()) == 1

    async def test_one_that_was_not_made_is_sent_again_after_the_settle_time(
        self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str
    ) -> None:
        azure.fault(CREATE, "reset")
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        job = await harness.steps(job_id, 6)
        assert (job.create_phase, len(azure.seen(CREATE))) == ("intent", 1)
        await harness.pass_settle_time(job_id)
        await harness.until_end(job_id)
        assert len(azure.jobs()) == 1

    @pytest.mark.parametrize("match", [LIST, FILES], ids=["jobs", "files"])
    async def test_a_list_that_does_not_come_is_not_an_empty_one(
        self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str, match: str
    ) -> None:
        azure.fault(CREATE, "reset", made=True)
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        await harness.step(job_id)
        await harness.pass_settle_time(job_id)
        azure.fault(match, {"status": 500, "body": {}}, times=4)
        job = await harness.steps(job_id, 4)
        assert (job.create_phase, job.create_empty_lists) == ("intent", 0)
        await harness.until_end(job_id)
        assert len(azure.jobs()) == 1

    async def test_an_orphan_is_found_by_its_file_and_cancelled(
        self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str
    ) -> None:
        azure.configure(azure_steps=[{"status": "running"}])
        job_id = await harness.new_job()
        await harness.until(job_id, "running")
        [job] = azure.jobs()
        azure.put_job(training_file=job["training_file"], status="running", _steps=[{"status": "running"}])
        azure.put_job(training_file="file-of-somebody", status="running", _steps=[{"status": "running"}])
        assert await orphaned_upstream_jobs.cancel_orphaned_jobs(harness.ctx) == 1
        assert len([each for each in azure.jobs() if each["status"] == "canceled"]) == 1
        assert (await harness.job(job_id)).upstream_job_id == job["id"]

    async def test_a_file_that_it_cannot_use_ends_the_job(
        self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str
    ) -> None:
        azure.configure(file_end="error")
        job = await harness.until_end(await harness.new_job())
        assert (job.state, job.error_code) == ("failed", "upstream_refused_file")
        assert azure.jobs() == []

    async def test_a_file_that_vanishes_there_is_sent_anew(
        self, harness: WorkerHarness, azure: FaultyUpstream, account_id: str
    ) -> None:
        job_id = await harness.new_job()
        await harness.until(job_id, "creating")
        azure.configure(files={})
        job = await harness.until_end(job_id)
        assert (job.state, len(azure.jobs())) == ("succeeded", 1)
