"""A real Ray on this machine: a head without resources, and nodes with one pretended GPU each.

It asks for a token, as a cluster should that others can reach. Every process belongs to the cluster by a variable in
its environment, and is ended by its pid: `ray stop` would end other people's too.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2

from cli.embedded import free_port

ROOT = Path(__file__).parents[3]
TOKEN = uuid.uuid4().hex
_OWNED_BY = "TUNEGATE_TEST_CLUSTER"
_QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}
"""A lost node is noticed after seconds, not after half a minute."""


class Cluster:
    """One head at `address` (of its dashboard, on loopback) and the nodes that were added."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))  # Ray's sockets need a short path
        self._gcs_port, self._dashboard_port = free_port(), free_port()
        self._owner = uuid.uuid4().hex
        self._nodes: list[subprocess.Popen[bytes]] = []
        self.address = f"http://127.0.0.1:{self._dashboard_port}"
        self._client = httpx2.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=30
        )

    def start(self) -> None:
        """Start the head. Returns when its dashboard answers."""
        dashboard = ["--dashboard-host=127.0.0.1", f"--dashboard-port={self._dashboard_port}"]
        ports = [f"--port={self._gcs_port}", f"--ray-client-server-port={free_port()}", *dashboard]
        self._run("--head", f"--temp-dir={self._folder}", "--num-cpus=0", "--num-gpus=0", *ports)
        until(self._answers, seconds=90)

    def nodes(self, alive: int) -> None:
        """Add nodes with one GPU until `alive` of them are alive, in Ray's view too."""
        self._nodes = [node for node in self._nodes if node.poll() is None]
        for _ in range(alive + 1 - len(self._nodes)):
            self._run(f"--address=127.0.0.1:{self._gcs_port}", "--num-cpus=2", "--num-gpus=1")
            # One after the other: nodes that start together on one machine take the same sockets.
            until(lambda: self._gpus_alive() == len(self._nodes) - 1, seconds=90)

    def node_of(self, pid: int) -> int:
        """The node that `pid` runs on, as the pid of `ray start`."""
        ancestors = set(_ancestors(pid))
        [node] = [node.pid for node in self._nodes if node.pid in ancestors]
        return node

    def kill_node_of(self, pid: int) -> None:
        """Kill the raylet that `pid` runs under, and all other processes of its node that are Ray's."""
        os.killpg(self.node_of(pid), signal.SIGKILL)

    def training_pids(self, **environment: str) -> list[int]:
        """The cluster's training processes with these variables in their environment (their shells are none)."""
        return [
            pid
            for pid in self._processes()
            if "-m trainer.train" in _read(pid, "cmdline").replace("\0", " ")
            and {f"{name}={value}" for name, value in environment.items()} <= set(_read(pid, "environ").split("\0"))
        ]

    def close(self) -> None:
        """End every process and remove the folder."""
        self._client.close()
        for node in self._nodes:
            if node.poll() is None:
                os.killpg(node.pid, signal.SIGKILL)
                node.wait()
        until(self._nothing_left, seconds=30)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, *arguments: str) -> None:
        with (self._folder / f"node-{len(self._nodes)}.log").open("ab") as log:
            self._nodes.append(
                subprocess.Popen(
                    [
                        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"),
                        *("--node-ip-address=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"),
                        *(
                            "--include-log-monitor=false",
                            "--object-store-memory=80000000",
                            f"--dashboard-agent-listen-port={free_port()}",
                        ),
                        *arguments,
                    ],
                    cwd=self._folder,
                    env=os.environ | _QUICK | self._environment(),
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _environment(self) -> dict[str, str]:
        return {
            _OWNED_BY: self._owner,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "TRAINER_ENGINE_DIR": str(self._folder / "engine"),
        }

    def _answers(self) -> bool:
        self._assert_started()
        try:
            return self._client.get("/api/version").status_code == 200
        except httpx2.TransportError:
            return False

    def _assert_started(self) -> None:
        """Fail with its log when the node that was started last has ended."""
        if self._nodes[-1].poll() is not None:
            raise AssertionError((self._folder / f"node-{len(self._nodes) - 1}.log").read_text()[-4000:])

    def _gpus_alive(self) -> float:
        self._assert_started()
        answer = self._client.get("/api/v0/nodes")
        nodes = answer.json()["data"]["result"]["result"] if answer.status_code == 200 else []
        return sum(float(node["resources_total"].get("GPU", 0)) for node in nodes if node["state"] == "ALIVE")

    def _processes(self) -> Iterator[int]:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and f"{_OWNED_BY}={self._owner}" in _read(int(entry.name), "environ").split("\0"):
                yield int(entry.name)

    def _nothing_left(self) -> bool:
        left = list(self._processes())
        for pid in left:
            _kill(pid)
        return not left


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """A cluster with a head and two nodes; ended whatever happens."""
    cluster = Cluster()
    try:
        cluster.start()
        cluster.nodes(2)
        yield cluster
    finally:
        cluster.close()


def until(true: Callable[[], bool], *, seconds: float) -> None:
    """Wait for a condition; fails the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        yield pid
        pid = int(_read(pid, "stat").rpartition(")")[2].split()[1])


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
