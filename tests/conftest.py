"""Fixtures for every test: a migrated database of its own, Redis, settings, and whole stacks."""

import base64
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
import redis

from cli.embedded import OWNER, SERVICE
from cli.starting import imports
from service.database import engine
from service.settings import Settings
from tests import compiled_statements
from tests.stack import HANDOVER, DevStack, ReusableDatabases, Servers, running_servers

if TYPE_CHECKING:
    import openai

pytest_plugins = [f"tests.{folder}.fixtures" for folder in ("http", "identity", "webhooks", "workers")]
"""Fixtures that tests of several folders share, so that a process starts each server once."""

os.environ["SSL_CERT_FILE"] = str(Path(__file__).parent / "authority.pem")
"""A certificate authority of nobody: nothing here goes to the world, and each client would read all of the system's."""

engine.CONNECT_SECONDS = engine.PING_SECONDS = engine.POOL_WAIT_SECONDS = 60.0
"""What a test asks of Postgres in this process is answered in time, however long the machine stands still."""

compiled_statements.share()

STARTS_SERVERS = {"servers", "stack", "fresh_stack", "upstream_program", "scripted_program", "receiver"}
"""Fixtures that start one; `make test-fast` leaves out the tests that use them."""

TRAINING_FOLDERS = ("examples", "experiments", "identity", "runs")
"""Of the tests that use the shared stack, those in these folders train long, and get a stack of their own."""

IN_SUMMARY = "in the summary"
"""A property by which a test has a text printed at the end of the run, whichever process it ran in."""

_RUN = pytest.StashKey[ExitStack]()

hypothesis.settings.register_profile("tunegate", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tunegate")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options by which `make test-fast` and `make test-faults` differ from `make test`."""
    parser.addoption("--fast", action="store_true", help="only tests that start no server")
    parser.addoption("--full", action="store_true", help="hold faults for their full time, and kill more often")


def pytest_configure(config: pytest.Config) -> None:
    """Under pytest-xdist the controller starts the servers, for it outlives every worker."""
    is_worker = hasattr(config, "workerinput")
    no_servers = config.option.collectonly or config.getoption("fast")
    if is_worker or config.getoption("dist", "no") == "no" or no_servers:
        return
    run = config.stash[_RUN] = ExitStack()
    os.environ[HANDOVER] = str(run.enter_context(running_servers()).folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what `pytest_configure` started."""
    if run := config.stash.get(_RUN, None):
        run.close()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Modules and items live as long as the process: searching them for garbage takes a third of the collection."""
    with imports():
        yield


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in the same hook
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with those that take long, or at the end all workers but one would wait for the last of them."""
    if config.getoption("fast"):
        starting = [item for item in items if not STARTS_SERVERS.isdisjoint(getattr(item, "fixturenames", ()))]
        items[:] = [item for item in items if item not in set(starting)]
        config.hook.pytest_deselected(items=starting)
    for item in items:
        if _shares_stack(item):
            trains = Path(item.path).relative_to(Path(__file__).parent).parts[0] in TRAINING_FOLDERS
            item.add_marker(pytest.mark.xdist_group("stack that trains" if trains else "stack"))
    items.sort(key=_allowed_seconds, reverse=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of a group share servers, so they run in one process, and pytest-xdist must know their groups before."""
    apart = hasattr(item.config, "workerinput") and item.get_closest_marker("xdist_group")
    if apart and "@" not in item.nodeid.rpartition("]")[2]:
        pytest.fail("pytest-xdist does not group the tests of this version of pytest", pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have recorded for the summary."""
    for report in terminalreporter.stats.get("passed", []):
        for text in (value for name, value in report.user_properties if name == IN_SUMMARY):
            terminalreporter.write_line(str(text))


def _shares_stack(item: pytest.Item) -> bool:
    """Whether it uses the stack of its process. Such tests are grouped, or every process would start one."""
    assert isinstance(item, pytest.Function)
    definitions = item._fixtureinfo.name2fixturedefs.get("stack", ())
    return any(definition.scope == "session" for definition in definitions[-1:])


def _allowed_seconds(item: pytest.Item) -> float:
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0]) if marker else 0.0


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The run's PostgreSQL and Valkey."""
    if handed_over := os.environ.get(HANDOVER):
        yield Servers.described_in(Path(handed_over))
        return
    with running_servers() as started:
        yield started


@pytest.fixture(scope="session")
def databases(servers: Servers) -> Iterator[ReusableDatabases]:
    """The databases that the tests of this process use one after the other."""
    reusable = servers.reusable_databases()
    yield reusable
    reusable.close()


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether faults are held for their full time, and kills repeated."""
    return bool(request.config.getoption("full"))


@pytest.fixture
def database(databases: ReusableDatabases) -> Iterator[str]:
    """The name of a migrated database with nothing in it."""
    with databases.database() as name:
        yield name


@pytest.fixture
def database_url(servers: Servers, database: str) -> str:
    """That database for the service's login, which sees rows only inside a scope."""
    return servers.postgres.url(SERVICE, database)


@pytest.fixture
def owner_url(servers: Servers, database: str) -> str:
    """That database for its owner, which sees every row: for asserting on rows."""
    return servers.postgres.url(OWNER, database)


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """An empty Redis database that no other test uses meanwhile: one number per xdist worker."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 16
    url = f"{servers.valkey.url.rpartition('/')[0]}/{number}"
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
    return url


@pytest.fixture
def settings(database_url: str, owner_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Settings for the fresh database, with small time constants."""
    return Settings(
        database_url=database_url,
        owner_database_url=owner_url,
        redis_url=redis_url,
        environment="dev",
        master_key=base64.b64encode(secrets.token_bytes(32)).decode(),
        storage_url=f"file://{tmp_path / 'storage'}",
        poll_seconds=0.2,
        lease_seconds=5.0,
        reconcile_seconds=0.2,
        upstream_timeout_seconds=2.0,
        settle_seconds=1.0,
        webhook_schedule_seconds=(0.2, 0.2, 0.5, 1.0, 2.0, 5.0),
        webhook_timeout_seconds=2.0,
        webhook_allow_private=True,
        database_pool_size=5,
    )


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStack]:
    """A running `tunegate dev`, shared by the tests of one xdist worker.

    Its limits of requests a minute are for many tests at once; those of the limits have gateways of their own.
    """
    limits = dict.fromkeys(("TUNEGATE_REQUESTS_PER_MINUTE", "TUNEGATE_FAILED_KEYS_PER_MINUTE"), "1000000")
    started = DevStack(tmp_path_factory.mktemp("stack"), environment=limits)
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture
def fresh_stack(tmp_path: Path) -> Iterator[DevStack]:
    """A running `tunegate dev` for one test, which may kill parts of it."""
    started = DevStack(tmp_path)
    try:
        yield started.start()
    finally:
        started.stop()


@pytest.fixture
def client(stack: DevStack) -> "openai.OpenAI":
    """The official SDK with the shared stack's project key, without retries of its own."""
    return stack.client()


def pytest_make_parametrize_id(val: object) -> str | None:
    """A short name for a file's bytes as a parameter: those of archives contain the time."""
    return f"{len(val)}-bytes" if isinstance(val, bytes) and len(val) > 80 else None
