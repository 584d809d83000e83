"""The dev stack: starts every part of Tunegate on this machine, from an empty folder to a serving gateway.

Everything lives in one data folder: `credentials.json`, `postgres/`, `redis/`, `storage/`, `trainer/` and `logs/`.
"""

import asyncio
import fcntl
import http.client
import json
import os
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import service.catalogue
from cli import environment
from cli.credentials import Credentials, load_or_create, write_private
from cli.embedded import LOOPBACK, OWNER, SERVICE, SUPERUSER, Postgres, Valkey, free_port
from cli.listening import listen
from cli.supervisor import Program, Supervisor
from cli.trainer_engine import BYTE_MODEL, TrainerEngine
from service.database.engine import SERVICE_ROLE
from service.database.migrations import upgrade
from service.identity.bootstrap import ensure_default_project
from service.identity.keys import PREFIXES
from service.settings import Settings

PARTS = ("api", "worker", "trainer", "postgres", "redis")
STOP_ORDER = (("api", "worker", "trainer"), ("redis",), ("postgres",))
START_SECONDS = 60.0
MODELS_SECONDS = 1800.0
"""The limit for a trainer with language models, which converts each GGUF file at its first start."""

API_STOP_SECONDS = 22.0
"""A little longer than the API's graceful shutdown."""

WORKER_STOP_SECONDS = 22.0


class StackFailed(Exception):
    """The stack cannot start; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The URLs, keys and pids of a running stack; the ready file in API.md. It holds keys, so its mode is 0600."""

    base_url: str
    api_key: str
    admin_key: str
    database_url: str
    redis_url: str
    upstream_url: str
    pids: dict[str, int]
    metrics_urls: dict[str, str]

    def as_json(self) -> str:
        """The text of the ready file."""
        return json.dumps(asdict(self), indent=2) + "\n"


@dataclass(frozen=True, kw_only=True)
class StackOptions:
    """The options of a stack. `always_trainer` ignores an upstream in the environment, so that nothing can be spent."""

    environ: Mapping[str, str]
    data_dir: Path
    port: int
    ready_file: Path | None = None
    engine: TrainerEngine = BYTE_MODEL
    always_trainer: bool = False
    always_embedded: bool = False

    @cached_property
    def upstream(self) -> tuple[str, str] | None:
        """The caller's upstream, or None for the trainer."""
        return None if self.always_trainer else environment.external_upstream(self.environ)

    def external(self, variable: str) -> str | None:
        """The caller's own server, or None for the embedded one."""
        return None if self.always_embedded else self.environ.get(variable) or None


class Stack:
    """Starts, supervises and stops one stack. `run` does all of it in the calling thread."""

    def __init__(self, plan: StackOptions, *, say: Callable[[str], None], interrupt: Event, hurry: Event) -> None:
        self._plan = plan
        self._say = say
        self._supervisor = Supervisor(on_change=self._write_ready_file, say=say, interrupt=interrupt, hurry=hurry)
        self._ready: Ready | None = None

    @property
    def logs(self) -> Path:
        """The folder with one log per part."""
        return self._plan.data_dir / "logs"

    def run(self, on_ready: Callable[[Ready], None]) -> None:
        """Start, call `on_ready`, supervise until interrupted, stop.

        Raises `StackFailed`, `EmbeddedFailed`, `SettingsError` or `ProgramFailed` if the stack cannot start, and
        `Interrupted` if it is interrupted while starting. No process is left running in any case.
        """
        with ExitStack() as resources:
            self._lock_folder(resources)
            self._remove_old_ready_file()
            try:
                listener = resources.enter_context(_listen(self._host, self._plan.port))
                self._ready = self._start(listener)
                self._write_ready_file()
                on_ready(self._ready)
                self._supervisor.run()
            finally:
                self._supervisor.stop(*STOP_ORDER)
                if self._plan.ready_file:
                    self._plan.ready_file.unlink(missing_ok=True)

    @property
    def _host(self) -> str:
        return self._plan.environ.get("TUNEGATE_HOST") or LOOPBACK

    def _lock_folder(self, resources: ExitStack) -> None:
        folder = self._plan.data_dir
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = resources.enter_context((folder / "lock").open("a+"))
        except OSError as error:
            raise StackFailed(
                f"{folder} cannot be used as the folder for the data: {error.strerror}. Name another one by --data-dir."
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise StackFailed(
                f"Another Tunegate (pid {lock.read().strip()}) already runs on {folder}. "
                "Stop it first, or choose another folder with --data-dir."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()

    def _remove_old_ready_file(self) -> None:
        file = self._plan.ready_file
        if file is None:
            return
        try:
            file.unlink(missing_ok=True)
            write_private(file, "")
            file.unlink()
        except OSError as error:
            raise StackFailed(f"{file} cannot be written: {error.strerror}. Name another --ready-file.") from None

    def _start(self, listener: socket.socket) -> Ready:
        plan, supervisor = self._plan, self._supervisor
        port = listener.getsockname()[1]
        if not plan.always_trainer:
            self._check_upstream(port)
        self.logs.mkdir(mode=0o700, exist_ok=True)
        credentials = load_or_create(plan.data_dir / "credentials.json")

        upstream = plan.upstream or self._start_trainer(credentials)
        redis_url = plan.external("REDIS_URL") or self._start_redis(credentials)
        database_url = plan.external("DATABASE_URL")
        owner_url = plan.environ.get("TUNEGATE_OWNER_DATABASE_URL", "") if database_url else ""
        postgres = None if database_url else self._start_postgres(credentials)
        if postgres:
            database_url, owner_url = postgres.url(SERVICE), postgres.url(OWNER)
        assert database_url

        service_environment = environment.for_service(
            plan.environ,
            database_url=database_url,
            owner_database_url=owner_url,
            redis_url=redis_url,
            upstream=upstream,
            master_key=credentials.master_key,
            storage=plan.data_dir / "storage",
            host=self._host,
            port=port,
            models_file=self._models_file(),
        )
        settings = Settings.from_env(service_environment)
        self._say("migrating the database")
        upgrade(settings)
        if postgres:
            asyncio.run(postgres.grant_service_role(SERVICE_ROLE))
        asyncio.run(ensure_default_project(settings, api_key=credentials.api_key, admin_key=credentials.admin_key))

        self._say("starting the API and the worker")
        internal = {name: _internal(settings.metrics_host) for name in ("api", "worker")}
        supervisor.start(self._api(service_environment | internal["api"].variables, listener))
        supervisor.start(self._worker(service_environment | internal["worker"].variables, internal["worker"].url))
        supervisor.wait_ready(*supervisor.pids(), timeout_seconds=START_SECONDS)
        return Ready(
            base_url=f"http://{_client_address(self._host)}:{port}/v1",
            api_key=credentials.api_key,
            admin_key=credentials.admin_key,
            # The owner's URL, which sees every row, for users and tests. The service uses a login that does not.
            database_url=owner_url or database_url,
            redis_url=redis_url,
            upstream_url=upstream[0],
            pids=self._pids(),
            metrics_urls={name: f"{each.url}/metrics" for name, each in internal.items()},
        )

    def _models_file(self) -> Path | None:
        """The models file of the trainer's models folder, once the trainer has converted what it must."""
        file = self._plan.engine.write_models_file(self._plan.data_dir)
        if file is not None:
            self._say("waiting for the trainer, which converts GGUF files at its first start")
            self._supervisor.wait_ready("trainer", timeout_seconds=MODELS_SECONDS)
        return file

    def _check_upstream(self, port: int) -> None:
        named = self._plan.environ.get("OPENAI_BASE_URL", "")
        if Settings(upstream_base_url=named, host=self._host).upstream_is_self(port):
            raise StackFailed(
                f"OPENAI_BASE_URL is {named}, which is this gateway itself: every job would create another one, "
                "without end. It is meant for clients: unset it here (`env -u OPENAI_BASE_URL tunegate dev`)."
            )
        if named and self._plan.environ.get("OPENAI_API_KEY", "").startswith(tuple(PREFIXES.values())):
            raise StackFailed(
                f"OPENAI_BASE_URL is {named}, and OPENAI_API_KEY is a key of a Tunegate gateway, which becomes the "
                "upstream. Both are meant for clients: unset them here (`env -u OPENAI_BASE_URL tunegate dev`)."
            )

    def _start_postgres(self, credentials: Credentials) -> Postgres:
        passwords = {
            SUPERUSER: credentials.postgres_password,
            OWNER: credentials.owner_password,
            SERVICE: credentials.service_password,
        }
        postgres = Postgres(folder=self._plan.data_dir / "postgres", port=free_port(), passwords=passwords)
        self._say("starting PostgreSQL")
        postgres.prepare()
        self._supervisor.start(postgres.program(self.logs / "postgres.log"))
        self._supervisor.wait_ready("postgres", timeout_seconds=START_SECONDS)
        asyncio.run(postgres.create_logins())
        return postgres

    def _start_redis(self, credentials: Credentials) -> str:
        valkey = Valkey(folder=self._plan.data_dir / "redis", port=free_port(), password=credentials.redis_password)
        self._say("starting Valkey")
        self._supervisor.start(valkey.program(self.logs / "redis.log"))
        return valkey.url

    def _start_trainer(self, credentials: Credentials) -> tuple[str, str]:
        port = free_port()
        self._say("starting the trainer")
        data = self._plan.data_dir / "trainer"
        data.mkdir(mode=0o700, exist_ok=True)
        where = ["--host", LOOPBACK, "--port", str(port), "--data-dir", str(data)]
        url = f"http://{LOOPBACK}:{port}/v1"
        self._supervisor.start(
            Program(
                name="trainer",
                command=[sys.executable, "-m", "trainer", *where],
                log=self.logs / "trainer.log",
                environment=environment.for_trainer(
                    self._plan.environ,
                    key=credentials.trainer_key,
                    encodings=Path(service.catalogue.__file__).parent / "encodings",
                )
                | self._plan.engine.variables(),
                ready=partial(_answers, f"{url}/models", credentials.trainer_key),
            )
        )
        return url, credentials.trainer_key

    def _api(self, variables: dict[str, str], listener: socket.socket) -> Program:
        host, port = listener.getsockname()[:2]
        return Program(
            name="api",
            command=[sys.executable, "-m", "cli", "serve", "--fd", str(listener.fileno())],
            log=self.logs / "api.log",
            environment=variables,
            pass_fds=[listener.fileno()],
            stop_seconds=API_STOP_SECONDS,
            ready=partial(_answers, f"http://{_client_address(host)}:{port}/readyz", None),
        )

    def _worker(self, variables: dict[str, str], internal_url: str) -> Program:
        return Program(
            name="worker",
            command=[sys.executable, "-m", "cli", "worker"],
            log=self.logs / "worker.log",
            environment=variables,
            stop_seconds=WORKER_STOP_SECONDS,
            ready=partial(_answers, f"{internal_url}/livez", None),
        )

    def _pids(self) -> dict[str, int]:
        running = self._supervisor.pids()
        return {name: running[name] for name in PARTS if name in running}

    def _write_ready_file(self) -> None:
        if self._plan.ready_file and self._ready:
            write_private(self._plan.ready_file, replace(self._ready, pids=self._pids()).as_json())


@dataclass(frozen=True)
class _Internal:
    """Where a process has its internal listener, on a port that it keeps when it is started again."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Its address for clients on this machine."""
        return f"http://{_client_address(self.host)}:{self.port}"

    @property
    def variables(self) -> dict[str, str]:
        """The setting that puts it there."""
        return {"TUNEGATE_METRICS_PORT": str(self.port)}


def _internal(host: str) -> _Internal:
    return _Internal(host, free_port(host))


def _client_address(host: str) -> str:
    """The address at which clients on this machine reach a server that is bound to `host`."""
    return LOOPBACK if host in ("0.0.0.0", "") else host  # noqa: S104 - compared, not bound


def _listen(host: str, port: int) -> socket.socket:
    """The API's listening socket, which every API process inherits.

    Holding it keeps the port while the API restarts: callers that connect meanwhile wait instead of being refused.
    """
    return listen(host, port or free_port(host), advice="Choose another one with --port; 0 picks a free one.")


def _answers(url: str, key: str | None) -> bool:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=2)
    try:
        connection.request("GET", parts.path, headers={"Authorization": f"Bearer {key}"} if key else {})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
