"""`client.fine_tuning.jobs` of the official SDK, call by call."""

import base64
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx2
import openai
import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent
from openai.types.fine_tuning.jobs import FineTuningJobCheckpoint

from tests.contract.conftest import Trained
from tests.contract.strict import strict_items, strict_list, strictly, walked
from tests.wire import (
    ENDED,
    MODEL,
    OTHER_ENCODING,
    WAIT_SECONDS,
    chat_rows,
    checked,
    eventually,
    jsonl,
    preference_rows,
    upload,
)

STATUSES = ("validating_files", "queued", "running", "succeeded")
LONG: Any = {"n_epochs": 50}


@pytest.fixture(scope="module")
def training_file(http: httpx2.Client) -> str:
    """A checked file of twelve examples."""
    file_id = upload(http, jsonl(chat_rows(12, salt="J")))
    checked(http, file_id)
    return file_id


@pytest.fixture(scope="module")
def long_file(http: httpx2.Client) -> str:
    """A checked file whose fifty epochs take two minutes: no job with it ends by itself while a test lasts."""
    file_id = upload(http, jsonl(chat_rows(120, salt="L")))
    checked(http, file_id)
    return file_id


@pytest.fixture
def held(sdk: openai.OpenAI, long_file: str) -> Iterator[str]:
    """A job that trains for as long as the test lasts."""
    job = sdk.fine_tuning.jobs.create(model=MODEL, training_file=long_file, hyperparameters=LONG)
    yield job.id
    if sdk.fine_tuning.jobs.retrieve(job.id).status not in ENDED:
        sdk.fine_tuning.jobs.cancel(job.id)


class TestCreate:
    def test_a_poller_sees_openai_s_statuses_in_order(self, sdk: openai.OpenAI, http: httpx2.Client) -> None:
        file_id = upload(http, jsonl(chat_rows(10, salt="P")))
        answer = sdk.fine_tuning.jobs.with_raw_response.create(
            model=MODEL, training_file=file_id, hyperparameters={"n_epochs": 2}
        )
        job = strictly(FineTuningJob, answer)
        assert job.id.startswith("ftjob-")
        assert (job.status, job.model, job.training_file) == ("validating_files", MODEL, file_id)
        assert (job.error, job.result_files, job.fine_tuned_model, job.finished_at) == (None, [], None, None)
        assert job.hyperparameters.n_epochs == 2
        assert 0 <= job.seed < 2**31
        seen = [job.status]
        deadline = time.monotonic() + WAIT_SECONDS
        while seen[-1] not in ENDED:
            assert time.monotonic() < deadline
            shown = strictly(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.retrieve(job.id))
            if shown.status != seen[-1]:
                seen.append(shown.status)
        assert seen == [status for status in STATUSES if status in seen], seen
        assert seen[-1] == "succeeded"

    def test_everything_that_was_asked_for_is_shown(self, trained: Trained) -> None:
        jobs = trained.tenant.sdk().fine_tuning.jobs
        job = strictly(FineTuningJob, jobs.with_raw_response.retrieve(trained.job_id))
        assert job.status == "succeeded"
        assert job.metadata == {"team": "geo", "run": "1"}
        assert (job.seed, job.validation_file) == (7, trained.validation_file)
        assert job.method is not None
        assert job.method.supervised is not None
        assert job.method.supervised.hyperparameters is not None
        assert job.method.supervised.hyperparameters.n_epochs == job.hyperparameters.n_epochs == 3
        assert str(job.fine_tuned_model).startswith("ft:gpt-4o-mini-2024-07-18:tunegate:rivers-of-europe:")
        assert job.finished_at is not None
        assert job.finished_at >= job.created_at
        assert (job.estimated_finish, job.error) == (None, None)
        assert job.trained_tokens

    def test_what_one_asks_of_a_run_is_shown_alike_by_itself_and_in_the_list(self, trained: Trained) -> None:
        with trained.tenant.http() as http:
            job = http.get(f"/fine_tuning/jobs/{trained.job_id}").json()
            steps = http.get(f"/fine_tuning/jobs/{trained.job_id}/metrics").json()["data"]
            listed = http.get("/fine_tuning/jobs", params={"sort": "best_valid_loss", "order": "asc"}).json()["data"]
        assert job in listed
        for name, of_steps in (("train_loss", "train_loss"), ("valid_loss", "full_valid_loss")):
            known = [(step[of_steps], step["step"]) for step in steps if step[of_steps] is not None]
            assert known
            best, best_step = min(known)
            final, final_step = known[-1]
            summary = {"final": final, "final_step": final_step, "best": best, "best_step": best_step}
            assert job["metrics_summary"][name] == summary
        assert job["cost"]["value"] > 0
        assert job["expected_cost"]["value"] > 0
        assert job["duration_seconds"] <= job["finished_at"] - job["created_at"] + 1
        assert job["created_by"]["type"] == "api_key"
        assert job["created_by"]["name"].startswith("name-")
        assert job["validation_file_name"] == "valid.jsonl"
        assert job["training_file_name"]
        assert "few_examples" in [each["code"] for each in job["warnings"]]
        assert job["waiting"] is None

    def test_result_file_is_base64_of_the_documented_csv(self, trained: Trained) -> None:
        sdk = trained.tenant.sdk()
        (result,) = sdk.fine_tuning.jobs.retrieve(trained.job_id).result_files
        file = sdk.files.retrieve(result)
        assert file.purpose == "fine-tune-results"
        table = base64.b64decode(sdk.files.content(result).read(), validate=True).decode().splitlines()
        assert table[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
        assert [row.split(",")[0] for row in table[1:]] == [str(step) for step in range(1, len(table))]

    def test_integrations_are_kept_and_passed_on(self, sdk: openai.OpenAI, training_file: str) -> None:
        answer = sdk.fine_tuning.jobs.with_raw_response.create(
            model=MODEL,
            training_file=training_file,
            integrations=[{"type": "wandb", "wandb": {"project": "rivers", "tags": ["eu"]}}],
        )
        job = strictly(FineTuningJob, answer)
        assert job.integrations is not None
        assert (job.integrations[0].wandb.project, job.integrations[0].wandb.tags) == ("rivers", ["eu"])
        eventually(lambda: sdk.fine_tuning.jobs.retrieve(job.id).status == "failed")
        failed = strictly(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.retrieve(job.id))
        assert failed.error is not None  # the trainer, which reports to nobody, says so
        assert failed.error.param == "integrations"

    def test_preference_data_trains_by_dpo(self, sdk: openai.OpenAI, http: httpx2.Client) -> None:
        file_id = upload(http, jsonl(preference_rows(10)))
        checked(http, file_id)
        answer = sdk.fine_tuning.jobs.with_raw_response.create(
            model=MODEL,
            training_file=file_id,
            method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.5, "n_epochs": 1}}},
        )
        job = strictly(FineTuningJob, answer)
        assert job.method is not None
        assert job.method.dpo is not None
        assert job.method.dpo.hyperparameters is not None
        assert job.method.dpo.hyperparameters.beta == 0.5
        done = eventually(
            lambda: shown if (shown := sdk.fine_tuning.jobs.retrieve(job.id)).status in ENDED else None,
        )
        assert done.status == "succeeded", done.error

    def test_data_that_fails_after_the_create_fails_the_job_with_its_lines(
        self, sdk: openai.OpenAI, http: httpx2.Client
    ) -> None:
        file_id = upload(http, jsonl(chat_rows(10)) + b'{"messages": []}\n')
        job = sdk.fine_tuning.jobs.create(model=OTHER_ENCODING, training_file=file_id)
        eventually(lambda: sdk.fine_tuning.jobs.retrieve(job.id).status == "failed")
        failed = strictly(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.retrieve(job.id))
        assert failed.error is not None
        assert (failed.error.code, failed.error.param) == ("invalid_training_file", "training_file")
        assert "line 11" in failed.error.message.lower()


class TestList:
    def test_pages_newest_first(self, sdk: openai.OpenAI, long_file: str) -> None:
        made = [
            sdk.fine_tuning.jobs.create(
                model=MODEL, training_file=long_file, hyperparameters=LONG, metadata={"for": "list", "n": str(n)}
            )
            for n in range(5)
        ]
        for job in made:
            sdk.fine_tuning.jobs.cancel(job.id)
        page = strict_list(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.list(limit=2))
        assert [job.id for job in page] == [made[4].id, made[3].id]
        every = walked(lambda: sdk.fine_tuning.jobs.list(limit=2))
        assert every[:5] == [job.id for job in reversed(made)]
        assert every == sorted(every, reverse=True)

        def found(**metadata: str) -> list[str]:
            return walked(lambda: sdk.fine_tuning.jobs.list(limit=1, metadata=metadata))

        assert found(**{"for": "list"}) == every[:5]
        assert found(**{"for": "list", "n": "3"}) == [made[3].id]
        assert found(n="9") == []

    def test_metadata_null_finds_jobs_without(self, sdk: openai.OpenAI, long_file: str) -> None:
        create = partial(sdk.fine_tuning.jobs.create, model=MODEL, training_file=long_file, hyperparameters=LONG)
        plain, marked = create().id, create(metadata={"a": "b"}).id
        found = walked(lambda: sdk.fine_tuning.jobs.list(extra_query={"metadata": "null"}))
        for job_id in (plain, marked):
            sdk.fine_tuning.jobs.cancel(job_id)
        assert plain in found
        assert marked not in found


class TestChange:
    def test_cancel_ends_the_job_and_again_is_fine(self, sdk: openai.OpenAI, held: str) -> None:
        strictly(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.cancel(held))
        eventually(lambda: sdk.fine_tuning.jobs.retrieve(held).status == "cancelled")
        again = strictly(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.cancel(held))
        assert (again.status, again.error, again.result_files) == ("cancelled", None, [])
        assert again.finished_at is not None

    def test_a_paused_job_shows_queued_and_goes_on_when_resumed(self, sdk: openai.OpenAI, held: str) -> None:
        eventually(lambda: sdk.fine_tuning.jobs.retrieve(held).status == "running")
        strictly(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.pause(held))
        eventually(lambda: sdk.fine_tuning.jobs.retrieve(held).status == "queued")
        strictly(FineTuningJob, sdk.fine_tuning.jobs.with_raw_response.resume(held))
        eventually(lambda: sdk.fine_tuning.jobs.retrieve(held).status == "running")


class TestEvents:
    def test_page_newest_first(self, trained: Trained) -> None:
        jobs = trained.tenant.sdk().fine_tuning.jobs
        page = strict_list(FineTuningJobEvent, jobs.with_raw_response.list_events(trained.job_id, limit=3))
        assert len(page) == 3
        every = walked(lambda: jobs.list_events(trained.job_id, limit=3))
        assert every[:3] == [event.id for event in page]
        assert all(each.startswith("ftevent-") for each in every)
        assert len(walked(lambda: jobs.list_events(trained.job_id))) == len(every)
        first = list(jobs.list_events(trained.job_id, limit=100))[-1]
        assert first.message == f"Created fine-tuning job: {trained.job_id}"

    def test_metrics_events_carry_openai_s_figures(self, trained: Trained) -> None:
        events = list(trained.tenant.sdk().fine_tuning.jobs.list_events(trained.job_id, limit=100))
        metrics = [event.data for event in events if event.type == "metrics"]
        assert metrics
        for data in metrics:
            assert isinstance(data, dict)
            assert {"step", "total_steps", "train_loss", "train_mean_token_accuracy"} <= set(data)
        assert any(isinstance(data, dict) and "valid_loss" in data for data in metrics)

    def test_nothing_of_the_upstream_shows(self, trained: Trained) -> None:
        with trained.tenant.http() as http:
            reported = http.get(f"/fine_tuning/jobs/{trained.job_id}/events", params={"limit": 100}).text
        assert trained.job_id in reported
        assert trained.model in reported
        assert reported.count("ftjob-") == reported.count(trained.job_id)


class TestCheckpoints:
    def test_page_newest_first_and_answer(self, trained: Trained) -> None:
        sdk = trained.tenant.sdk()
        checkpoints = sdk.fine_tuning.jobs.checkpoints
        page = strict_list(FineTuningJobCheckpoint, checkpoints.with_raw_response.list(trained.job_id))
        assert page
        assert walked(lambda: checkpoints.list(trained.job_id, limit=1)) == [each.id for each in page]
        steps = [each.step_number for each in page]
        assert steps == sorted(steps, reverse=True)
        for each in page:
            assert each.id.startswith("ftckpt-")
            assert each.fine_tuning_job_id == trained.job_id
            assert each.fine_tuned_model_checkpoint == f"{trained.model}:ckpt-step-{each.step_number}"
            assert each.metrics.train_loss is not None
        answer = sdk.chat.completions.create(
            model=page[-1].fine_tuned_model_checkpoint, messages=[{"role": "user", "content": "hi"}], max_tokens=5
        )
        assert answer.model == page[-1].fine_tuned_model_checkpoint


def test_the_frame_of_a_page_is_strict(trained: Trained) -> None:
    """Items of a list are as strict as the single ones."""
    with trained.tenant.http() as http:
        jobs = strict_items(FineTuningJob, http.get("/fine_tuning/jobs").json()["data"])
    assert trained.job_id in [job.id for job in jobs]
