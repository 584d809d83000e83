"""What the launcher `ray` says of addresses and answers, without a Ray; tests/llm/ray has the rest, with one."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.embedded import free_port
from trainer.launchers.choice import make_launcher
from trainer.launchers.command import command
from trainer.launchers.port import Launch, Outcome
from trainer.launchers.ray import RayLauncher
from trainer.settings import read_settings

VERSION = {"version": "4", "ray_version": "2.60.0"}
TIMED_OUT = {
    "status": "FAILED",
    "error_type": "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
    "message": "Job supervisor actor failed to start within 900.0 seconds.",
    "driver_exit_code": None,
    "driver_node_id": None,
}
"""What Ray 2.60 answers for a job that found no node within 15 minutes."""


class TestAnAddress:
    @pytest.mark.parametrize("address", ["", "auto", "ray://head:10001", "head:6379"])
    def test_of_another_kind_is_refused(self, address: str) -> None:
        with pytest.raises(ValueError, match="TRAINER_RAY_ADDRESS must be the address of Ray's dashboard, such as"):
            _launcher(address)

    def test_without_a_server_is_refused(self) -> None:
        with pytest.raises(OSError, match=r"no Ray answers at .* Start Ray, or correct TRAINER_RAY_ADDRESS"):
            _launcher(f"http://127.0.0.1:{free_port()}")

    @pytest.mark.parametrize("body", ["hello", "[]", '{"ok": true}'])
    def test_of_another_server_is_refused(self, body: str) -> None:
        with (
            _answering({"/api/version": body}) as address,
            pytest.raises(OSError, match=r"is not Ray's dashboard\. Start Ray"),
        ):
            _launcher(address)


class TestTheChoice:
    def test_refuses_a_cluster_whose_nodes_do_not_know_this_server(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRAINER_LAUNCHER", "ray")
        monkeypatch.setenv("TRAINER_RAY_ADDRESS", "http://ray-head:8265")
        with pytest.raises(ValueError, match="needs TRAINER_SERVER_URL"):
            make_launcher(read_settings(tmp_path))

    def test_refuses_several_gpus_for_a_job_of_the_byte_model(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRAINER_GPUS", "2")
        monkeypatch.setenv("TRAINER_GPUS_PER_JOB", "2")
        with pytest.raises(ValueError, match="set TRAINER_ENGINE=transformers for more"):
            make_launcher(read_settings(tmp_path))


class TestAJob:
    def test_that_ray_gave_up_before_it_ran_is_gone_and_did_not_die(self) -> None:
        answers = {"/api/version": json.dumps(VERSION), "/api/jobs/late": json.dumps(TIMED_OUT)}
        with _answering(answers) as address:
            expected = Outcome("gone", "no node had its GPUs and CPUs free before Ray's timeout")
            assert _launcher(address).poll("late") == expected

    def test_that_could_not_start_says_why(self) -> None:
        failed = TIMED_OUT | {"error_type": "RUNTIME_ENV_SETUP_FAILURE", "message": "runtime_env\n  setup failed"}
        answers = {"/api/version": json.dumps(VERSION), "/api/jobs/bad": json.dumps(failed)}
        with _answering(answers) as address:
            assert _launcher(address).poll("bad") == Outcome("died", "runtime_env setup failed")

    def test_whose_submission_is_refused_was_not_started(self) -> None:
        with (
            _answering({"/api/version": json.dumps(VERSION)}) as address,
            pytest.raises(OSError, match="answered 500: RuntimeError: no agent"),
        ):
            _launcher(address).start(_launch(gpus=1))


class TestTheCommand:
    def test_is_one_process_for_one_gpu_or_none(self) -> None:
        expected = ["python", "-m", "trainer.train"]
        assert command(_launch(gpus=1), python="python") == command(_launch(gpus=0), python="python") == expected

    def test_is_torchrun_for_several_gpus_unless_it_only_validates(self) -> None:
        torchrun = ["python", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "8"]
        assert command(_launch(gpus=8), python="python") == [*torchrun, "-m", "trainer.train"]
        validating = command(_launch(gpus=8, validating=True), python="python")
        assert validating == ["python", "-m", "trainer.train"]


class TestTheManifestForKubernetes:
    def test_asks_for_a_token_and_trains_nothing_on_the_head(self) -> None:
        text = (Path(__file__).parents[2] / "deploy" / "kuberay" / "raycluster.yaml").read_text()
        [cluster] = yaml.safe_load_all(text)
        assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
        spec = cluster["spec"]
        assert spec["authOptions"] == {"mode": "token"}
        assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
        assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        [head] = spec["headGroupSpec"]["template"]["spec"]["containers"]
        assert head["image"].startswith(f"rayproject/ray:{spec['rayVersion']}-")
        [group] = spec["workerGroupSpecs"]
        [node] = group["template"]["spec"]["containers"]
        assert node["resources"]["limits"]["nvidia.com/gpu"] == "1"
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in node["volumeMounts"]} == volumes


def _launcher(address: str) -> RayLauncher:
    return RayLauncher(address, token="", cpus_per_job=1)


def _launch(*, gpus: int, validating: bool = False) -> Launch:
    return Launch(name="x", environment={}, gpus=gpus, validating=validating)


@contextmanager
def _answering(bodies: dict[str, str]) -> Iterator[str]:
    """A server that answers GET with these bodies, and POST as Ray does when it fails; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bodies.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write((body or "").encode())

        def do_POST(self) -> None:
            self.send_response(500)
            self.end_headers()
            self.wfile.write(b"Traceback (most recent call last):\n  File ...\nRuntimeError: no agent\n.")

        def log_message(self, *_: Any) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
