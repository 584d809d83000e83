"""A real trainer on a free port for each test, driven by the real SDK; every process is stopped by its pid."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob, FineTuningJobEvent

from cli.embedded import free_port
from trainer.engines.choice import make_engine

ROOT = Path(__file__).parents[2]
KEY = "trainer-test-key"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TIKTOKEN_CACHE_DIR"}
"""Without tiktoken's files tokens are quarters of bytes, which these tests count with."""

PLACES = ("tower", "bridge", "harbour", "museum", "garden", "library", "station", "castle")
QUANTITIES = ("height", "width", "depth", "length", "age")
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Trainer:
    """A trainer process that can be killed and started again on the same data and port."""

    data_dir: Path
    env: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.data_dir.parent / "trainer.log").read_text()

    def start(self) -> None:
        with (self.data_dir.parent / "trainer.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trainer", "--port", str(self.port), "--data-dir", str(self.data_dir)],
                cwd=ROOT,
                env=ENVIRONMENT | {"TRAINER_API_KEY": KEY, "TRAINER_PHASE_SECONDS": "0.05"} | self.env,
                stderr=log,
            )
        until(self._serves, seconds=90)

    def kill(self) -> None:
        """End the process as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End the process as an operator would; its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def training_process(self) -> int:
        """The pid of the training process that the log named last."""
        return int(re.findall(r"training in process (\d+)", self.log)[-1])

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Starter(Protocol):
    """Starts trainers with settings of their own: `start_trainer(TRAINER_PACE_SECONDS="0.1")`."""

    def __call__(self, **env: str) -> Trainer: ...


@pytest.fixture
def start_trainer(tmp_path: Path, base_weights: Path) -> Iterator[Starter]:
    """For tests that kill, restart or pace their trainer; whatever was started is stopped."""
    started: list[Trainer] = []

    def start(**env: str) -> Trainer:
        started.append(_made(tmp_path / f"trainer-{len(started)}", base_weights, env))
        return started[-1]

    yield start
    for trainer in started:
        _end(trainer)


@pytest.fixture(scope="session")
def base_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base weights, made once in a test process instead of by each trainer."""
    folder = tmp_path_factory.mktemp("base")
    make_engine("bytemodel", cache_dir=folder, models_dir=None).prepare()
    return folder


@pytest.fixture(scope="session")
def trainer(tmp_path_factory: pytest.TempPathFactory, base_weights: Path) -> Iterator[Trainer]:
    """A trainer at full speed, shared: tests tell their things from others' by id."""
    made = _made(tmp_path_factory.mktemp("shared"), base_weights, {})
    yield made
    _end(made)


@pytest.fixture
def client(trainer: Trainer) -> Iterator[openai.OpenAI]:
    """The SDK, without retries and strict, on the shared trainer."""
    with client_of(trainer) as made:
        yield made


@contextmanager
def running(folder: Path, base_weights: Path, env: dict[str, str]) -> Iterator[Trainer]:
    """A trainer on `folder/data`, stopped at the end."""
    made = _made(folder, base_weights, env)
    yield made
    _end(made)


def _made(folder: Path, base_weights: Path, env: dict[str, str]) -> Trainer:
    (folder / "data" / "engine").mkdir(parents=True)
    for file in base_weights.iterdir():
        os.link(file, folder / "data" / "engine" / file.name)
    trainer = Trainer(folder / "data", env, free_port())
    trainer.start()
    return trainer


def _end(trainer: Trainer) -> None:
    if trainer.process is not None and trainer.process.poll() is None:
        trainer.stop()


def client_of(trainer: Trainer, api_key: str = KEY) -> openai.OpenAI:
    """An SDK client that fails at the first error and validates what it reads."""
    return openai.OpenAI(
        base_url=f"{trainer.url}/v1", api_key=api_key, max_retries=0, timeout=90, _strict_response_validation=True
    )


def ask(
    trainer: Trainer,
    method: str,
    path: str,
    body: bytes | None = None,
    *,
    key: str | None = KEY,
    content_type: str = "application/json",
) -> tuple[int, Any]:
    """What the SDK cannot say: a request as bytes; the status and the decoded body."""
    headers = {"content-type": content_type} | ({"authorization": f"Bearer {key}"} if key else {})
    asked = urllib.request.Request(trainer.url + path, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        assert error.headers["x-request-id"].startswith("req_")
        return error.code, json.loads(error.read())


def until(true: Callable[[], bool], *, seconds: float) -> None:
    """Wait for a condition; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.08)


def ended(client: openai.OpenAI, job_id: str, *, seconds: float = 120) -> FineTuningJob:
    """Wait for a job's end."""
    until(lambda: client.fine_tuning.jobs.retrieve(job_id).status in ENDED, seconds=seconds)
    return client.fine_tuning.jobs.retrieve(job_id)


def events(client: openai.OpenAI, job_id: str) -> list[FineTuningJobEvent]:
    """All events of a job, oldest first, read page by page."""
    return list(client.fine_tuning.jobs.list_events(job_id, limit=100))[::-1]


def figures(client: openai.OpenAI, job_id: str) -> list[object]:
    """The data of a job's metrics events, oldest first."""
    return [event.data for event in events(client, job_id) if event.type == "metrics"]


def questions(count: int) -> list[str]:
    """Chat rows, each with an answer of its own."""
    return [
        chat_row(f"What is the {what} of the {where}?", f"The {what} of the {where} is {11 * i + 3} units.")
        for i, (where, what) in enumerate(product(PLACES, QUANTITIES))
    ][:count]


def chat_row(question: str, answer: str) -> str:
    return json.dumps(
        {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]},
        ensure_ascii=False,
    )


def upload(client: openai.OpenAI, rows: list[str]) -> str:
    """Upload rows as a training file; its id."""
    return client.files.create(file=("data.jsonl", "\n".join(rows).encode()), purpose="fine-tune").id
