"""Who trains next, on how many GPUs, and what is metered: the supervisor with a launcher of the test."""

from pathlib import Path

import pytest

from trainer import jobs
from trainer.engines.port import DataFacts
from trainer.launchers.port import Launch, Outcome
from trainer.recording import record
from trainer.reports import Failed, Validated
from trainer.settings import read_settings
from trainer.store import Store
from trainer.supervisor import Supervisor

from .server import Server


class ManualLauncher:
    """A launcher, as on a cluster, whose processes do what the test says."""

    poll_seconds = 0.0

    def __init__(self, *, survives_restart: bool = True) -> None:
        self.survives_restart = survives_restart
        self.outcomes: dict[str, Outcome] = {}
        self.launches: list[Launch] = []
        self.stopped: list[str] = []
        self.unavailable = False

    def start(self, launch: Launch) -> None:
        if self.unavailable:
            raise OSError("no cluster")
        self.launches.append(launch)
        self.outcomes[launch.name] = Outcome("running")

    def poll(self, name: str) -> Outcome:
        return self.outcomes.get(name, Outcome("gone"))

    def stop(self, name: str) -> None:
        self.stopped.append(name)
        self.outcomes[name] = Outcome("died", "stopped")

    def logs(self, name: str) -> str:
        return f"the last words of {name}"

    def close(self) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    for name, value in {"TRAINER_GPUS": "4", "TRAINER_GPUS_PER_JOB": "2", "TRAINER_PHASE_SECONDS": "0"}.items():
        monkeypatch.setenv(name, value)
    return Server(tmp_path / "data", 0)


@pytest.fixture
def launcher() -> ManualLauncher:
    return ManualLauncher()


def _supervisor(server: Server, launcher: ManualLauncher) -> Supervisor:
    return Supervisor(
        server.store, server.storage, server.settings, launcher, server.tokens, server_url="http://server"
    )


def _queued(server: Server) -> str:
    job_id = server.job()
    with server.store.write() as db:
        db.execute("UPDATE jobs SET status = 'queued', validated = 1, entered_at = 0 WHERE id = ?", (job_id,))
    return job_id


def _places(store: Store) -> list[int | None]:
    return [jobs.queue_place(store, row) for row in store.rows("SELECT * FROM jobs ORDER BY seq")]


class TestSlots:
    def test_are_gpus_by_gpus_a_job(self, server: Server) -> None:
        assert server.settings.slots == 2

    def test_without_gpus_are_processes(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRAINER_MAX_PROCESSES", "3")
        assert read_settings(tmp_path).slots == 3

    def test_of_more_gpus_than_there_are_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRAINER_GPUS", "1")
        monkeypatch.setenv("TRAINER_GPUS_PER_JOB", "2")
        with pytest.raises(ValueError, match="TRAINER_GPUS_PER_JOB is 2, more than the 1 of TRAINER_GPUS"):
            read_settings(tmp_path)


class TestQueue:
    def test_starts_jobs_in_order_and_gives_the_others_a_place(self, server: Server, launcher: ManualLauncher) -> None:
        ids = [_queued(server) for _ in range(4)]
        supervisor = _supervisor(server, launcher)
        assert _places(server.store) == [1, 2, 3, 4]
        supervisor.check()
        assert [launch.name for launch in launcher.launches] == [f"{job_id}-1" for job_id in ids[:2]]
        assert {launch.gpus for launch in launcher.launches} == {2}
        assert _places(server.store) == [None, None, 1, 2]
        jobs.cancel(server.store, ids[0])
        supervisor.check()
        assert [launch.name for launch in launcher.launches][2:] == [f"{ids[2]}-1"]
        assert _places(server.store) == [None, None, None, 1]

    def test_reports_a_place_when_it_changes_coarsely(self, server: Server, launcher: ManualLauncher) -> None:
        ids = [_queued(server) for _ in range(9)]
        supervisor = _supervisor(server, launcher)
        supervisor.check()
        supervisor.check()
        assert server.events(ids[8]) == ["place:5"]
        for job_id in ids[1:8]:
            jobs.cancel(server.store, job_id)
            supervisor.check()
        assert server.events(ids[8]) == ["place:5", "place:3", "place:2", "place:1"]

    def test_lets_no_later_job_overtake_one_that_died(self, server: Server, launcher: ManualLauncher) -> None:
        ids = [_queued(server) for _ in range(3)]
        supervisor = _supervisor(server, launcher)
        supervisor.check()
        launcher.outcomes[f"{ids[0]}-1"] = Outcome("died", "signal 9")
        supervisor.check()
        assert [launch.name for launch in launcher.launches] == [f"{ids[0]}-1", f"{ids[1]}-1"]

    def test_waits_for_an_unavailable_cluster_and_counts_no_death(
        self, server: Server, launcher: ManualLauncher
    ) -> None:
        _queued(server)
        launcher.unavailable = True
        supervisor = _supervisor(server, launcher)
        for _ in range(jobs.MAX_CRASHES + 1):
            supervisor.check()
            supervisor._not_before.clear()
        launcher.unavailable = False
        supervisor.check()
        assert len(launcher.launches) == 1
        assert server.store.rows("SELECT crashes FROM jobs")[0]["crashes"] == 0


class TestAttempt:
    def test_that_outlived_its_server_is_found_again(self, server: Server, launcher: ManualLauncher) -> None:
        job_id = _queued(server)
        _supervisor(server, launcher).check()
        again = _supervisor(server, launcher)
        again.check()
        assert len(launcher.launches) == 1
        launcher.outcomes[f"{job_id}-1"] = Outcome("died", "its node was lost")
        again.check()
        again._not_before.clear()
        again.check()
        assert [launch.name for launch in launcher.launches] == [f"{job_id}-1", f"{job_id}-2"]

    def test_that_did_not_outlive_its_server_is_started_anew(self, server: Server) -> None:
        job_id = _queued(server)
        _supervisor(server, ManualLauncher(survives_restart=False)).check()
        launcher = ManualLauncher(survives_restart=False)
        _supervisor(server, launcher).check()
        assert [launch.name for launch in launcher.launches] == [f"{job_id}-2"]

    def test_of_a_paused_job_is_stopped(self, server: Server, launcher: ManualLauncher) -> None:
        job_id = _queued(server)
        supervisor = _supervisor(server, launcher)
        supervisor.check()
        jobs.pause(server.store, job_id)
        supervisor.check()
        assert launcher.stopped == [f"{job_id}-1"]

    @pytest.mark.parametrize(
        ("reason", "advice"),
        [("exit status 3", "log has the cause"), ("signal 9", "memory"), ("killed by signal 9", "memory")],
    )
    def test_that_dies_five_times_fails_its_job_with_the_reason(
        self, server: Server, launcher: ManualLauncher, reason: str, advice: str
    ) -> None:
        job_id = _queued(server)
        supervisor = _supervisor(server, launcher)
        for number in range(1, jobs.MAX_CRASHES + 1):
            supervisor._not_before.clear()
            supervisor.check()
            launcher.outcomes[f"{job_id}-{number}"] = Outcome("died", reason)
            supervisor.check()
        row = server.store.row("SELECT status, error FROM jobs")
        assert row is not None
        assert row["status"] == "failed"
        assert f"died 5 times without a step in between; the last time: {reason}. " in row["error"]
        assert advice in row["error"]

    def test_that_is_gone_is_started_anew_and_did_not_die(self, server: Server, launcher: ManualLauncher) -> None:
        job_id = _queued(server)
        supervisor = _supervisor(server, launcher)
        supervisor.check()
        launcher.outcomes.clear()
        supervisor.check()
        supervisor._not_before.clear()
        supervisor.check()
        assert [launch.name for launch in launcher.launches] == [f"{job_id}-1", f"{job_id}-2"]
        assert server.store.rows("SELECT crashes FROM jobs")[0]["crashes"] == 0

    def test_gets_all_it_needs_in_its_environment(self, server: Server, launcher: ManualLauncher) -> None:
        job_id = _queued(server)
        _supervisor(server, launcher).check()
        environment = launcher.launches[0].environment
        assert environment["TRAINER_ATTEMPT_URL"] == f"http://server/internal/jobs/{job_id}/attempts/1"
        assert environment["TRAINER_ATTEMPT_TOKEN"] == server.tokens.token(job_id, 1)
        assert environment["TRAINER_PHASE"] == "train"


class TestMeter:
    def _used(self, server: Server) -> tuple[float, float]:
        row = server.store.row("SELECT process_seconds, gpu_seconds FROM jobs")
        assert row is not None
        return row["process_seconds"], row["gpu_seconds"]

    def _pass_time(self, server: Server, seconds: float) -> None:
        with server.store.write() as db:
            db.execute("UPDATE jobs SET metered_at = metered_at - ?", (seconds,))

    def test_counts_from_start_to_end_times_gpus(self, server: Server, launcher: ManualLauncher) -> None:
        job_id = _queued(server)
        supervisor = _supervisor(server, launcher)
        supervisor.check()
        self._pass_time(server, 100)
        launcher.outcomes[f"{job_id}-1"] = Outcome("died")
        supervisor.check()
        used = self._used(server)
        assert used[0] == pytest.approx(100, abs=20)
        assert used[1] == pytest.approx(2 * used[0], rel=0.01)
        self._pass_time(server, 1_000)
        supervisor.check()
        assert self._used(server) == used

    def test_leaves_out_what_a_cluster_had_no_place_for(self, server: Server, launcher: ManualLauncher) -> None:
        job_id = _queued(server)
        supervisor = _supervisor(server, launcher)
        supervisor.check()
        launcher.outcomes[f"{job_id}-1"] = Outcome("running", "waits for a node")
        supervisor.check()
        self._pass_time(server, 100)
        launcher.outcomes[f"{job_id}-1"] = Outcome("running")
        supervisor.check()
        launcher.outcomes[f"{job_id}-1"] = Outcome("died")
        supervisor.check()
        assert self._used(server)[0] < 50

    def test_counts_no_gpus_of_a_validation(self, server: Server, launcher: ManualLauncher) -> None:
        server.job()
        supervisor = _supervisor(server, launcher)
        supervisor.check()
        assert launcher.launches[0].gpus == 0
        self._pass_time(server, 100)
        launcher.outcomes.update(dict.fromkeys(launcher.outcomes, Outcome("succeeded")))
        supervisor.check()
        used = self._used(server)
        assert used[0] == pytest.approx(100, abs=20)
        assert used[1] == 0


def test_data_of_another_version_are_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create_tables()
    store.create_tables()
    with store.write() as db:
        db.execute("PRAGMA user_version = 1")
    with pytest.raises(ValueError, match="another version of the trainer: start with an empty --data-dir"):
        store.create_tables()


def test_a_job_that_failed_is_not_started_again(server: Server, launcher: ManualLauncher) -> None:
    job_id = server.job()
    supervisor = _supervisor(server, launcher)
    supervisor.check()
    record(server.store, server.storage, job_id, 1, [Failed(code="invalid_training_file", message="no", param=None)])
    launcher.outcomes[f"{job_id}-1"] = Outcome("succeeded")
    supervisor.check()
    supervisor.check()
    assert len(launcher.launches) == 1


def test_a_validated_job_waits_in_the_queue(server: Server, launcher: ManualLauncher) -> None:
    job_id = server.job()
    supervisor = _supervisor(server, launcher)
    supervisor.check()
    facts = DataFacts(tokens=3)
    record(server.store, server.storage, job_id, 1, [Validated(examples=3, training=facts, validation=None)])
    assert _places(server.store) == [1]
