"""The tests' hand on the faulty upstream: start it, script it, ask what it has seen."""

import http.client
import json
import subprocess
import sys
from typing import Any

from tests.faults.upstream import ENDED
from tests.stack import ROOT

CREATE = "POST /v1/fine_tuning/jobs"
LIST = "GET /v1/fine_tuning/jobs"
RETRIEVE = "GET /v1/fine_tuning/jobs/[^/]+"
CANCEL = "POST /v1/fine_tuning/jobs/[^/]+/cancel"
EVENTS = "GET /v1/fine_tuning/jobs/[^/]+/events"
UPLOAD = "POST /v1/files"
CONTENT = "GET /v1/files/[^/]+/content"
DELETE_FILE = "DELETE /v1/files/[^/]+"
DELETE_MODEL = "DELETE /v1/models/[^/]+"

NEVER = 600.0

NO_JOBS = {"status": 200, "body": {"object": "list", "data": [], "has_more": False}}


def error(status: int, *, code: str | None = None, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """An error in OpenAI's format, as a fault's answer."""
    body = {"message": f"Scripted {status}.", "type": "error", "code": code, "param": None}
    return {"status": status, "body": {"error": body}, "headers": headers or {}}


class FaultyUpstream:
    """The program of `tests/faults/upstream.py`, running; or another on its frame."""

    def __init__(self, module: str = "tests.faults.upstream", path: str = "/v1") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.base_url = f"http://127.0.0.1:{ports['port']}{path}"
        self._admin_port = ports["admin_port"]

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def reset(self) -> None:
        """Forget everything."""
        self._tell("/reset")

    def fault(self, match: str, answer: Any = None, *, times: int = 1, made: bool = False, late: float = 0.0) -> None:
        """Script a fault; see `Fault`. `times` 0 means for ever; `late` is in seconds, or `NEVER` until `release`."""
        self._tell("/faults", match=match, answer=answer, times=times, made=made, late_seconds=late)

    def configure(self, **values: Any) -> None:
        """Set what holds for everything, fields of `World`: `steps` of new jobs, `page_size`, `terse`, …"""
        self._tell("/world", **values)

    def steps(self, *statuses: str | dict[str, Any]) -> None:
        """The script of new jobs: what each retrieval shows; the last one stays."""
        self.configure(steps=[{"status": step} if isinstance(step, str) else step for step in statuses])

    def put_job(self, **values: Any) -> dict[str, Any]:
        """A job that nobody created through us, or new fields for the one with this `id`."""
        jobs: list[dict[str, Any]] = self._tell("/jobs", **values)["jobs"]
        return next((job for job in jobs if job["id"] == values.get("id")), jobs[-1])

    def release(self) -> None:
        """Do now whatever is late."""
        self._tell("/release")

    def listen(self, *, on: bool) -> None:
        """Take connections, or refuse them."""
        self._tell("/listen", on=on)

    def jobs(self, our_id: str | None = None) -> list[dict[str, Any]]:
        """The jobs, or those that carry our job's mark."""
        jobs: list[dict[str, Any]] = self._ask("GET", "/")["jobs"]
        return [job for job in jobs if our_id is None or (job["metadata"] or {}).get("tunegate_job") == our_id]

    def alive(self, our_id: str) -> list[dict[str, Any]]:
        """The jobs with this gateway's label that were not cancelled and did not fail: those that cost money."""
        return [job for job in self.jobs(our_id) if job["status"] not in ("cancelled", "failed")]

    def unended(self) -> list[dict[str, Any]]:
        """The jobs that still run."""
        return [job for job in self.jobs() if job["status"] not in ENDED]

    def files(self) -> list[dict[str, Any]]:
        """The uploaded files."""
        files: list[dict[str, Any]] = self._ask("GET", "/")["files"]
        return files

    def gone_models(self) -> list[str]:
        """The tuned models and checkpoints that were deleted, in order."""
        names: list[str] = self._ask("GET", "/")["gone_models"]
        return names

    def seen(self, request: str) -> list[dict[str, Any]]:
        """Every "METHOD path" request so far, with its time."""
        return [each for each in self.requests() if each["request"] == request]

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far."""
        requests: list[dict[str, Any]] = self._ask("GET", "/")["requests"]
        return requests

    def creates(self) -> list[dict[str, Any]]:
        """Every create that arrived."""
        return self.seen(CREATE)

    def _tell(self, path: str, **body: Any) -> dict[str, Any]:
        return self._ask("POST", path, json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._admin_port, timeout=90)
        try:
            connection.request(method, path, body, {"connection": "close"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer
