"""Inference handed to vLLM: a program that speaks its wire and reads the resolver's folder, over real HTTP."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.embedded import free_port
from trainer.store import Store
from trainer.vllm.adapters import Adapters
from trainer.vllm.names import adapter_name, model_name
from trainer.vllm.publisher import Publisher
from trainer.vllm.servers import NotServed, Servers

from .conftest import ROOT, Starter, Trainer, client_of, running, until

BASE = "tiny-1"
TUNED = "ft:tiny-1:trainer:sql:abc12345"
OTHER = "ft:tiny-1:trainer::zzz99999"
WIRE_ROOT = "/models/tiny-1"
ASKED: list[Any] = [{"role": "user", "content": "list all users"}]


@dataclass
class Vllm:
    """The program, which can be killed and started again on its port and folder."""

    adapters: Path
    options: list[str] = field(default_factory=list)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, *options: str) -> None:
        self.adapters.mkdir(exist_ok=True)
        given = ["--port", str(self.port), "--adapters", str(self.adapters), "--served", BASE, "--root", WIRE_ROOT]
        command = [sys.executable, "-m", "tests.trainer.vllm_wire", *given, *self.options, *options]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        until(self._answers, seconds=60)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=data), timeout=30) as answer:
            return json.loads(answer.read())

    def fault(self, kind: str) -> None:
        self.ask("/_fault", {"kind": kind})

    def models(self) -> list[str]:
        return [model["id"] for model in self.ask("/v1/models")["data"]]

    def _answers(self) -> bool:
        try:
            return bool(self.ask("/_seen"))
        except OSError:
            return False


@pytest.fixture
def vllm(tmp_path: Path) -> Iterator[Vllm]:
    """One for this test, not started."""
    made = Vllm(tmp_path / "adapters")
    yield made
    if made.process is not None:
        made.kill()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory of a trainer with a tuned model; the weights of another are a job's that has trained."""
    return _data(tmp_path / "trainer-0" / "data")


def _data(folder: Path) -> Path:
    store = Store(folder)
    store.create_tables()
    _write_adapter(folder, "ftjob-1")
    _write_adapter(folder, "ftjob-2")
    with store.write() as db:
        db.execute(
            "INSERT INTO models (id, created_at, base, weights, is_checkpoint) VALUES (?, 1, ?, ?, 0)",
            (TUNED, BASE, "weights/ftjob-1/1/step-2"),
        )
    return folder


def _write_adapter(data: Path, job: str) -> Path:
    folder = data / "store" / "weights" / job / "1" / "step-2" / "model"
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": "/somewhere/tiny-1", "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights of " + job.encode())
    return folder


def _add_job(data: Path, *, waits_since: float | None = None) -> None:
    with Store(data).write() as db:
        db.execute(
            "INSERT INTO jobs (id, created_at, status, entered_at, model, base, seed, training_file, method, n_epochs,"
            " batch_size, rate, tuned_name, resume_weights) VALUES"
            " ('ftjob-2', 1, 'publishing', ?, ?, ?, 1, 'file-1', 'supervised', '1', '1', '1', ?, ?)",
            (time.time() if waits_since is None else waits_since, BASE, BASE, OTHER, "weights/ftjob-2/1/step-2"),
        )


def _publisher(data: Path, vllm: Vllm, *, wait_seconds: float = 600) -> Publisher:
    def folder_of(prefix: str) -> Path:
        return data / "store" / prefix

    servers = Servers((vllm.url,), "")
    return Publisher(Store(data), folder_of, servers, Adapters(vllm.adapters), wait_seconds=wait_seconds)


def _job(data: Path) -> Any:
    return Store(data).row("SELECT * FROM jobs WHERE id = 'ftjob-2'")


@dataclass
class Pair:
    """A trainer and the vLLM that serves its models; tests leave both running."""

    trainer: Trainer
    vllm: Vllm


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, base_weights: Path) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    _data(folder / "data")
    vllm = Vllm(folder / "adapters")
    vllm.start()
    env = {
        "TRAINER_SERVE_URL": f"{vllm.url}/v1/",
        "TRAINER_SERVE_ADAPTERS_DIR": str(vllm.adapters),
        "TRAINER_SERVE_TIMEOUT_SECONDS": "1.5",
    }
    with running(folder, base_weights, env) as trainer:
        yield Pair(trainer, vllm)
    vllm.kill()


@pytest.fixture
def client(pair: Pair) -> Iterator[openai.OpenAI]:
    with client_of(pair.trainer) as made:
        yield made


def _chat(client: openai.OpenAI, model: str = TUNED, **more: Any) -> str:
    made = client.chat.completions.create(model=model, messages=ASKED, **more)
    assert made.model == model
    return str(made.choices[0].message.content)


def _error(raised: pytest.ExceptionInfo[openai.APIStatusError]) -> tuple[int, str | None]:
    return raised.value.status_code, raised.value.code


class TestAnswers:
    def test_by_the_names_that_callers_know(self, client: openai.OpenAI, pair: Pair) -> None:
        assert _chat(client) == f"{adapter_name(TUNED)} list all users"
        assert _chat(client, BASE) == f"{BASE} list all users"
        made = client.completions.create(model=TUNED, prompt="one two", max_tokens=5)
        assert made.choices[0].text == f"{adapter_name(TUNED)} one two"
        published = json.loads((pair.vllm.adapters / adapter_name(TUNED) / "adapter_config.json").read_text())
        assert published == {"peft_type": "LORA", "base_model_name_or_path": WIRE_ROOT, "r": 8}

    def test_stream_is_passed_on_as_it_comes(self, client: openai.OpenAI, pair: Pair) -> None:
        _chat(client)
        before = pair.vllm.ask("/_seen")["hung_up"]
        pair.vllm.fault("silence")
        with client.chat.completions.create(model=TUNED, messages=ASKED, stream=True) as stream:
            chunks = iter(stream)
            first = [next(chunks) for _ in range(2)]
        assert [chunk.choices[0].delta.content for chunk in first] == [f"{adapter_name(TUNED)} ", "list "]
        assert {chunk.model for chunk in first} == {TUNED}
        until(lambda: pair.vllm.ask("/_seen")["hung_up"] == before + 1, seconds=30)

    def test_whole_stream_ends_with_done(self, client: openai.OpenAI) -> None:
        chunks = list(client.chat.completions.create(model=TUNED, messages=ASKED, stream=True))
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == f"{adapter_name(TUNED)} list all users "

    def test_vllm_checks_and_does_what_the_trainer_alone_cannot(self, client: openai.OpenAI, pair: Pair) -> None:
        _chat(client, response_format={"type": "json_object"}, tool_choice="required", n=2)
        seen = pair.vllm.ask("/_seen")["seen"][-1]["body"]
        assert (seen["response_format"], seen["tool_choice"], seen["n"]) == ({"type": "json_object"}, "required", 2)

    def test_idempotency_key_gets_its_answer_again(self, client: openai.OpenAI, pair: Pair) -> None:
        _chat(client)
        before = len(pair.vllm.ask("/_seen")["seen"])
        assert _chat(client, extra_headers={"Idempotency-Key": "k"}) == _chat(
            client, extra_headers={"Idempotency-Key": "k"}
        )
        assert len(pair.vllm.ask("/_seen")["seen"]) == before + 1

    def test_survive_restarts_of_both(self, client: openai.OpenAI, pair: Pair) -> None:
        first = _chat(client)
        pair.vllm.kill()
        pair.vllm.start()
        assert pair.vllm.models() == [BASE]
        assert _chat(client) == first
        pair.trainer.kill()
        pair.trainer.start()
        assert _chat(client) == first


class TestFaults:
    def test_silence_ends_after_its_bound(self, client: openai.OpenAI, pair: Pair) -> None:
        _chat(client)
        pair.vllm.fault("hang")
        with pytest.raises(openai.APIStatusError, match="TRAINER_SERVE_TIMEOUT_SECONDS") as raised:
            _chat(client)
        assert _error(raised) == (504, "serving_timeout")
        assert _chat(client)

    @pytest.mark.parametrize(
        ("fault", "message"), [("500", "failed with status 500: EngineCore"), ("not-json", "something else")]
    )
    def test_failure_is_named_as_vllms(self, client: openai.OpenAI, pair: Pair, fault: str, message: str) -> None:
        _chat(client)
        pair.vllm.fault(fault)
        with pytest.raises(openai.APIStatusError, match=message) as raised:
            _chat(client)
        assert _error(raised) == (502, "serving_error")

    @pytest.mark.parametrize(("fault", "message"), [("cut", "was lost"), ("silence", "silent"), ("error", "Internal")])
    def test_broken_stream_ends_with_an_error_and_without_done(
        self, client: openai.OpenAI, pair: Pair, fault: str, message: str
    ) -> None:
        _chat(client)
        pair.vllm.fault(fault)
        stream = iter(client.chat.completions.create(model=TUNED, messages=ASKED, stream=True))
        assert all(next(stream).model == TUNED for _ in range(2))
        with pytest.raises(openai.APIError, match=message):
            next(stream)

    def test_absent_server_is_503_until_it_is_back(self, client: openai.OpenAI, pair: Pair) -> None:
        first = _chat(client)
        pair.vllm.kill()
        with pytest.raises(openai.APIStatusError) as raised:
            _chat(client)
        assert _error(raised) == (503, "serving_unavailable")
        assert raised.value.response.headers["retry-after"] == "5"
        pair.vllm.start()
        assert _chat(client) == first

    def test_vllm_without_its_resolver_is_explained(self, client: openai.OpenAI, pair: Pair) -> None:
        pair.vllm.kill()
        pair.vllm.start("--no-resolver")
        with pytest.raises(openai.APIStatusError, match="--enable-lora") as raised:
            _chat(client)
        assert _error(raised) == (503, "model_not_served")
        pair.vllm.kill()
        pair.vllm.start()

    def test_prompt_over_the_context_is_openais_error(self, client: openai.OpenAI) -> None:
        long: list[Any] = [{"role": "user", "content": "word " * 60}]
        with pytest.raises(openai.BadRequestError, match="maximum context length is 50") as raised:
            client.chat.completions.create(model=TUNED, messages=long)
        assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "messages")

    def test_caller_who_hangs_up_ends_vllms_work(self, client: openai.OpenAI, pair: Pair) -> None:
        _chat(client)
        before, logged = pair.vllm.ask("/_seen")["hung_up"], len(pair.trainer.log)
        pair.vllm.fault("hang")
        with pytest.raises(openai.APITimeoutError):
            _chat(client, timeout=0.3)
        until(lambda: pair.vllm.ask("/_seen")["hung_up"] == before + 1, seconds=30)
        assert "silent" not in pair.trainer.log[logged:]

    def test_unknown_model_is_404_without_asking_vllm(self, client: openai.OpenAI, pair: Pair) -> None:
        before = len(pair.vllm.ask("/_seen")["seen"])
        with pytest.raises(openai.NotFoundError):
            _chat(client, "ft:tiny-1:trainer::nothere1")
        assert len(pair.vllm.ask("/_seen")["seen"]) == before

    def test_wrong_key_is_the_operators_error(self, vllm: Vllm, data: Path, start_trainer: Starter) -> None:
        vllm.start("--api-key", "right")
        settings = {"TRAINER_SERVE_URL": vllm.url, "TRAINER_SERVE_ADAPTERS_DIR": str(vllm.adapters)}
        with client_of(start_trainer(**settings, TRAINER_SERVE_API_KEY="right")) as client:
            assert _chat(client)
            vllm.kill()
            vllm.start("--api-key", "other")
            with pytest.raises(openai.APIStatusError, match="TRAINER_SERVE_API_KEY") as raised:
                _chat(client)
            assert raised.value.status_code == 502

    def test_job_of_full_weights_is_refused(self, client: openai.OpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="adapters only") as raised:
            client.fine_tuning.jobs.create(model=BASE, training_file="file-1", extra_body={"adapter": {"type": "full"}})
        assert (raised.value.code, raised.value.param) == ("model_not_servable", "adapter.type")

    def test_start_without_the_folder_is_refused(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "trainer", "--data-dir", str(tmp_path)]
        ended = subprocess.run(
            command, cwd=ROOT, env={"TRAINER_SERVE_URL": "http://127.0.0.1:1"}, capture_output=True, timeout=60
        )
        assert ended.returncode == 2
        assert b"TRAINER_SERVE_ADAPTERS_DIR" in ended.stderr


class TestModels:
    def test_job_succeeds_and_model_is_listed_once_it_answers_until_it_is_deleted(
        self, vllm: Vllm, data: Path, start_trainer: Starter
    ) -> None:
        _add_job(data)
        settings = {"TRAINER_SERVE_URL": vllm.url, "TRAINER_SERVE_ADAPTERS_DIR": str(vllm.adapters)}
        with client_of(start_trainer(**settings)) as client:
            assert client.fine_tuning.jobs.retrieve("ftjob-2").status == "running"
            with pytest.raises(openai.BadRequestError, match="its model is being published"):
                client.fine_tuning.jobs.pause("ftjob-2")
            assert not {model.id for model in client.models.list()} & {TUNED, OTHER}
            vllm.start()
            until(lambda: client.fine_tuning.jobs.retrieve("ftjob-2").status == "succeeded", seconds=60)
            assert client.fine_tuning.jobs.retrieve("ftjob-2").fine_tuned_model == OTHER
            until(lambda: {model.id for model in client.models.list()} >= {TUNED, OTHER}, seconds=60)
            assert _chat(client, OTHER) == f"{adapter_name(OTHER)} list all users"

            client.models.delete(OTHER)
            assert [folder.name for folder in vllm.adapters.iterdir()] == [adapter_name(TUNED)]
            assert vllm.models() == [BASE, adapter_name(TUNED)]
            with pytest.raises(openai.NotFoundError):
                _chat(client, OTHER)


class TestPublisher:
    def test_job_waits_while_vllm_is_absent(self, vllm: Vllm, data: Path) -> None:
        _add_job(data)
        _publisher(data, vllm).check(threading.Event())
        assert _job(data)["status"] == "publishing"

    def test_job_fails_after_its_bound_with_the_reason(self, vllm: Vllm, data: Path) -> None:
        _add_job(data, waits_since=time.time() - 601)
        _publisher(data, vllm).check(threading.Event())
        error = json.loads(_job(data)["error"])
        assert error["code"] == "model_not_served"
        assert "did not answer within 600 seconds" in error["message"]
        assert "last checkpoint" in error["message"]

    def test_cancelled_job_stays_cancelled(self, vllm: Vllm, data: Path) -> None:
        from trainer.jobs import cancel
        from trainer.recording import succeed

        _add_job(data)
        assert cancel(Store(data), "ftjob-2")
        succeed(Store(data), "ftjob-2")
        assert _job(data)["status"] == "cancelled"
        assert Store(data).row("SELECT 1 FROM models WHERE id = ?", OTHER) is None

    def test_full_weights_say_so(self, vllm: Vllm, data: Path) -> None:
        vllm.start()
        (data / "store" / "weights" / "ftjob-1" / "1" / "step-2" / "model" / "adapter_config.json").unlink()
        with pytest.raises(NotServed, match="full weights"):
            _publisher(data, vllm).publish(TUNED, BASE, "weights/ftjob-1/1/step-2")

    def test_base_that_vllm_lacks_is_named(self, vllm: Vllm) -> None:
        vllm.start()
        with pytest.raises(NotServed, match="serves tiny-1: start vllm serve with --served-model-name gpt-4o"):
            Servers((vllm.url,), "").served("gpt-4o")

    def test_published_again_for_a_base_at_another_path(self, tmp_path: Path) -> None:
        adapters = Adapters(tmp_path / "adapters")
        weights = _write_adapter(tmp_path, "ftjob-9")
        for root in ("/old", "/new"):
            adapters.publish(TUNED, weights, root=root)
            config = json.loads((tmp_path / "adapters" / adapter_name(TUNED) / "adapter_config.json").read_text())
            assert config["base_model_name_or_path"] == root

    def test_adapter_is_complete_or_absent(self, tmp_path: Path) -> None:
        adapters = Adapters(tmp_path / "adapters")
        weights = _write_adapter(tmp_path, "ftjob-9")
        (weights / "broken").symlink_to("nowhere")
        with pytest.raises(OSError, match="broken"):
            adapters.publish(TUNED, weights, root="/models/tiny-1")
        assert not adapters.is_published(TUNED)
        Adapters(tmp_path / "adapters")
        assert list((tmp_path / "adapters").iterdir()) == []

    @given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="="), min_size=1, max_size=40))
    def test_names_go_both_ways_and_fit_a_folder(self, name: str) -> None:
        folder = adapter_name(name)
        assert model_name(folder) == name
        assert set(folder) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~=")
