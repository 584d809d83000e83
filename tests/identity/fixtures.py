"""The API with an admin key, and two API processes on a database of their own."""

import base64
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from sqlalchemy import event

from cli.embedded import OWNER, SERVICE
from cli.supervisor import GUARD, log_tail
from service.database.engine import Database, create_engine
from service.identity.bootstrap import create_key
from service.settings import Settings
from service.wakeups import Wakeups
from tests.stack import ROOT, Servers, run_async
from tests.wire import eventually
from tests.workers.process import environment


class Connections:
    """The connections of a database that are in use, and how many have been at most."""

    def __init__(self, db: Database) -> None:
        self.now = self.max = 0
        event.listen(db.engine.sync_engine, "checkout", self._out)
        event.listen(db.engine.sync_engine, "checkin", self._in)

    def _out(self, *_: Any) -> None:
        self.now += 1
        self.max = max(self.max, self.now)

    def _in(self, *_: Any) -> None:
        self.now -= 1


@dataclass(frozen=True, kw_only=True)
class AdminApi:
    """An admin key at a running API."""

    base_url: str
    database_url: str
    key: str
    db: Database

    def http(self, key: str | None = None) -> httpx2.AsyncClient:
        """A client with the admin key, or with another one."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        return httpx2.AsyncClient(base_url=self.base_url, headers=headers, timeout=90)

    def sdk(self, key: str | None = None) -> openai.AsyncOpenAI:
        """The official SDK, without retries of its own. `key` serves as API key and as admin key."""
        return openai.AsyncOpenAI(
            base_url=self.base_url, api_key=key or self.key, admin_api_key=key or self.key, max_retries=0, timeout=90
        )


@pytest.fixture
async def admin_api(gateway: tuple[Settings, str]) -> AsyncIterator[AdminApi]:
    """A fresh admin key of the API that the tests of this process share."""
    settings, base_url = gateway
    db = Database(create_engine(settings.database_url, pool_size=2), Wakeups(""))
    key = await create_key(settings, kind="admin", name="tests")
    yield AdminApi(base_url=base_url, database_url=settings.database_url, key=key, db=db)
    await db.close()


@dataclass(frozen=True, kw_only=True)
class Processes:
    """Two API processes on one database, and its only admin key."""

    base_urls: tuple[str, str]
    settings: Settings
    admin_key: str

    def http(self, which: int, key: str | None = None) -> httpx2.AsyncClient:
        """A client of one of them."""
        headers = {"authorization": f"Bearer {key or self.admin_key}"}
        return httpx2.AsyncClient(base_url=self.base_urls[which], headers=headers, timeout=90)


@pytest.fixture(scope="module")
def processes(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    """`tunegate serve` twice, as behind a load balancer."""
    folder = tmp_path_factory.mktemp("processes")
    with servers.fresh_database() as name, ExitStack() as started:
        settings = Settings(
            database_url=servers.postgres.url(SERVICE, name),
            owner_database_url=servers.postgres.url(OWNER, name),
            upstream_base_url="http://127.0.0.1:1/v1",
            upstream_api_key="none",
            master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            storage_url=f"file://{folder / 'storage'}",
            environment="dev",
            webhook_allow_private=True,
        )
        urls = [started.enter_context(_serving(settings, folder / f"api{number}.log")) for number in range(2)]
        admin_key = run_async(create_key(settings, kind="admin", name="first"))
        yield Processes(base_urls=(urls[0], urls[1]), settings=settings, admin_key=admin_key)


class _serving:
    """One `tunegate serve` on a port of its own."""

    def __init__(self, settings: Settings, log: Path) -> None:
        self._log = log
        with socket.create_server(("127.0.0.1", 0)) as listening:
            os.set_inheritable(listening.fileno(), True)
            port = listening.getsockname()[1]
            self._url = f"http://127.0.0.1:{port}"
            fd = str(listening.fileno())
            command = [sys.executable, "-m", "cli", "serve", "--fd", fd]
            guard = [sys.executable, "-I", "-S", str(GUARD), "--parent", str(os.getpid()), "--", *command]
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    guard,
                    cwd=ROOT,
                    env=environment(settings) | {"TUNEGATE_PORT": str(port)},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=[listening.fileno()],
                )

    def __enter__(self) -> str:
        def up() -> bool:
            assert self._process.poll() is None, log_tail(self._log, 30)
            try:
                return httpx2.get(f"{self._url}/livez", timeout=60).status_code == 200
            except httpx2.HTTPError:
                return False

        eventually(up)
        return f"{self._url}/v1"

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(90)
