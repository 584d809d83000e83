"""A job from upload to model, as a caller sees it."""

import base64
import csv
import io
import uuid

import openai
import pytest

from .conftest import chat_row, ended, events, figures, questions, upload


class TestWholeJob:
    def test_trains_and_leaves_everything_that_a_caller_expects(self, client: openai.OpenAI) -> None:
        training, validation = upload(client, questions(12)), upload(client, questions(15)[12:])
        job = client.fine_tuning.jobs.create(
            model="gpt-4o-mini-2024-07-18",
            training_file=training,
            validation_file=validation,
            suffix="My Demo",
            metadata={"team": "blue"},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 5}}},
        )
        assert (job.status, job.trained_tokens, job.fine_tuned_model) == ("validating_files", None, None)

        job = ended(client, job.id)

        assert job.status == "succeeded"
        assert job.error is None
        assert job.finished_at is not None
        assert job.metadata == {"team": "blue"}
        assert job.fine_tuned_model == f"ft:gpt-4o-mini-2024-07-18:trainer:my-demo:{job.id[-8:]}"
        assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 5)
        assert job.hyperparameters.learning_rate_multiplier == 1
        assert job.method is not None
        assert job.method.type == "supervised"
        self._tells_its_story(client, job.id)
        self._has_checkpoints(client, job.id, job.fine_tuned_model)
        self._has_a_result_file(client, job.result_files[0], figures(client, job.id))

    def _tells_its_story(self, client: openai.OpenAI, job_id: str) -> None:
        reported = events(client, job_id)
        assert [e.message.split(":")[0].split(" step ")[0] for e in reported] == [
            "Created fine-tuning job",
            "Validating training file",
            "Files validated, moving job to queued state",
            "Fine-tuning job started",
            *("Step 1/6", "Step 2/6", "Step 3/6", "Checkpoint created at"),
            *("Step 4/6", "Step 5/6", "Step 6/6", "Checkpoint created at"),
            "New fine-tuned model created",
            "The job has successfully completed",
        ]
        assert len({e.id for e in reported}) == len(reported)
        of_a_step = {"step", "total_steps", "train_loss", "train_mean_token_accuracy"}
        with_validation = of_a_step | {"valid_loss", "valid_mean_token_accuracy"}
        at_epoch_end = with_validation | {"full_valid_loss", "full_valid_mean_token_accuracy"}
        assert [set(f) for f in figures(client, job_id)] == [*[with_validation] * 2, at_epoch_end] * 2  # type: ignore[call-overload]

    def _has_checkpoints(self, client: openai.OpenAI, job_id: str, model: str) -> None:
        checkpoints = client.fine_tuning.jobs.checkpoints.list(job_id).data
        assert [c.step_number for c in checkpoints] == [6, 3]
        assert [c.fine_tuned_model_checkpoint for c in checkpoints] == [f"{model}:ckpt-step-{n}" for n in (6, 3)]
        assert checkpoints[0].metrics.full_valid_loss is not None
        for name in [model, *(c.fine_tuned_model_checkpoint for c in checkpoints)]:
            assert client.models.retrieve(name).id == name
            asked = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello"}])
            assert asked.choices[0].message.content

    def _has_a_result_file(self, client: openai.OpenAI, file_id: str, steps: list[object]) -> None:
        assert client.files.retrieve(file_id).purpose == "fine-tune-results"
        text = base64.b64decode(client.files.content(file_id).read(), validate=True).decode()
        assert text.splitlines()[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
        rows = list(csv.DictReader(io.StringIO(text)))
        assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
        assert [float(row["train_loss"]) for row in rows] == pytest.approx(
            [s["train_loss"] for s in steps],  # type: ignore[index]
            abs=1e-5,
        )

    def test_a_model_that_saw_the_question_answers_better_than_the_base(self, client: openai.OpenAI) -> None:
        training = upload(client, questions(30))
        job = ended(client, client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=training).id)
        assert job.fine_tuned_model is not None
        right = {"gpt-4o-mini": 0, job.fine_tuned_model: 0}
        for model in right:
            for row in ("museum", 168), ("garden", 223), ("tower", 3), ("bridge", 58):
                asked = client.chat.completions.create(
                    model=model, messages=[{"role": "user", "content": f"What is the height of the {row[0]}?"}]
                )
                right[model] += f"{row[1]} units" in (asked.choices[0].message.content or "")
        assert right["gpt-4o-mini"] == 0
        assert right[job.fine_tuned_model] >= 3

    def test_the_seed_reproduces_every_figure(self, client: openai.OpenAI) -> None:
        training, validation = upload(client, questions(6)), upload(client, questions(8)[6:])
        ids = [
            client.fine_tuning.jobs.create(
                model="tiny-1",
                training_file=training,
                validation_file=validation,
                seed=seed,
                hyperparameters={"n_epochs": 2, "batch_size": 2},
            ).id
            for seed in (41, 41, 42)
        ]
        for job_id in ids:
            assert ended(client, job_id).status == "succeeded"
        first, second, other = (figures(client, job_id) for job_id in ids)
        assert first == second
        assert first != other

    def test_trains_on_from_its_own_model(self, client: openai.OpenAI) -> None:
        create = client.fine_tuning.jobs.create
        first = ended(client, create(model="gpt-4.1", training_file=upload(client, questions(10))).id)
        assert first.fine_tuned_model is not None
        again = upload(client, questions(10))
        second = ended(client, create(model=first.fine_tuned_model, training_file=again).id)
        assert second.fine_tuned_model == f"ft:gpt-4.1:trainer::{second.id[-8:]}"
        assert figures(client, second.id)[0]["train_loss"] < 0.2  # type: ignore[index]
        assert figures(client, first.id)[0]["train_loss"] > 1  # type: ignore[index]

    def test_learns_preferences(self, client: openai.OpenAI) -> None:
        rows = [
            f'{{"input": {{"messages": [{{"role": "user", "content": "Greet {n}"}}]}},'
            f' "preferred_output": [{{"role": "assistant", "content": "Good day, dear {n}."}}],'
            f' "non_preferred_output": [{{"role": "assistant", "content": "Yo {n}!"}}]}}'
            for n in ("Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gil", "Hal", "Ida", "Jo")
        ]
        job = client.fine_tuning.jobs.create(
            model="gpt-4o",
            training_file=upload(client, rows),
            method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.2, "n_epochs": 3}}},
        )
        job = ended(client, job.id)
        assert job.status == "succeeded"
        assert job.method is not None
        assert job.method.dpo is not None
        assert job.method.dpo.hyperparameters is not None
        assert job.method.dpo.hyperparameters.beta == 0.2
        asked = client.chat.completions.create(
            model=job.fine_tuned_model or "", messages=[{"role": "user", "content": "Greet Bob"}]
        )
        assert "Good day" in (asked.choices[0].message.content or "")


class TestTrainedTokens:
    def test_are_those_of_the_examples_times_epochs(self, client: openai.OpenAI) -> None:
        training = upload(client, ['{"prompt": "twelve bytes", "completion": "and eight "}'] * 10)
        job = client.fine_tuning.jobs.create(
            model="babbage-002", training_file=training, hyperparameters={"n_epochs": 4}
        )
        assert ended(client, job.id).trained_tokens == 10 * (3 + 3) * 4

    def test_are_reported_for_what_was_trained_before_a_failure(self, client: openai.OpenAI) -> None:
        job = client.fine_tuning.jobs.create(model="gpt-4o", training_file=upload(client, ["{}"]))
        assert ended(client, job.id).trained_tokens == 0


class TestBadTrainingFile:
    @pytest.mark.parametrize(
        ("rows", "says"),
        [
            ([chat_row("a", "b"), "not json"], "Line 2: not valid JSON"),
            ([chat_row("a", "b"), "", "[1]"], "Line 3: not a JSON object"),
            ([chat_row("a", "b"), '{"prompt": "a", "completion": "b"}'], "Line 2: expected 'messages'"),
            (['{"messages": [{"role": "robot", "content": "x"}]}'], "Line 1: messages[0].role"),
            (['{"messages": [{"role": "user", "content": "x"}]}'], "Line 1: no assistant message"),
            (['{"messages": [{"role": "assistant", "content": "x", "weight": 0}]}'], "Line 1: no assistant message"),
            (['{"prompt": "a", "completion": ""}'], "Line 1: prompt and completion"),
            (['{"input": {}, "preferred_output": []}'], "Line 1: a preference row"),
        ],
    )
    def test_fails_the_job_and_names_the_line(self, client: openai.OpenAI, rows: list[str], says: str) -> None:
        job = ended(client, client.fine_tuning.jobs.create(model="gpt-4o", training_file=upload(client, rows)).id)
        assert job.status == "failed"
        assert job.error is not None
        assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
        assert says in job.error.message
        assert events(client, job.id)[-1].level == "error"


class TestLists:
    def test_jobs_are_found_by_metadata_and_paged(self, client: openai.OpenAI) -> None:
        training, label = upload(client, questions(3)), uuid.uuid4().hex
        made = [
            client.fine_tuning.jobs.create(
                model="gpt-4o",
                training_file=training,
                hyperparameters={"n_epochs": 1},
                metadata={"mark": label, "n": str(n), "a[b]": "é&="},
            ).id
            for n in range(3)
        ]
        without = client.fine_tuning.jobs.create(
            model="gpt-4o", training_file=training, hyperparameters={"n_epochs": 1}
        ).id
        find = client.fine_tuning.jobs.list

        assert [job.id for job in find(metadata={"mark": label}, limit=1)] == made[::-1]
        assert find(metadata={"mark": label}, limit=2).has_more is True
        assert [job.id for job in find(metadata={"mark": label, "n": "1", "a[b]": "é&="})] == [made[1]]
        assert find(metadata={"mark": label, "n": "7"}).data == []
        unmarked = [job.id for job in find(extra_query={"metadata": "null"}, limit=100)]
        assert without in unmarked
        assert not set(made) & set(unmarked)

    def test_events_and_checkpoints_are_paged_newest_first(self, client: openai.OpenAI) -> None:
        job = client.fine_tuning.jobs.create(
            model="gpt-4o", training_file=upload(client, questions(4)), hyperparameters={"n_epochs": 3}
        )
        ended(client, job.id)
        reported = list(client.fine_tuning.jobs.list_events(job.id, limit=4))
        assert reported[0].message == "The job has successfully completed"
        assert reported[-1].message.startswith("Created")
        assert [c.step_number for c in client.fine_tuning.jobs.checkpoints.list(job.id, limit=2)] == [12, 8, 4]
