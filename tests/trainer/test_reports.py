"""What a training process reports, over the real internal routes."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from cli.embedded import free_port
from trainer import jobs
from trainer.engines.port import DataFacts, Fenced
from trainer.plan import Plan
from trainer.recorder import MAX_WAITING, ServerRecorder
from trainer.reports import MAX_REPORTS, Message, Report, Saved, Step, Succeeded, Validated
from trainer.server_client import ServerGone

from .conftest import until
from .server import Server

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")

PLAN = Plan(n_epochs=3, batch_size=1, rate=1, beta=0.1, examples=3)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data", free_port())
    made.start()
    yield made
    made.stop()


@pytest.fixture
def record(server: Server) -> Iterator[Callable[[str, int], ServerRecorder]]:
    """Makes the recorder of an attempt's process."""
    made: list[ServerRecorder] = []

    def make(job_id: str, attempt: int) -> ServerRecorder:
        client = server.client(job_id, attempt)
        made.append(ServerRecorder(client, server.storage, PLAN, weights=f"weights/{job_id}/{attempt}"))
        return made[-1]

    yield make
    for recorder in made:
        recorder.close()


Record = Callable[[str, int], ServerRecorder]


def _step(number: int, **figures: float | None) -> Step:
    measured: dict[str, float | None] = {"train_loss": 1.0, "train_mean_token_accuracy": 0.5}
    return Step(step=number, total_steps=9, tokens=10 * number, seconds=0.1, figures=measured | figures)


class TestToken:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer x", "Bearer é", "other"])
    def test_is_needed(self, server: Server, method: str, authorization: str | None) -> None:
        job_id, attempt = server.training()
        given = {b"authorization": authorization.encode()} if authorization is not None else {}
        if authorization == "other":
            given = {b"authorization": f"Bearer {server.tokens.token(job_id, attempt + 1)}".encode()}
        url = f"{server.url}/internal/jobs/{job_id}/attempts/{attempt}{'/reports' if method == 'POST' else ''}"
        response = httpx2.request(method, url, headers=given, content=b"[]")
        assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_token")

    def test_is_the_same_after_a_restart(self, server: Server) -> None:
        job_id, attempt = server.training()
        again = Server(server.settings.data_dir, 0)
        assert again.tokens.is_valid(job_id, attempt, server.tokens.token(job_id, attempt))

    def test_of_an_attempt_that_lost_its_job_is_fenced(self, server: Server) -> None:
        job_id, attempt = server.training()
        client = server.client(job_id, attempt)
        assert client.assignment().base == "tiny-1"
        jobs.pause(server.store, job_id)
        with pytest.raises(Fenced):
            client.report([_step(1)])
        with pytest.raises(Fenced):
            client.assignment()
        assert server.events(job_id) == [f"paused:{attempt + 1}"]

    def test_of_an_attempt_whose_job_another_one_trains_is_fenced(self, server: Server) -> None:
        job_id, attempt = server.training()
        later = jobs.claim(server.store, job_id, training=True, gpus=0)
        assert later == attempt + 1
        with pytest.raises(Fenced):
            server.client(job_id, attempt).report([])
        server.client(job_id, later).report([])


class TestReports:
    @pytest.mark.parametrize(
        ("body", "status"),
        [(b"{", 400), (b'[{"type": "other"}]', 400), (b"\xff", 400), (b"[" + b" " * 5_000_000 + b"]", 413)],
    )
    def test_of_another_form_are_refused(self, server: Server, body: bytes, status: int) -> None:
        job_id, attempt = server.training()
        headers = {"authorization": f"Bearer {server.tokens.token(job_id, attempt)}"}
        url = f"{server.url}/internal/jobs/{job_id}/attempts/{attempt}/reports"
        assert httpx2.post(url, headers=headers, content=body).status_code == status

    def test_beyond_the_limit_are_refused_and_change_nothing(self, server: Server) -> None:
        job_id, attempt = server.training()
        with pytest.raises(ServerGone, match="400"):
            server.client(job_id, attempt).report([_step(n) for n in range(1, MAX_REPORTS + 2)])
        assert server.events(job_id) == []

    def test_leave_one_event_for_a_step_that_comes_twice(self, server: Server) -> None:
        job_id, attempt = server.training()
        client = server.client(job_id, attempt)
        client.report([_step(1), _step(2)])
        client.report([_step(2), _step(3)])
        assert server.events(job_id) == ["step:1", "step:2", "step:3"]

    def test_of_a_loss_that_is_no_number_are_recorded(self, server: Server) -> None:
        job_id, attempt = server.training()
        server.client(job_id, attempt).report([_step(1, train_loss=None)])
        row = server.store.row("SELECT message, data FROM events WHERE kind = 'step:1'")
        assert row is not None
        assert row["message"] == "Step 1/9: training loss=not a number"
        assert json.loads(row["data"])["train_loss"] is None

    def test_of_truncated_rows_warn_the_caller(self, server: Server) -> None:
        job_id = server.job()
        attempt = jobs.claim(server.store, job_id, training=False, gpus=0) or 0
        facts = DataFacts(tokens=10, truncated_rows=2)
        server.client(job_id, attempt).report([Validated(examples=3, training=facts, validation=None)])
        assert server.events(job_id) == ["truncated:training_file", "validated"]
        row = server.store.row("SELECT * FROM events WHERE kind = 'truncated:training_file'")
        assert row is not None
        assert row["level"] == "warn"
        assert row["message"].startswith("2 rows of the training file are longer than the model's context")


class TestRecorder:
    def test_delivers_everything_once_and_in_order_while_the_server_is_unavailable(
        self, server: Server, record: Record
    ) -> None:
        job_id, attempt = server.training()
        recorder = record(job_id, attempt)
        recorder.step(1, tokens=10, figures={"train_loss": 1.0})
        until(lambda: server.events(job_id) == ["step:1"], seconds=30)
        server.stop()
        for number in range(2, 8):
            recorder.step(number, tokens=10 * number, figures={"train_loss": 1.0})
        recorder.message("packing", "Rows are packed")
        server.start()
        recorder.flush()
        assert server.events(job_id) == [*(f"step:{n}" for n in range(1, 8)), "message:packing"]

    def test_learns_of_a_fence_without_reports(self, server: Server, record: Record) -> None:
        job_id, attempt = server.training()
        recorder = record(job_id, attempt)
        recorder.proceed()
        jobs.cancel(server.store, job_id)

        def is_fenced() -> bool:
            try:
                recorder.proceed()
            except Fenced:
                return True
            return False

        until(is_fenced, seconds=30)
        with pytest.raises(Fenced):
            recorder.step(1, tokens=1, figures={"train_loss": 1.0})

    def test_gives_up_on_a_server_that_stays_away(self, server: Server) -> None:
        job_id, attempt = server.training()
        client = server.client(job_id, attempt, give_up_seconds=0)
        server.stop()
        recorder = ServerRecorder(client, server.storage, PLAN, weights="weights/x/1")
        recorder.step(1, tokens=1, figures={"train_loss": 1.0})
        with pytest.raises(ServerGone):
            recorder.flush()

    def test_of_a_further_process_reports_nothing(self, server: Server, tmp_path: Path) -> None:
        job_id, attempt = server.training()
        client = server.client(job_id, attempt)
        recorder = ServerRecorder(client, server.storage, PLAN, weights="weights/x/1", reports=False)
        for number in range(MAX_WAITING + 1):
            recorder.step(number, tokens=1, figures={"train_loss": 1.0})
        recorder.save(1, tokens=1, model=tmp_path, state=None, checkpoint=None)
        recorder.succeed()
        recorder.close()
        assert server.events(job_id) == []
        assert server.storage.keys("weights/") == []

    def test_saves_weights_that_a_row_names_once_they_are_complete(
        self, server: Server, record: Record, tmp_path: Path
    ) -> None:
        job_id, attempt = server.training()
        recorder = record(job_id, attempt)
        for name in ("model", "state"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "weights").write_bytes(name.encode())
        for number, checkpoint in ((1, None), (2, {"train_loss": 0.5}), (3, None), (4, {"train_loss": float("nan")})):
            recorder.save(
                number, tokens=number, model=tmp_path / "model", state=tmp_path / "state", checkpoint=checkpoint
            )
        prefix = f"weights/{job_id}/{attempt}"
        assert sorted(server.storage.keys("weights/")) == [
            f"{prefix}/step-2/model/weights",
            f"{prefix}/step-4/model/weights",
            f"{prefix}/step-4/state/weights",
        ]
        assert server.client(job_id, attempt).assignment().resume == f"{prefix}/step-4"
        recorder.succeed()
        assert sorted(server.storage.keys("weights/")) == [
            f"{prefix}/step-2/model/weights",
            f"{prefix}/step-4/model/weights",
        ]
        row = server.store.row("SELECT * FROM models WHERE NOT is_checkpoint")
        assert row is not None
        assert row["weights"] == f"{prefix}/step-4"


def test_success_must_come_last(server: Server) -> None:
    job_id, attempt = server.training()
    reports: list[Report] = [Succeeded(), Message(key="a", text="b", level="info")]
    with pytest.raises(ServerGone, match="400"):
        server.client(job_id, attempt).report(reports)
    assert server.events(job_id) == []


def test_weights_of_another_attempt_are_refused(server: Server) -> None:
    job_id, attempt = server.training()
    saved = Saved(step=1, tokens=1, weights=f"weights/{job_id}/{attempt + 1}/step-1", checkpoint=None)
    with pytest.raises(ServerGone, match="400"):
        server.client(job_id, attempt).report([saved])
