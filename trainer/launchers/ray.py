"""The launcher `ray`: each attempt is one Ray job, which Ray places on a node that has its GPUs free.

It calls the REST API of Ray Jobs (docs.ray.io, "Ray Jobs REST API") instead of importing Ray's client: then the server
needs no Ray, and none of the cluster's version. The nodes need this package, the engine's libraries, and their own
credentials of the object store; of an attempt they get its environment alone.

Ray stores an attempt's environment, its token included, as the job's `runtime_env`, and shows it in its dashboard. A
caller of the dashboard can run any code on the cluster too, so it must be protected in any case: by
`RAY_AUTH_MODE=token` and a private network.
"""

import json
import shlex
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2

from .command import command
from .port import Launch, Outcome

_TIMEOUT = httpx2.Timeout(15.0, connect=5.0)
_MAX_LOG_BYTES = 64 * 1024
_MAX_LOG_ANSWER_BYTES = 16 * 1024 * 1024
_MAX_REASON = 500


class RayLauncher:
    """Ray Jobs of one cluster, at the address of its dashboard (`http://head:8265`).

    `token` is the cluster's `RAY_AUTH_TOKEN`, empty where the cluster has none. Raises ValueError for an address of
    another kind, and OSError when no Ray answers there or the token is wrong.
    """

    survives_restart = True
    poll_seconds = 1.0

    def __init__(self, address: str, *, token: str, cpus_per_job: float) -> None:
        if urlsplit(address).scheme not in ("http", "https"):
            raise ValueError(
                "TRAINER_RAY_ADDRESS must be the address of Ray's dashboard, such as http://ray-head:8265,"
                f" not {address or 'empty'!r}"
            )
        self._address, self._cpus = address, cpus_per_job
        self._stopped: set[str] = set()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx2.Client(base_url=address, headers=headers, timeout=_TIMEOUT, trust_env=False)
        try:
            if "ray_version" not in self._ask("GET", "/api/version"):
                raise OSError(f"what answers at {address} is not Ray's dashboard")
        except OSError as error:
            self._client.close()
            raise OSError(f"{error}. Start Ray, or correct TRAINER_RAY_ADDRESS and TRAINER_RAY_TOKEN") from None

    def start(self, launch: Launch) -> None:
        """Submit the attempt as a Ray job of its name. A job of that name changes nothing, whatever its state."""
        job = {
            "submission_id": launch.name,
            # `exec` replaces Ray's shell, so that the exit status is the process's own.
            "entrypoint": f"exec {shlex.join(command(launch, python='python'))}",
            "entrypoint_num_gpus": launch.gpus,
            "entrypoint_num_cpus": self._cpus,
            "runtime_env": {"env_vars": dict(launch.environment)},
        }
        try:
            self._ask("POST", "/api/jobs/", json=job)
        except _Answered:
            if self._job(launch.name) is None:
                raise

    def poll(self, name: str) -> Outcome:
        """See `port.Launcher`; a job that Ray has not placed yet is `running`, and its reason says what it waits for.

        One that Ray gave up before it was placed (after `RAY_JOB_START_TIMEOUT_SECONDS`, 15 minutes) is `gone`.
        """
        outcome = self._outcome(name)
        if outcome.state != "running":
            self._stopped.discard(name)
        return outcome

    def stop(self, name: str) -> None:
        """Ask Ray to end the job: SIGTERM, and SIGKILL after three seconds.

        One that Ray has not placed yet counts as ended at once; Ray ends it when it places it.
        """
        try:
            self._ask("POST", f"/api/jobs/{quote(name, safe='')}/stop")
        except _Answered as error:
            if error.status != 404:
                raise
        self._stopped.add(name)

    def logs(self, name: str) -> str:
        """See `port.Launcher`. They lie on the job's node; where that was lost, the answer says so in a line."""
        try:
            text = self._read_logs(name)
        except OSError as error:
            return f"no logs: {error}"
        return text.encode(errors="replace")[-_MAX_LOG_BYTES:].decode(errors="ignore")

    def close(self) -> None:
        """Close the connection. The jobs go on."""
        self._client.close()

    def _outcome(self, name: str) -> Outcome:
        job = self._job(name)
        if job is None:
            return Outcome("gone", "Ray does not know the job")
        match job["status"]:
            case "SUCCEEDED":
                return Outcome("succeeded")
            case "RUNNING":
                return Outcome("running")
            case "PENDING" if name in self._stopped:
                return Outcome("died", "the job was stopped before Ray placed it")
            case "PENDING":
                return Outcome("running", "a node with free GPUs and CPUs")
            case "STOPPED":
                return Outcome("died", "the job was stopped in Ray")
            case _:
                return _failure(job)

    def _job(self, name: str) -> dict[str, Any] | None:
        try:
            job: dict[str, Any] = self._ask("GET", f"/api/jobs/{quote(name, safe='')}")
        except _Answered as error:
            if error.status == 404:
                return None
            raise
        return job

    def _read_logs(self, name: str) -> str:
        """The whole log, since Ray sends no part of one, unless it is too long to be read into memory."""
        body = bytearray()
        try:
            with self._client.stream("GET", f"/api/jobs/{quote(name, safe='')}/logs") as answer:
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _MAX_LOG_ANSWER_BYTES:
                        raise OSError("the log is longer than 16 MiB; read it in Ray's dashboard")
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        if answer.status_code != 200:
            raise self._refused(answer.status_code, bytes(body))
        return str(json.loads(body)["logs"])

    def _ask(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            answer = self._client.request(method, path, **arguments)
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from None
        if answer.status_code != 200:
            raise self._refused(answer.status_code, answer.content)
        try:
            return answer.json()
        except ValueError:
            raise OSError(f"what answers at {self._address} is not Ray's dashboard") from None

    def _unreachable(self, error: httpx2.HTTPError) -> OSError:
        return OSError(f"no Ray answers at {self._address} ({type(error).__name__})")

    def _refused(self, status: int, body: bytes) -> "_Answered":
        if status in (401, 403):
            return _Answered(status, f"Ray at {self._address} refuses the token ({status})")
        # A failure inside Ray is answered with a traceback, whose last line names it.
        lines = [line for line in body.decode(errors="replace").splitlines() if any(map(str.isalpha, line))]
        return _Answered(status, f"Ray at {self._address} answered {status}: {(lines or [''])[-1][:_MAX_REASON]}")


class _Answered(OSError):
    """An answer of Ray other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def _failure(job: dict[str, Any]) -> Outcome:
    """What `error_type` and `driver_exit_code` of a FAILED job say (ray.job_submission.JobErrorType)."""
    message = str(job["message"] or "")
    match job["error_type"]:
        case "JOB_SUPERVISOR_ACTOR_START_TIMEOUT":
            return Outcome("gone", "no node had its GPUs and CPUs free before Ray's timeout")
        case "JOB_ENTRYPOINT_COMMAND_ERROR":
            return Outcome("died", _exit_reason(int(job["driver_exit_code"])))
        case "JOB_SUPERVISOR_ACTOR_DIED" if "node has died" in message:
            return Outcome("died", f"its node {job['driver_node_id']} was lost")
        case _:
            return Outcome("died", " ".join(message.split())[:_MAX_REASON])


def _exit_reason(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"
