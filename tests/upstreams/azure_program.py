"""A program that speaks Azure OpenAI's dialect (authoring and inference, 2024-10-21), on the faulty upstream's frame.

`python -m tests.upstreams.azure_program`. What differs from OpenAI is done as its REST specification has it: `api-key`
and `api-version`, 201 for creations, files that are imported before they can be used, jobs without metadata whose
unknown fields are refused, its words for states, and deployments for inference. Commands and faults are the frame's.
"""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.faults import upstream as frame
from tests.faults.upstream import Answer, World, known, shown

KEY = "azure-key-0123456789abcdef"
VERSION = "2024-10-21"
CREATION = {"model", "training_file", "validation_file", "hyperparameters", "suffix", "seed"}
STEPS = [{"status": "notRunning"}, {"status": "running"}, {"status": "succeeded"}]
HIDDEN = ("metadata", "organization_id", "method", "integrations")


def refusal(status: int, code: str, message: str) -> Answer:
    """An error as Azure writes it."""
    return status, {"error": {"code": code, "message": message}}


def upload(world: World, query: dict[str, str], body: bytes) -> Answer:
    """POST /openai/files: imported later."""
    _, file = frame.upload(world, query, body)
    assert isinstance(file, dict)
    file.update(status="pending", _polls=0)
    return 201, file_shown(file)


def file_shown(file: dict[str, Any]) -> dict[str, Any]:
    """A file as the API shows it."""
    return {name: value for name, value in file.items() if not name.startswith("_")}


def list_files(world: World, query: dict[str, str], body: Any) -> Answer:
    """GET /openai/files: all of them."""
    return 200, {"object": "list", "data": [file_shown(file) for file in world.files.values()]}


def retrieve_file(world: World, query: dict[str, str], body: Any, file_id: str) -> Answer:
    """GET /openai/files/{id}: the second look finds it processed."""
    file = world.files[file_id]
    file["_polls"] += 1
    if file["status"] == "pending" and file["_polls"] > 1:
        file["status"] = getattr(world, "file_end", "processed")
    return 200, file_shown(file)


def create(world: World, query: dict[str, str], body: dict[str, Any]) -> Answer:
    """POST /openai/fine_tuning/jobs."""
    if unknown := set(body) - CREATION:
        return refusal(400, "invalidPayload", f"Unknown fields: {sorted(unknown)}")
    if not all(isinstance(value, (int, float)) for value in body.get("hyperparameters", {}).values()):
        return refusal(400, "invalidPayload", "Hyperparameters are numbers.")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", body.get("suffix", "x")):
        return refusal(400, "invalidPayload", "The suffix has other characters.")
    for name in ("training_file", "validation_file"):
        if name in body and body[name] not in world.files:
            return refusal(404, "notFound", f"No such file {body[name]}.")
        if name in body and world.files[body[name]]["status"] != "processed":
            return refusal(400, "unexpectedEntityState", f"{name} is not processed yet.")
    job = world.new_job({**body, "status": "pending", "_steps": getattr(world, "azure_steps", STEPS)})
    return 201, job_shown(job)


def job_shown(job: dict[str, Any]) -> dict[str, Any]:
    """A job as the API shows it."""
    visible = {name: value for name, value in shown(job).items() if name not in HIDDEN and value is not None}
    if visible["status"] == "succeeded":
        visible["fine_tuned_model"] = f"{job['model']}.ft-{'0' * 26}{job['id'][-6:]}"
    else:
        visible.pop("result_files", None)
    return visible


def list_jobs(world: World, query: dict[str, str], body: Any) -> Answer:
    """GET /openai/fine_tuning/jobs: newest first, no filter."""
    jobs = sorted(world.jobs.values(), key=lambda job: -job["created_at"])
    return frame.page(world, [job_shown(job) for job in jobs if "_gone" not in job], query)


def retrieve(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """GET /openai/fine_tuning/jobs/{id}."""
    job = known(world, job_id)
    job["_polls"] += 1
    return 200, job_shown(job)


def cancel(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """POST …/cancel."""
    job = known(world, job_id)
    if shown(job)["status"] in ("succeeded", "failed", "canceled"):
        return refusal(400, "unexpectedEntityState", "The job has ended.")
    job.update(_steps=[{"status": "canceled"}], _polls=1)
    return 200, job_shown(job)


def events(world: World, query: dict[str, str], body: Any, job_id: str) -> Answer:
    """GET …/events, whose warnings are called so."""
    items = [{**event, "level": "warning"} for event in known(world, job_id)["_events"]]
    return frame.page(world, items[::-1], query)


def ask(world: World, query: dict[str, str], body: dict[str, Any], deployment: str) -> Answer:
    """POST /openai/deployments/{deployment}/chat/completions."""
    if deployment not in getattr(world, "deployments", ["base-deployment"]):
        return refusal(404, "DeploymentNotFound", "The API deployment for this resource does not exist.")
    return 200, {
        "id": "chatcmpl-azure",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o-mini",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": f"from {deployment}"}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


JOB = "/openai/fine_tuning/jobs/([^/]+)"
ROUTES: list[tuple[str, Callable[..., Answer]]] = [
    ("POST /openai/files", upload),
    ("GET /openai/files", list_files),
    ("GET /openai/files/([^/]+)", retrieve_file),
    ("GET /openai/files/([^/]+)/content", frame.content),
    ("POST /openai/fine_tuning/jobs", create),
    ("GET /openai/fine_tuning/jobs", list_jobs),
    (f"GET {JOB}", retrieve),
    (f"POST {JOB}/cancel", cancel),
    (f"GET {JOB}/events", events),
    (f"GET {JOB}/checkpoints", frame.checkpoints),
    ("POST /openai/deployments/([^/]+)/chat/completions", ask),
    ("GET /openai/models", frame.models),
]


class AzureApi(frame.Api):
    """The frame's port, behind Azure's door."""

    def serve(self) -> None:
        """Any request that has the key and the version."""
        query = parse_qs(urlsplit(self.path).query)
        if self.headers.get("api-key") != KEY or self.headers.get("authorization"):
            body = json.loads('{"error": {"code": "401", "message": "Access denied due to invalid subscription key."}}')
            self.read()
            self.reply(401, body)
        elif query.get("api-version") != [VERSION]:
            self.read()
            self.reply(404, {"error": {"code": "404", "message": "Resource not found"}})
        else:
            super().serve()

    do_GET = do_POST = do_DELETE = serve


def main() -> None:
    """Serve until the input ends."""
    frame.program.listen(on=False)
    frame.ROUTES[:] = ROUTES
    frame.Api = AzureApi  # type: ignore[misc]
    frame.program.listen(on=True)
    frame.main()


if __name__ == "__main__":
    main()
