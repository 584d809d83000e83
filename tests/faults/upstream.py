"""An upstream that errs on command: OpenAI's files, fine-tuning jobs and models over HTTP, in a process of its own.

`python -m tests.faults.upstream` prints one line of JSON with its two ports and serves until its input ends. One port
speaks OpenAI's API and keeps jobs in memory, as the real thing would; the other takes commands (see `Admin`). A job
moves on by one step of its script each time it is retrieved, so nothing here depends on how fast the machine is.
"""

import contextlib
import csv
import io
import itertools
import json
import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

HANG_SECONDS = 600.0
ENDED = ("succeeded", "failed", "cancelled")
STEPS = [{"status": "queued"}, {"status": "running"}, {"status": "succeeded"}]
TRAINED_TOKENS = 3000
RESET = struct.pack("ii", 1, 0)

Answer = tuple[int, dict[str, Any] | bytes]


@dataclass
class Fault:
    """What to do instead of answering honestly, to the next `times` requests (0: all) whose "METHOD path" matches.

    `made` says whether what was asked for is done nevertheless, after `late_seconds` or at `/release`. `answer` is
    None (the honest one), `reset`, `hang`, `cut` (half an answer), or the status, headers and body of another one.
    """

    match: str
    times: int = 1
    made: bool = False
    late_seconds: float = 0.0
    answer: Any = None


@dataclass
class World:
    """Everything the upstream knows. Each reset makes a new one, so what still hangs in the old one is forgotten."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    gone_models: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=lambda: list(STEPS))
    ignores_metadata: bool = False
    terse: bool = False
    step_seconds: float = 0.0
    lists_move: bool = False
    page_size: int = 100
    numbers: Any = field(default_factory=lambda: itertools.count(1))
    lock: Any = field(default_factory=threading.RLock)
    released: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    def fault_for(self, request: str) -> Fault | None:
        """The first scripted fault for a request, used up by one."""
        with self.lock:
            for fault in self.faults:
                if re.fullmatch(fault.match, request):
                    if fault.times == 1:
                        self.faults.remove(fault)
                    fault.times -= 1
                    return fault
        return None

    def act(self, method: str, path: str, query: dict[str, str], body: bytes, kind: str) -> Answer:
        """Do what was asked for, honestly."""
        with self.lock:
            for pattern, act in ROUTES:
                found = re.fullmatch(pattern, f"{method} {path}")
                if found:
                    try:
                        return act(
                            self, query, body if "multipart" in kind else json.loads(body or b"{}"), *found.groups()
                        )
                    except LookupError:
                        return refusal(404, f"Nothing is known of {path}.", code="not_found")
        return refusal(404, f"Invalid URL ({method} {path})")

    def change(self, what: str, wanted: dict[str, Any]) -> None:
        """Do what a command wants of it."""
        match what:
            case "/faults":
                self.faults.append(Fault(**wanted))
            case "/world":
                for name, value in wanted.items():
                    setattr(self, name, value)
            case "/release":
                self.released.set()
                self.released = threading.Event()
            case _ if wanted.get("id") in self.jobs:
                self.jobs[wanted["id"]].update(wanted)
            case _:
                self.new_job(wanted)

    def new_job(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """A job as a create makes it; `wanted` may fix any field, also `created_at` and the private ones."""
        number = next(self.numbers)
        job = {
            "id": f"ftjob-up{number:06}",
            "object": "fine_tuning.job",
            "created_at": int(time.time()),
            "finished_at": None,
            "status": "validating_files",
            "fine_tuned_model": None,
            "trained_tokens": None,
            "result_files": [],
            "error": None,
            "organization_id": "org-upstream",
            "hyperparameters": {},
            "validation_file": None,
            "metadata": {},
            "_steps": self.steps,
            "_polls": 0,
            "_step_seconds": self.step_seconds,
            "_made_at": time.monotonic(),
            "_events": [],
            "_checkpoints": [],
            **wanted,
        }
        if not job["_events"]:
            job["_events"] = [event(job["id"], place) for place in range(3)]
        self.contents[f"file-result{number:06}"] = results()
        job["_result"] = f"file-result{number:06}"
        self.jobs[job["id"]] = job
        return job


def shown(job: dict[str, Any]) -> dict[str, Any]:
    """A job as the API shows it now."""
    polls = job["_polls"]
    if job["_step_seconds"]:
        polls = max(polls, int((time.monotonic() - job["_made_at"]) / job["_step_seconds"]))
    step = job["_steps"][min(polls, len(job["_steps"])) - 1] if polls else {}
    visible = {name: value for name, value in job.items() if not name.startswith("_")} | step
    if visible["status"] == "succeeded":
        success = {
            "fine_tuned_model": f"ft:{job.get('model', 'model')}:org-upstream::{job['id'][-6:]}",
            "trained_tokens": TRAINED_TOKENS,
            "result_files": [job["_result"]],
        }
        visible = visible | success | step
    return visible


def event(job_id: str, place: int) -> dict[str, Any]:
    """One event of a job: a message first, then a step's metrics."""
    metrics = {"step": place, "train_loss": 1 / (place + 1), "train_mean_token_accuracy": 0.5}
    return {
        "object": "fine_tuning.job.event",
        "id": f"ftevent-{job_id}-{place}",
        "created_at": int(time.time()),
        "level": "info",
        "type": "metrics" if place else "message",
        "message": f"Step {place}" if place else f"Created fine-tuning job: {job_id}",
        "data": metrics if place else {},
    }


def results() -> bytes:
    """A result file."""
    out = io.StringIO()
    rows = csv.writer(out)
    rows.writerow(["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"])
    rows.writerows([[step, 1 / (step + 1), 0.5, "", ""] for step in range(1, 4)])
    return out.getvalue().encode()


def refusal(status: int, message: str, *, code: str | None = None, param: str | None = None) -> Answer:
    """An error in OpenAI's format."""
    return status, {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}}


def page(world: World, items: list[dict[str, Any]], query: dict[str, str]) -> Answer:
    """One page of a list, newest first."""
    ids = [item["id"] for item in items]
    start = ids.index(query["after"]) + 1 if "after" in query else 0
    end = start + min(int(query.get("limit", "20")), world.page_size)
    return 200, {"object": "list", "data": items[start:end], "has_more": end < len(items)}


def upload(world: World, query: dict[str, str], body: bytes) -> Answer:
    """POST /v1/files, as multipart."""
    boundary = body[: body.index(b"\r\n")]
    name = re.search(rb'filename="([^"]*)"', body)
    part = body[name.end() :] if name else b""
    content = part[part.index(b"\r\n\r\n") + 4 : part.rindex(b"\r\n" + boundary)]
    file_id = f"file-up{next(world.numbers):06}"
    world.files[file_id] = {
        "id": file_id,
        "object": "file",
        "bytes": len(content),
        "created_at": int(time.time()),
        "filename": name.group(1).decode() if name else "",
        "purpose": "fine-tune",
        "status": "processed",
    }
    return 200, world.files[file_id]


def list_files(world: World, query: dict[str, str], body: Any) -> Answer:
    """GET /v1/files."""
    return page(world, list(world.files.values())[::-1], query)


def retrieve_file(world: World, query: dict[str, str], body: Any, file_id: str) -> Answer:
    """GET /v1/files/{id}."""
    return 200, world.files[file_id]


def content(world: World, query: dict[str, str], body: Any, file_id: str) -> Answer:
    """GET /v1/files/{id}/content."""
    return 200, world.contents[file_id]


def create(world: World, query: dict[str, str], body: dict[str, Any]) -> Answer:
    """POST /v1/fine_tuning/jobs."""
    if body.get("training_file") not in world.files:
        return refusal(400, f"invalid training_file: {body.get('training_file')}", param="training_file")
    return 200, shown(world.new_job(body))


def list_jobs(world: World, query: dict[str, str], body: Any) -> Answer:
    """GET /v1/fine_tuning/jobs, with its metadata filter unless the script says that it is ignored.

    In a world where `lists_move`, a list moves each of its jobs that was retrieved before by one step of its script.
    """
    metadata = {name[9:-1]: value for name, value in query.items() if name.startswith("metadata[")}
    jobs = [shown(job) for job in sorted(world.jobs.values(), key=lambda job: -job["created_at"]) if "_gone" not in job]
    if not world.ignores_metadata:
        jobs = [job for job in jobs if metadata.items() <= (job["metadata"] or {}).items()]
    answer = page(world, jobs, query)
    if world.lists_move:
        for job in answer[1]["data"] if isinstance(answer[1], dict) else []:
            world.jobs[job["id"]]["_polls"] += world.jobs[job["id"]]["_polls"] > 0
    return answer


def retrieve(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """GET /v1/fine_tuning/jobs/{id}: each poll moves the job on by one step of its script."""
    job = known(world, job_id)
    job["_polls"] += 1
    return 200, shown(job)


def cancel(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """POST …/cancel: refused once the job has ended."""
    job = known(world, job_id)
    if shown(job)["status"] in ENDED:
        return refusal(400, f"Job {job_id} has ended.")
    job.update(_steps=[{"status": "cancelled"}], _polls=1)
    return 200, shown(job)


def pause(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """POST …/pause: the job stands still at `paused`."""
    job = known(world, job_id)
    job.setdefault("_before_pause", job["_steps"])
    job["_steps"] = [{"status": "paused"}]
    return 200, {**shown(job), "status": "paused"}


def resume(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """POST …/resume."""
    job = known(world, job_id)
    job["_steps"] = job.pop("_before_pause", job["_steps"])
    return 200, {**shown(job), "status": "running"}


def events(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """GET …/events, newest first."""
    return page(world, known(world, job_id)["_events"][::-1], query)


def checkpoints(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """GET …/checkpoints, newest first."""
    return page(world, known(world, job_id)["_checkpoints"][::-1], query)


def delete_file(world: World, query: dict[str, str], body: Any, file_id: str) -> Answer:
    """DELETE /v1/files/{id}."""
    del world.files[file_id]
    return 200, {"id": file_id, "object": "file", "deleted": True}


def delete_model(world: World, query: dict[str, str], body: Any, name: str) -> Answer:
    """DELETE /v1/models/{name}: a tuned model, or a checkpoint."""
    name = unquote(name)
    known = [shown(job)["fine_tuned_model"] for job in world.jobs.values()]
    known += [
        reported["fine_tuned_model_checkpoint"] for job in world.jobs.values() for reported in job["_checkpoints"]
    ]
    if name not in known or name in world.gone_models:
        raise LookupError(name)
    world.gone_models.append(name)
    return 200, {"id": name, "object": "model", "deleted": True}


def models(world: World, query: dict[str, str], body: Any) -> Answer:
    """GET /v1/models."""
    return 200, {"object": "list", "data": []}


def known(world: World, job_id: str) -> dict[str, Any]:
    """The job. Raises `LookupError`."""
    if "_gone" in world.jobs[job_id]:
        raise LookupError(job_id)
    return world.jobs[job_id]


JOB = "/v1/fine_tuning/jobs/([^/]+)"
ROUTES: list[tuple[str, Callable[..., Answer]]] = [
    ("POST /v1/files", upload),
    ("GET /v1/files", list_files),
    ("GET /v1/files/([^/]+)", retrieve_file),
    ("GET /v1/files/([^/]+)/content", content),
    ("POST /v1/fine_tuning/jobs", create),
    ("GET /v1/fine_tuning/jobs", list_jobs),
    (f"GET {JOB}", retrieve),
    (f"POST {JOB}/cancel", cancel),
    (f"POST {JOB}/pause", pause),
    (f"POST {JOB}/resume", resume),
    (f"GET {JOB}/events", events),
    (f"GET {JOB}/checkpoints", checkpoints),
    ("GET /v1/models", models),
    ("DELETE /v1/files/([^/]+)", delete_file),
    ("DELETE /v1/models/([^/]+)", delete_model),
]


class Handler(BaseHTTPRequestHandler):
    """What both ports share: keep-alive, quiet, JSON."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def read(self) -> bytes:
        """The request's body."""
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        """Send an answer: bytes as they are, text as HTML, anything else as JSON."""
        raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        kind = (
            "application/json"
            if isinstance(body, (dict, list))
            else "text/html"
            if isinstance(body, str)
            else "text/csv"
        )
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(raw)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


class Api(Handler):
    """OpenAI's API."""

    def setup(self) -> None:
        """Remember the connection, so that it can be cut."""
        super().setup()
        program.connections.add(self.connection)

    def finish(self) -> None:
        """Forget it."""
        program.connections.discard(self.connection)
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def serve(self) -> None:
        """Any request."""
        world, url, body = program.configure, urlsplit(self.path), self.read()
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        asked = f"{self.command} {url.path}"
        kind = self.headers.get("content-type") or ""
        with world.lock:
            shown_body = json.loads(body) if body and "json" in kind else None
            if not world.terse:
                world.requests.append({"request": asked, "at": time.time(), "body": shown_body, "query": query})
            fault, released = world.fault_for(asked), world.released
        if fault is None:
            self.reply(*world.act(self.command, url.path, query, body, kind))
            return
        released.wait(fault.late_seconds)
        honest = (
            world.act(self.command, url.path, query, body, kind) if fault.made or fault.answer is None else (200, {})
        )
        with contextlib.suppress(OSError):
            self.err(world, fault, honest)

    def err(self, world: World, fault: Fault, honest: Answer) -> None:
        """Answer as the fault wants it."""
        match fault.answer:
            case None:
                self.reply(*honest)
            case "reset":
                self.reset()
            case "hang":
                world.over.wait(HANG_SECONDS)
                self.reset()
            case "cut":
                self.send_response(200)
                self.send_header("content-length", "1000")
                self.end_headers()
                self.wfile.write(b'{"id": "ftjo')
                self.reset()
            case other:
                self.reply(other["status"], other.get("body", {}), other.get("headers"))

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        os.close(self.connection.detach())

    do_GET = do_POST = do_DELETE = serve


class Admin(Handler):
    """Commands, each a POST with a JSON body, each answered with the state.

    `/reset`; `/faults` (a `Fault`); `/world` (fields of `World`); `/jobs` (a job that nobody created, or by its `id`
    new fields for one); `/release` (do now what is late); `/listen` (`{"on": false}` refuses connections from now on
    and cuts those that are open). In a `terse` world commands are answered without the state, and requests are not
    kept: for runs of thousands of jobs. With `step_seconds` new jobs also move on by themselves.
    """

    def do_POST(self) -> None:
        """Any command."""
        wanted = json.loads(self.read() or b"{}")
        match self.path:
            case "/reset":
                program.reset()
            case "/faults" | "/world" | "/jobs" | "/release":
                with program.configure.lock:
                    program.configure.change(self.path, wanted)
            case "/listen":
                program.listen(on=wanted["on"])
        if program.configure.terse:
            self.reply(200, {"jobs": [], "files": [], "requests": []})
        else:
            self.do_GET()

    def do_GET(self) -> None:
        """The state."""
        world = program.configure
        with world.lock:
            jobs = [{**shown(job), "polls": job["_polls"]} for job in world.jobs.values()]
            self.reply(
                200,
                {
                    "jobs": jobs,
                    "files": list(world.files.values()),
                    "gone_models": world.gone_models,
                    "requests": world.requests,
                },
            )


class Server(ThreadingHTTPServer):
    """A thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a caller that hung up."""


class Program:
    """Both ports, and the world between them."""

    def __init__(self) -> None:
        self.configure = World()
        self.connections: set[socket.socket] = set()
        self.place = socket.socket()
        self.place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.place.bind(("127.0.0.1", 0))  # keeps the port ours while nothing listens
        self.port: int = self.place.getsockname()[1]
        self.api: Server | None = None
        self.listen(on=True)

    def reset(self) -> None:
        """Begin anew."""
        self.configure.released.set()
        self.configure.over.set()
        self.configure = World()
        self.listen(on=True)

    def listen(self, *, on: bool) -> None:
        """Serve the API, or refuse every connection."""
        if on and self.api is None:
            self.api = Server(("127.0.0.1", self.port), Api)
            threading.Thread(target=self.api.serve_forever, args=(0.01,), daemon=True).start()
        elif not on and self.api is not None:
            self.api.shutdown()
            self.api.server_close()
            self.api = None
            for connection in list(self.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


program = Program()


def main() -> None:
    """Serve until the input ends."""
    admin = Server(("127.0.0.1", 0), Admin)
    threading.Thread(target=admin.serve_forever, daemon=True).start()
    print(json.dumps({"port": program.port, "admin_port": admin.server_address[1]}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
