"""What tests over real HTTP share: projects with keys of their own, bodies, training data, and reading refusals."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import httpx2
from sqlalchemy import select

from service.database.engine import Database, create_engine
from service.database.tables import Project
from service.identity.bootstrap import create_key
from service.ids import new_id
from service.settings import Settings
from service.wakeups import Wakeups
from tests.stack import run_async

if TYPE_CHECKING:
    import openai

WAIT_SECONDS = 120.0
MODEL = "gpt-4o-mini"
OTHER_ENCODING = "gpt-3.5-turbo"
"""A model for which the report is made only when a job asks for it, so its create never finds one."""
ENDED = ("succeeded", "failed", "cancelled")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """A project with a key, at a running gateway."""

    base_url: str
    database_url: str
    project_id: str
    key: str

    def sdk(self) -> "openai.OpenAI":
        """The official SDK, without retries of its own."""
        import openai

        return openai.OpenAI(base_url=self.base_url, api_key=self.key, max_retries=0, timeout=90)

    @contextmanager
    def http(self) -> Iterator[httpx2.Client]:
        """A plain client with the key."""
        headers = {"authorization": f"Bearer {self.key}"}
        with httpx2.Client(base_url=self.base_url, headers=headers, timeout=90) as client:
            yield client


def new_tenant(base_url: str, database_url: str) -> Tenant:
    """A project that no other test knows."""
    return run_async(make_tenant(base_url, database_url))


async def make_tenant(base_url: str, database_url: str) -> Tenant:
    """The same inside an event loop."""
    name = new_id("name-")
    db = Database(create_engine(database_url, pool_size=1), Wakeups(""))
    async with db.admin() as session:
        session.add(Project(id=new_id("proj_"), name=name))
    key = await create_key(Settings(database_url=database_url), kind="project", name=name, project=name)
    async with db.admin() as session:
        project_id = (await session.scalars(select(Project.id).where(Project.name == name))).one()
    await db.close()
    return Tenant(base_url=base_url, database_url=database_url, project_id=project_id, key=key)


def refusal(response: httpx2.Response) -> dict[str, Any]:
    """The error of a refusal, which has OpenAI's shape and an id, whatever it is about."""
    assert response.headers["content-type"] == "application/json", response.text
    assert response.headers["x-request-id"].startswith("req_")
    body = response.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert len(error["message"]) > 10
    assert error["type"]
    assert error["code"]
    return error


def eventually(check: Callable[[], T | None], *, within_seconds: float = WAIT_SECONDS, every_seconds: float = 0.1) -> T:
    """What `look` finds, as soon as it finds anything. Raises `AssertionError` when it does not in time."""
    deadline = time.monotonic() + within_seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {within_seconds} s"
        time.sleep(every_seconds)
    return found


def jsonl(rows: list[Any]) -> bytes:
    """Rows as JSON Lines."""
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def chat_rows(count: int, *, salt: str = "") -> list[Any]:
    """Good chat examples."""
    return [
        {
            "messages": [
                {"role": "system", "content": "You answer about rivers."},
                {"role": "user", "content": f"How long is river {salt}{number}?"},
                {"role": "assistant", "content": f"River {salt}{number} is {number + 100} kilometres long."},
            ]
        }
        for number in range(count)
    ]


def completion_rows(count: int) -> list[Any]:
    """Good examples of prompt and completion."""
    return [{"prompt": f"River {number} ->", "completion": f" {number + 100} kilometres."} for number in range(count)]


def preference_rows(count: int) -> list[Any]:
    """Good examples for `dpo`."""
    return [
        {
            "input": {"messages": [{"role": "user", "content": f"How long is river {number}?"}]},
            "preferred_output": [{"role": "assistant", "content": f"It is {number + 100} kilometres long."}],
            "non_preferred_output": [{"role": "assistant", "content": "No idea."}],
        }
        for number in range(count)
    ]


def upload(client: httpx2.Client, content: bytes, *, purpose: str = "fine-tune", name: str = "rivers.jsonl") -> str:
    """Upload a file: its id."""
    answer = client.post("/files", data={"purpose": purpose}, files={"file": (name, content)})
    assert answer.status_code == 200, answer.text
    file_id: str = answer.json()["id"]
    return file_id


def checked(client: httpx2.Client, file_id: str) -> dict[str, Any]:
    """The file once its report is made."""

    def check() -> dict[str, Any] | None:
        shown: dict[str, Any] = client.get(f"/files/{file_id}").json()
        return shown if shown["status"] != "uploaded" else None

    return eventually(check)


def ended(client: httpx2.Client, job_id: str, *, within_seconds: float = 120.0) -> dict[str, Any]:
    """The job once it has ended."""

    def check() -> dict[str, Any] | None:
        shown: dict[str, Any] = client.get(f"/fine_tuning/jobs/{job_id}").json()
        return shown if shown["status"] in ENDED else None

    return eventually(check, within_seconds=within_seconds)
