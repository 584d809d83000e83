"""The launcher against a real Ray. A module of a few lines stands in for `trainer.train` on the nodes."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from trainer.launchers.port import Launch, Outcome
from trainer.launchers.ray import RayLauncher

from .cluster import TOKEN, Cluster, until


@pytest.fixture
def launcher(cluster: Cluster) -> Iterator[RayLauncher]:
    made = RayLauncher(cluster.address, token=TOKEN, cpus_per_job=1)
    yield made
    made.close()


@pytest.fixture
def program(tmp_path: Path) -> "Program":
    return Program(tmp_path)


class Program:
    """Launches whose process is the code of `does`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def launch(self, name: str, does: str, *, gpus: int = 1, environment: Mapping[str, str] | None = None) -> Launch:
        module = self._folder / name / "trainer" / "train.py"
        module.parent.mkdir(parents=True)
        (module.parent / "__init__.py").touch()
        module.write_text(does)
        variables = {"PYTHONPATH": str(self._folder / name), **(environment or {})}
        return Launch(name=name, environment=variables, gpus=gpus, validating=gpus == 0)


WAITS = "import signal\nprint('ready', flush=True)\nsignal.pause()\n"


class TestAnAttempt:
    def test_runs_once_with_its_environment_and_its_gpu(self, launcher: RayLauncher, program: Program) -> None:
        does = "import os\nprint('gpu', os.environ['CUDA_VISIBLE_DEVICES'], 'says', os.environ['TRAINER_SAYS'])"
        launch = program.launch("once", does, environment={"TRAINER_SAYS": "hello"})
        launcher.start(launch)
        launcher.start(launch)
        _until_state(launcher, "once", "succeeded")
        launcher.start(launch)
        assert launcher.poll("once").state == "succeeded"
        assert launcher.logs("once").count("gpu 0 says hello\n") == 1

    def test_says_with_what_status_or_signal_it_died(self, launcher: RayLauncher, program: Program) -> None:
        launcher.start(program.launch("exits", "print('the last words')\nraise SystemExit(3)", gpus=0))
        launcher.start(program.launch("dies", "import os\nos.kill(os.getpid(), 9)", gpus=0))
        _until_state(launcher, "exits", "died")
        _until_state(launcher, "dies", "died")
        assert launcher.poll("exits").reason == "exit status 3"
        assert launcher.poll("dies").reason == "killed by signal 9"
        assert "the last words" in launcher.logs("exits")

    def test_that_ray_does_not_know_is_gone(self, launcher: RayLauncher) -> None:
        assert launcher.poll("never/started?").state == "gone"
        launcher.stop("never/started?")
        assert launcher.logs("never/started?").startswith("no logs: ")

    def test_waits_for_a_gpu_and_is_stopped(self, cluster: Cluster, launcher: RayLauncher, program: Program) -> None:
        for name in ("first", "second"):
            launcher.start(program.launch(name, WAITS))
        until(lambda: "ready" in launcher.logs("first") and "ready" in launcher.logs("second"), seconds=60)
        launcher.start(program.launch("third", WAITS))
        waiting = launcher.poll("third")
        assert (waiting.state, waiting.reason) == ("running", "a node with free GPUs and CPUs")
        launcher.stop("third")
        assert launcher.poll("third") == Outcome("died", "the job was stopped before Ray placed it")
        for name in ("first", "second"):
            launcher.stop(name)
            _until(launcher, name, Outcome("died", "the job was stopped in Ray"))
        _until(launcher, "third", Outcome("died", "the job was stopped in Ray"))
        until(lambda: not cluster.training_pids(), seconds=10)
        launcher.stop("first")

    def test_another_launcher_finds_what_this_one_started(
        self, cluster: Cluster, launcher: RayLauncher, program: Program
    ) -> None:
        launcher.start(program.launch("outlives", WAITS))
        launcher.close()
        second = RayLauncher(cluster.address, token=TOKEN, cpus_per_job=1)
        until(lambda: "ready" in second.logs("outlives"), seconds=60)
        assert second.poll("outlives").state == "running"
        second.stop("outlives")
        _until_state(second, "outlives", "died")
        second.close()


class TestALostNode:
    def test_is_the_reason_of_a_death(self, cluster: Cluster, launcher: RayLauncher, program: Program) -> None:
        launcher.start(program.launch("bereft", WAITS))
        until(lambda: "ready" in launcher.logs("bereft"), seconds=60)
        [pid] = cluster.training_pids()
        cluster.kill_node_of(pid)
        _until_state(launcher, "bereft", "died")
        reason = launcher.poll("bereft").reason
        assert reason.startswith("its node ")
        assert reason.endswith(" was lost")
        until(lambda: not cluster.training_pids(), seconds=10)
        assert launcher.logs("bereft").startswith("no logs: Ray at http://127.0.0.1:")


class TestAClusterThatAsksForAToken:
    def test_refuses_a_wrong_one_at_the_start(self, cluster: Cluster) -> None:
        with pytest.raises(OSError, match=r"refuses the token \(40\d\).*TRAINER_RAY_TOKEN"):
            RayLauncher(cluster.address, token="wrong", cpus_per_job=1)


def _until(launcher: RayLauncher, name: str, outcome: Outcome) -> None:
    until(lambda: launcher.poll(name) == outcome, seconds=60)


def _until_state(launcher: RayLauncher, name: str, state: str) -> None:
    until(lambda: launcher.poll(name).state == state, seconds=60)
