"""A second OpenAI-compatible upstream, an Azure one, and the API over the worker harness's database."""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
import uvicorn

from service.app import create_app
from service.database.encryption import sealer_of
from service.database.tables import ApiKey, Project, UpstreamAccount
from service.identity import keys
from service.ids import new_id
from service.settings import Settings
from service.states import KeyKind
from service.upstreams.credentials import seal_credential
from tests.faults.control import FaultyUpstream
from tests.upstreams.azure_program import KEY
from tests.workers.harness import WorkerHarness

CREDENTIAL = "sk-second-account-0123456789"


@pytest.fixture
def step_settings(settings: Settings) -> Settings:
    """Settings for steps that are made by hand, few at a time; projects' accounts may be on this machine."""
    return dataclasses.replace(
        settings,
        lease_seconds=30.0,
        upstream_timeout_seconds=10.0,
        redis_url="",
        worker_concurrency=8,
        upstream_allow_private=True,
    )


@pytest.fixture(scope="session")
def second_program() -> Iterator[FaultyUpstream]:
    """Another OpenAI-compatible upstream."""
    program = FaultyUpstream()
    yield program
    program.stop()


@pytest.fixture
def second(second_program: FaultyUpstream) -> FaultyUpstream:
    """The same, with nothing in it."""
    second_program.reset()
    return second_program


@pytest.fixture(scope="session")
def azure_program() -> Iterator[FaultyUpstream]:
    """An upstream that speaks Azure's dialect."""
    program = FaultyUpstream("tests.upstreams.azure_program", "")
    yield program
    program.stop()


@pytest.fixture
def azure(azure_program: FaultyUpstream) -> FaultyUpstream:
    """The same, with nothing in it."""
    azure_program.reset()
    return azure_program


@pytest.fixture
async def other_project(harness: WorkerHarness) -> WorkerHarness:
    """The worker harness for another project."""
    project_id = new_id("proj_")
    async with harness.ctx.db.admin() as session:
        session.add(Project(id=project_id, name="other"))
    return WorkerHarness(harness.ctx, harness.upstream, project_id)


async def add_account(
    harness: WorkerHarness, base_url: str, *, kind: str = "openai", own: bool = False, **values: Any
) -> str:
    """Inserts an account: a shared one, or one of the harness's project."""
    account_id = new_id("upstream_")
    credential = KEY if kind == "azure" else CREDENTIAL
    async with harness.ctx.db.admin() as session:
        session.add(
            UpstreamAccount(
                id=account_id,
                project_id=harness.project_id if own else None,
                kind=kind,
                name=account_id,
                base_url=base_url,
                credential_sealed=seal_credential(sealer_of(harness.ctx.settings), account_id, credential),
                **values,
            )
        )
    return account_id


@dataclasses.dataclass(frozen=True)
class UpstreamApi:
    """The API over the harness's database, with clients of an administrator and of two projects."""

    admin: httpx2.AsyncClient
    mine: httpx2.AsyncClient
    other: httpx2.AsyncClient
    base_url: str


@pytest.fixture
async def upstream_api(harness: WorkerHarness, other_project: WorkerHarness) -> AsyncIterator[UpstreamApi]:
    """The API as `tunegate serve` runs it, beside the harness's workers."""
    settings = harness.ctx.settings
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    app = create_app(dataclasses.replace(settings, port=port))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    base_url = f"http://127.0.0.1:{port}/v1"
    async with AsyncExitStack() as stack:
        clients: list[httpx2.AsyncClient] = []
        owners: tuple[tuple[KeyKind, str | None], ...] = (
            ("admin", None),
            ("project", harness.project_id),
            ("project", other_project.project_id),
        )
        for kind, project_id in owners:
            headers = {"authorization": f"Bearer {await new_key(harness, kind, project_id)}"}
            client = httpx2.AsyncClient(base_url=base_url, headers=headers, timeout=90)
            clients.append(await stack.enter_async_context(client))
        while not server.started:
            await asyncio.sleep(0.01)
        yield UpstreamApi(clients[0], clients[1], clients[2], base_url)
    server.should_exit = True
    await serving


async def new_key(harness: WorkerHarness, kind: KeyKind, project_id: str | None) -> str:
    """A key of a project, or of the organisation."""
    key = keys.new_key(kind)
    async with harness.ctx.db.admin() as session:
        session.add(
            ApiKey(
                id=new_id("key_"),
                project_id=project_id,
                kind=kind,
                name="test",
                sha256=keys.fingerprint(key),
                redacted_value=keys.redacted(key),
            )
        )
    return key


def account(base_url: str, /, **changes: Any) -> dict[str, Any]:
    """The body of an account's creation."""
    return {"name": "second", "kind": "openai", "base_url": base_url, "credential": CREDENTIAL} | changes
