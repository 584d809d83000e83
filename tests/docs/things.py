"""What the blocks of a page find: a project of its own, clients, and things that are made when a block needs them."""

import ast
import datetime as dt
import json
import re
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import openai

from service.ids import new_id
from service.webhooks.signing import new_secret, signed_headers
from tests.stack import DevStack
from tests.wire import MODEL, chat_rows, checked, ended, jsonl, new_tenant, upload

PASSWORD = "of-a-login-in-the-documents"
"""Stands for `PASSWORD '…'` in SQL."""

NEWEST = {
    "file-": "/files?purpose=fine-tune",
    "ftjob-": "/fine_tuning/jobs",
    "exp_": "/fine_tuning/experiments",
    "gen_": "/dataset_generations",
    "cmp_": "/model_comparisons",
    "prep_": "/dataset_preparations",
    "we_": "/webhook_endpoints",
}
"""Prefixes of ids, and the list whose newest element `PREFIX…` stands for."""

NAMES = ("client", "admin", "organization", "project_id", "file", "job", "model", "request", "signing_secret")
"""What Python code may use without having made it."""

OPENAI, NOWHERE = "https://api.openai.com/", "https://openai.invalid/"
"""Nothing in a test goes to OpenAI."""

ADDRESS = "http://127.0.0.1:8080"
"""The address of `make run`, which the documents print."""

_PLACEHOLDER = re.compile(r"ft:[\w.-]+:(?:\w+:)*…|tg_live_…|tg_admin_…|[a-z]+[-_]…|'…'")


class Things:
    """A page's project on a running stack. Everything but its key is made when it is first used."""

    def __init__(self, stack: DevStack) -> None:
        self.ready = stack.ready()
        self.credentials: dict[str, str] = json.loads((stack.data / "credentials.json").read_text())
        self._stack = stack

    @cached_property
    def tenant(self) -> Any:
        """The project, with a key."""
        return new_tenant(self.ready["base_url"], self.ready["database_url"])

    def variables(self) -> dict[str, str]:
        """The environment of its blocks, as a user of this project and operator of this gateway has it."""
        return {
            "OPENAI_BASE_URL": self.ready["base_url"],
            "OPENAI_API_KEY": self.tenant.key,
            "OPENAI_ADMIN_KEY": self.ready["admin_key"],
            "DATABASE_URL": self.ready["database_url"],
            "REDIS_URL": self.ready["redis_url"],
            "TUNEGATE_MASTER_KEY": self.credentials["master_key"],
            "TUNEGATE_STORAGE_URL": (self._stack.data / "storage").as_uri(),
        }

    @cached_property
    def client(self) -> openai.OpenAI:
        """`client` of the documents."""
        return openai.OpenAI(base_url=self.ready["base_url"], api_key=self.tenant.key, max_retries=2)

    @cached_property
    def admin(self) -> openai.OpenAI:
        """`admin` of the documents."""
        key = self.ready["admin_key"]
        return openai.OpenAI(base_url=self.ready["base_url"], api_key=key, admin_api_key=key, max_retries=2)

    @property
    def organization(self) -> Any:
        """`organization` of the documents."""
        return self.admin.admin.organization

    @property
    def project_id(self) -> str:
        """The project's id."""
        return str(self.tenant.project_id)

    @cached_property
    def file(self) -> Any:
        """A training file with a report."""
        return self.client.files.retrieve(self._checked_file())

    @cached_property
    def job(self) -> Any:
        """The newest job of the project that has succeeded, made here if there is none."""
        for job in self.client.fine_tuning.jobs.list():
            if job.status == "succeeded":
                return job
        with self.tenant.http() as http:
            body = {"model": MODEL, "training_file": self._checked_file(), "hyperparameters": {"n_epochs": 1}}
            made = http.post("/fine_tuning/jobs", json=body)
            assert made.status_code == 200, made.text
            shown = ended(http, made.json()["id"])
        assert shown["status"] == "succeeded", shown
        return self.client.fine_tuning.jobs.retrieve(shown["id"])

    def _checked_file(self) -> str:
        with self.tenant.http() as http:
            file_id = upload(http, jsonl(chat_rows(12)), name="train.jsonl")
            checked(http, file_id)
        return file_id

    @property
    def model(self) -> str:
        """The tuned model of that job."""
        return str(self.job.fine_tuned_model)

    @cached_property
    def signing_secret(self) -> str:
        """The secret of a webhook endpoint."""
        return new_secret()

    @cached_property
    def request(self) -> Any:
        """A delivery to a webhook endpoint, signed with `signing_secret`, as a receiver's `request`."""
        event = {"object": "event", "id": new_id("evt_"), "type": "fine_tuning.job.succeeded", "created_at": 1}
        body = json.dumps(
            event | {"data": {"id": "ftjob-sample", "fine_tuned_model": "ft:gpt-4o-mini:tunegate::sample"}}
        ).encode()
        now, message_id = dt.datetime.now(dt.UTC), str(event["id"])
        headers = signed_headers(message_id=message_id, now=now, body=body, secrets=[self.signing_secret])
        return SimpleNamespace(body=body, headers=headers)

    def wanted_by(self, code: str, defined: set[str]) -> dict[str, Any]:
        """Values for the names that a Python block uses before it, or a block before it, defines them."""
        wanted: set[str] = set()
        for statement in ast.parse(code).body:
            names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            wanted |= {node.id for node in names if isinstance(node.ctx, ast.Load)} - defined
            defined |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
        return {name: getattr(self, name) for name in wanted & set(NAMES)}

    def filled(self, content: str) -> str:
        """The content with values for its placeholders. Comments keep theirs.

        Raises AssertionError for one that stands for nothing.
        """
        content = content.replace(ADDRESS, self.ready["base_url"].removesuffix("/v1")).replace(OPENAI, NOWHERE)
        return "\n".join(self._filled_line(line) for line in content.split("\n"))

    def _filled_line(self, line: str) -> str:
        if "…" not in line:
            return line
        code, comment = _split_comment(line)
        code = _PLACEHOLDER.sub(lambda match: self._value(match[0]), code)
        assert "…" not in code, f"this placeholder has no value in the tests: {code.strip()}"
        return code + comment

    def _value(self, placeholder: str) -> str:
        if placeholder.startswith("ft:"):
            return self.model
        known: dict[str, Callable[[], str]] = {
            "tg_live_…": lambda: str(self.tenant.key),
            "tg_admin_…": lambda: str(self.ready["admin_key"]),
            "proj_…": lambda: self.project_id,
            "'…'": lambda: f"'{PASSWORD}'",
        }
        if placeholder in known:
            return known[placeholder]()
        prefix = placeholder.removesuffix("…")
        return self._newest(prefix) if prefix in NEWEST else placeholder

    def _newest(self, prefix: str) -> str:
        path = NEWEST[prefix]
        with self.tenant.http() as http:
            found: list[dict[str, Any]] = http.get(path).json().get("data", [])
        if found:
            return str(found[0]["id"])
        made = {"file-": lambda: self.file.id, "ftjob-": lambda: self.job.id}
        assert prefix in made, (
            f"{prefix}… stands for the newest of GET /v1{path}, and there is none: make it in an earlier block"
        )
        return str(made[prefix]())

    def clear(self) -> None:
        """End what the page's blocks have begun and nobody waits for, and let no account but the default one train."""
        for account in self._admin("GET", "/organization/upstreams").json()["data"]:
            if account["id"] != "default":
                self._admin("POST", f"/organization/upstreams/{account['id']}", {"drained": True, "models": ["none"]})
        with self.tenant.http() as http:
            for job in http.get("/fine_tuning/jobs?limit=100").json().get("data", []):
                if job["finished_at"] is None:
                    http.post(f"/fine_tuning/jobs/{job['id']}/cancel")

    def _admin(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self.ready['admin_key']}"}
        url = self.ready["base_url"] + path
        return httpx2.request(method, url, headers=headers, json=body, timeout=60).raise_for_status()


def _split_comment(line: str) -> tuple[str, str]:
    """A line of shell, Python or SQL, and its comment: from the first `#` or `--` after a space."""
    match = re.search(r"(?:^|\s)(?:#|--\s)", line)
    return (line[: match.start()], line[match.start() :]) if match else (line, "")


def environment_of(things: Things, folder: Path, path: str) -> dict[str, str]:
    """The whole environment of a command."""
    return {"HOME": str(folder), "PATH": path, "LANG": "C.UTF-8", "COLUMNS": "120", **things.variables()}
