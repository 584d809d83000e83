"""Every refusal has OpenAI's shape."""

import openai
import pytest

from .conftest import KEY, Starter, Trainer, ask, client_of, ended, questions, upload


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, "unknown_url"),
        ("GET", "/", None, 404, "unknown_url"),
        ("PUT", "/v1/models", None, 405, "method_not_allowed"),
        ("GET", "/v1/models/none", None, 404, "model_not_found"),
        ("DELETE", "/v1/models/gpt-4o", None, 403, "model_not_deletable"),
        ("GET", "/v1/files/none", None, 404, "not_found"),
        ("GET", "/v1/files/%FF%00", None, 404, "not_found"),
        ("GET", "/v1/files?limit=x", None, 400, None),
        ("GET", "/v1/files?limit=%D9%A3%D9%A3%D9%A3%D9%A3%D9%A3%D9%A3", None, 400, None),
        ("GET", "/v1/files?after=none", None, 400, None),
        ("GET", "/v1/files?sort=up", None, 400, None),
        ("GET", "/v1/fine_tuning/jobs?metadata=x", None, 400, None),
        ("GET", "/v1/fine_tuning/jobs?limit=101", None, 400, None),
        ("GET", "/v1/fine_tuning/jobs/none", None, 404, "fine_tune_not_found"),
        ("GET", "/v1/fine_tuning/jobs/none/events", None, 404, "fine_tune_not_found"),
        ("POST", "/v1/fine_tuning/jobs/none/cancel", b"", 404, "fine_tune_not_found"),
        ("POST", "/v1/fine_tuning/jobs", b"", 400, None),
        ("POST", "/v1/fine_tuning/jobs", b"{", 400, None),
        ("POST", "/v1/fine_tuning/jobs", b"[" * 100_000, 400, None),
        ("POST", "/v1/fine_tuning/jobs", b"\xff\xfe", 400, None),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": "gpt-4o"}', 400, None),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": "gpt-4o", "training_file": "f", "x": 1}', 400, None),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": "gpt-4o", "training_file": "f"}', 400, "invalid_training_file"),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": "gpt-9", "training_file": "f"}', 404, "model_not_found"),
        ("POST", "/v1/fine_tuning/jobs", b'{"model": "gpt-4o", "training_file": "f", "seed": -1}', 400, None),
        (
            "POST",
            "/v1/fine_tuning/jobs",
            b'{"model": "gpt-4o", "training_file": "f", "method": {"type": "reinforcement"}}',
            400,
            None,
        ),
        ("POST", "/v1/chat/completions", b'{"model": "gpt-9", "messages": []}', 400, None),
        ("POST", "/v1/completions", b'{"model": "ft:x", "prompt": "a"}', 404, "model_not_found"),
        ("POST", "/v1/chat/completions", b'{"model": "gpt-4o", "messages": [{"role": "x", "content": ""}]}', 400, None),
        ("POST", "/v1/completions", b'{"model": "gpt-4o", "prompt": "a", "n": 9}', 400, None),
        ("POST", "/v1/files", b"{}", 400, None),
    ],
)  # fmt: skip
def test_bad_requests(
    trainer: Trainer, method: str, path: str, body: bytes | None, status: int, code: str | None
) -> None:
    got, answer = ask(trainer, method, path, body)
    assert got == status, answer
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["type"] == "invalid_request_error"
    assert answer["error"]["code"] == code


class TestKey:
    @pytest.mark.parametrize("key", [None, "", "wrong", KEY + "x", "é"])
    @pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing"])
    def test_is_needed(self, trainer: Trainer, key: str | None, path: str) -> None:
        got, answer = ask(trainer, "GET", path, key=key)
        assert (got, answer["error"]["code"]) == (401, "invalid_api_key")

    def test_is_not_needed_for_health(self, trainer: Trainer) -> None:
        assert ask(trainer, "GET", "/healthz", key=None) == (200, {"status": "ok"})

    def test_is_not_needed_where_none_is_set(self, start_trainer: Starter) -> None:
        trainer = start_trainer(TRAINER_API_KEY="")
        assert ask(trainer, "GET", "/v1/models", key=None)[0] == 200


class TestEndedJob:
    def test_cannot_be_moved(self, client: openai.OpenAI) -> None:
        job = client.fine_tuning.jobs.create(model="gpt-4o", training_file=upload(client, ["{}"]))
        ended(client, job.id)
        jobs = client.fine_tuning.jobs
        for move in (jobs.cancel, jobs.pause, jobs.resume):
            with pytest.raises(openai.BadRequestError) as refused:
                move(job.id)
            assert refused.value.code == "invalid_job_state"


class TestModels:
    def test_a_tuned_model_is_listed_until_it_is_deleted(self, trainer: Trainer) -> None:
        with client_of(trainer) as client:
            job = client.fine_tuning.jobs.create(
                model="gpt-4o", training_file=upload(client, questions(3)), hyperparameters={"n_epochs": 1}
            )
            model = ended(client, job.id).fine_tuned_model or ""
            assert model in [m.id for m in client.models.list()]
            assert client.models.delete(model).deleted is True
            assert model not in [m.id for m in client.models.list()]
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}])
            checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[0].fine_tuned_model_checkpoint
            assert client.models.retrieve(checkpoint).id == checkpoint
