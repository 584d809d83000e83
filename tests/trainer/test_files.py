"""Files, as a caller sees them."""

import openai
import pytest

from .conftest import Starter, Trainer, ask, client_of, questions, upload


class TestUpload:
    def test_gives_back_the_same_bytes(self, client: openai.OpenAI) -> None:
        content = bytes(range(256)) * 4_000 + b"\r\n--"
        made = client.files.create(file=("ünï.bin", content), purpose="user_data")
        assert (made.bytes, made.filename, made.purpose, made.status) == (
            len(content),
            "ünï.bin",
            "user_data",
            "processed",
        )
        assert client.files.content(made.id).read() == content
        assert client.files.retrieve(made.id) == made

    def test_expires_when_asked(self, client: openai.OpenAI) -> None:
        made = client.files.create(file=b"x", purpose="batch", expires_after={"anchor": "created_at", "seconds": 3600})
        assert made.expires_at == made.created_at + 3600

    def test_over_the_limit_is_refused_and_leaves_nothing(self, start_trainer: Starter) -> None:
        trainer = start_trainer(TRAINER_MAX_FILE_BYTES="1000000")
        with client_of(trainer) as client:
            with pytest.raises(openai.APIStatusError) as refused:
                client.files.create(file=b"x" * 5_000_000, purpose="fine-tune")
            assert (refused.value.status_code, refused.value.code) == (413, "file_too_large")
            assert client.files.list().data == []
        assert not [path for path in (trainer.data_dir / "store").rglob("*") if path.is_file()]

    @pytest.mark.parametrize(
        ("file", "purpose", "param"), [(b"", "fine-tune", "file"), (b"x", "evals", "purpose"), (b"x", "", "purpose")]
    )
    def test_refuses_what_cannot_be_kept(self, client: openai.OpenAI, file: bytes, purpose: str, param: str) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            client.files.create(file=file, purpose=purpose)  # type: ignore[arg-type]
        assert refused.value.param == param

    @pytest.mark.parametrize("body", [b"", b"nonsense", b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nx"])
    def test_refuses_a_broken_form(self, trainer: Trainer, body: bytes) -> None:
        status, answer = ask(trainer, "POST", "/v1/files", body, content_type="multipart/form-data; boundary=b")
        assert status == 400
        assert "multipart" in answer["error"]["message"]


class TestList:
    def test_is_paged_and_ordered(self, client: openai.OpenAI) -> None:
        ids = [client.files.create(file=b"x", purpose="vision").id for _ in range(3)]
        newest_first = [f.id for f in client.files.list(purpose="vision", limit=1) if f.id in ids]
        oldest_first = [f.id for f in client.files.list(purpose="vision", order="asc", limit=2) if f.id in ids]
        assert newest_first == ids[::-1]
        assert oldest_first == ids


class TestDelete:
    def test_removes_the_file(self, client: openai.OpenAI) -> None:
        file_id = upload(client, ["x"])
        assert client.files.delete(file_id).deleted is True
        for gone in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError):
                gone(file_id)

    def test_is_refused_while_a_job_needs_the_file(self, start_trainer: Starter) -> None:
        with client_of(start_trainer(TRAINER_PACE_SECONDS="60")) as client:
            file_id = upload(client, questions(10))
            job = client.fine_tuning.jobs.create(model="gpt-4o", training_file=file_id)
            with pytest.raises(openai.ConflictError):
                client.files.delete(file_id)
            client.fine_tuning.jobs.cancel(job.id)
            assert client.files.delete(file_id).deleted is True
