"""The embedded servers: who may connect, what survives a kill, and both ways of not being root."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import asyncpg
import pytest
import redis

from cli.embedded import OWNER, PORTS, SERVICE, SUPERUSER, EmbeddedFailed, Postgres, Valkey, execute, free_port
from cli.supervisor import Supervisor

PASSWORDS = {SUPERUSER: "a@b/c", OWNER: "owner", SERVICE: "service"}


@contextmanager
def running(postgres: Postgres, log: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(on_change=lambda: None, say=print, interrupt=Event(), hurry=Event())
    try:
        supervisor.start(postgres.program(log))
        supervisor.wait_ready("postgres", timeout_seconds=60)
        yield supervisor
    finally:
        supervisor.stop(["postgres"])


def query(url: str, sql: str) -> object:
    return asyncio.run(execute(url, sql))


def make(folder: Path, *, way: str | None = None) -> Postgres:
    folder.chmod(0o755)
    postgres = Postgres(folder=folder / "dev" / "postgres", port=free_port(), passwords=PASSWORDS)
    postgres.prepare(way=way)
    return postgres


WAYS = ["namespace", "nobody"] if os.geteuid() == 0 else [None]


@pytest.fixture
def reachable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that the user nobody can reach: pytest's own are closed to others."""
    import shutil
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="tunegate-test-"))
    yield folder
    shutil.rmtree(folder)


class TestPostgres:
    @pytest.mark.parametrize("way", WAYS)
    def test_data_survives_a_kill_whichever_way_root_is_dropped(self, reachable: Path, way: str | None) -> None:
        postgres = make(reachable, way=way)
        with running(postgres, reachable / "log") as supervisor:
            asyncio.run(postgres.create_logins())
            owner = postgres.url(OWNER)
            query(owner, "CREATE TABLE kept AS SELECT 42 AS answer")
            first = supervisor.pids()["postgres"]
            assert (postgres.data / "postmaster.pid").read_text().split()[0] == str(first)
            os.kill(first, signal.SIGKILL)
            supervisor.tick()
            supervisor.wait_ready("postgres", timeout_seconds=60)
            assert supervisor.pids()["postgres"] != first
            assert query(owner, "SELECT answer FROM kept") == 42

    def test_a_stale_lock_with_another_program_s_pid_does_not_matter(self, tmp_path: Path) -> None:
        postgres = make(tmp_path)
        (postgres.data / "postmaster.pid").write_text(f"{os.getpid()}\n{postgres.data}\n")
        with running(postgres, tmp_path / "log"):
            assert query(postgres.url(SUPERUSER, "postgres"), "SELECT 1") == 1

    def test_nobody_gets_in_without_the_password(self, tmp_path: Path) -> None:
        postgres = make(tmp_path)
        with running(postgres, tmp_path / "log"):
            with pytest.raises(asyncpg.InvalidPasswordError):
                query(f"postgresql://postgres:wrong@127.0.0.1:{postgres.port}/postgres", "SELECT 1")
            listening = query(postgres.url(SUPERUSER, "postgres"), "SELECT current_setting('listen_addresses')")
            assert listening == "127.0.0.1"

    def test_lost_credentials_are_named(self, tmp_path: Path) -> None:
        postgres = make(tmp_path)
        other = Postgres(folder=postgres.folder, port=postgres.port, passwords=PASSWORDS | {SUPERUSER: "other"})
        with pytest.raises(EmbeddedFailed, match=r"credentials\.json"), running(other, tmp_path / "log"):
            pass

    def test_preparing_twice_changes_nothing(self, tmp_path: Path) -> None:
        postgres = make(tmp_path)
        made_at = (postgres.data / "PG_VERSION").stat().st_mtime_ns
        postgres.prepare()
        assert (postgres.data / "PG_VERSION").stat().st_mtime_ns == made_at
        assert sorted(path.name for path in postgres.folder.iterdir() if path.name.startswith("new-")) == []

    def test_the_logins_have_no_more_rights_than_they_need(self, tmp_path: Path) -> None:
        postgres = make(tmp_path)
        with running(postgres, tmp_path / "log"):
            asyncio.run(postgres.create_logins())
            asyncio.run(postgres.create_logins())
            rights = (
                "SELECT rolsuper::int * 4 + rolbypassrls::int * 2 + rolcreaterole::int FROM pg_roles WHERE rolname = "
            )
            assert query(postgres.url(OWNER), f"{rights}current_user") == 3
            assert query(postgres.url(SERVICE), f"{rights}current_user") == 0


class TestValkey:
    def test_it_wants_the_password_and_shows_it_to_nobody(self, tmp_path: Path) -> None:
        valkey = Valkey(folder=tmp_path / "redis", port=free_port(), password="p@ss/word")
        supervisor = Supervisor(on_change=lambda: None, say=print, interrupt=Event(), hurry=Event())
        program = valkey.program(tmp_path / "log")
        try:
            supervisor.start(program)
            supervisor.wait_ready("redis", timeout_seconds=60)
            with redis.Redis.from_url(valkey.url) as connection:
                assert connection.ping() is True
            with redis.Redis(port=valkey.port) as stranger, pytest.raises(redis.AuthenticationError):
                stranger.ping()
        finally:
            supervisor.stop(["redis"])
        assert not any("p@ss" in part for part in program.command)
        assert (valkey.folder / "valkey.conf").stat().st_mode & 0o077 == 0


def test_free_ports_are_free_and_below_the_outgoing_range() -> None:
    port = free_port()
    assert port in PORTS
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a port for its finder")
def test_a_free_port_stays_its_finder_s_between_two_starts_of_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr("cli.embedded.PORTS", range(port, port + 1))
    for _ in range(2):
        with pytest.raises(EmbeddedFailed, match="No free port"):
            free_port()
        with socket.create_server(("127.0.0.1", port)):
            pass
