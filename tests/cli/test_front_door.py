"""What every command and process says when it is misconfigured: one line, what is wrong and what to do, status 2."""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from typing import Any

import httpx2
import pytest

from cli.embedded import OWNER, SUPERUSER, execute
from service.database.problems import DatabaseUnusable, check_url, old_version, problem_of
from service.errors import SettingsError
from service.settings import Settings
from service.unknown_settings import unknown_settings
from tests.stack import ROOT, Servers

pytestmark = pytest.mark.xdist_group("front_door")

MASTER = base64.b64encode(bytes(32)).decode()
NOWHERE = "postgresql://a:b@127.0.0.1:1/c"
SERVICE = {
    "TUNEGATE_MASTER_KEY": MASTER,
    "DATABASE_URL": NOWHERE,
    "TUNEGATE_STORAGE_URL": "file://{folder}/storage",
    "TUNEGATE_PORT": "0",
}
ON_DATABASE = ("migrate", "keys project ci", "keys admin me", "keys reseal", "audit", "deletions", "serve", "worker")
SERVING = ("serve", "worker")
CALLING = ("trigger x", "generate a", "compare {rows}")
AWAY = "http://127.0.0.1:1/v1"
ONE_ROW = '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'


@dataclass(frozen=True)
class Case:
    """A command in an environment, and what its line must contain. `{names}` stand for what `places` has."""

    name: str
    command: str
    says: str
    environment: dict[str, str] = field(default_factory=dict)
    program: str = "tunegate"
    needs_postgres: bool = False

    def __str__(self) -> str:
        return f"{self.name}: {self.program} {self.command}"


def everywhere(
    name: str, commands: tuple[str, ...], says: str, postgres: bool = False, **environment: str
) -> list[Case]:
    """The same case for several commands."""
    return [Case(name, command, says, environment, needs_postgres=postgres) for command in commands]


DATABASE_CASES = [
    *everywhere("no DATABASE_URL", ON_DATABASE, "DATABASE_URL is not set", DATABASE_URL=""),
    *everywhere("an unparsable URL", ON_DATABASE, "DATABASE_URL is not a URL like", DATABASE_URL="nonsense"),
    *everywhere(
        "a port that is none", SERVING, "DATABASE_URL is not a URL like", DATABASE_URL="postgresql://a:b@h:port/c"
    ),
    *everywhere("another driver", ON_DATABASE, "begins with mysql://", DATABASE_URL="mysql://a:b@127.0.0.1/c"),
    *everywhere("an unknown option", SERVING, "has the option 'nonsense'", DATABASE_URL=f"{NOWHERE}?nonsense=1"),
    *everywhere("an unknown sslmode", ("migrate",), "sslmode=perhaps", DATABASE_URL=f"{NOWHERE}?sslmode=perhaps"),
    *everywhere("nobody listens", ON_DATABASE[:6], "cannot be reached"),
    *everywhere("an unknown host", ON_DATABASE[:6], "has no address", DATABASE_URL="postgresql://a:b@nohost.invalid/c"),
    *everywhere("an owner's URL", ("migrate",), "TUNEGATE_OWNER_DATABASE_URL", TUNEGATE_OWNER_DATABASE_URL="nonsense"),
    *everywhere("wrong password", ON_DATABASE, "refuses the login plain", True, DATABASE_URL="{wrong_password}"),
    *everywhere("no such database", ON_DATABASE, "has no database nowhere", True, DATABASE_URL="{no_database}"),
    *everywhere(
        "TLS that is not there", ("migrate", "serve"), "has no TLS", True, DATABASE_URL="{empty}?sslmode=require"
    ),
    *everywhere("before migrate", ON_DATABASE[1:], "Run `tunegate migrate`", True, DATABASE_URL="{empty}"),
    *everywhere("no CREATEROLE", ("migrate",), "give it CREATEROLE", True, DATABASE_URL="{empty}"),
    *everywhere("another program's tables", ("migrate",), "objects of another program", True, DATABASE_URL="{foreign}"),
    *everywhere("another program's schema", ON_DATABASE, "another program", True, DATABASE_URL="{alembic}"),
    *everywhere("a newer schema", ON_DATABASE[1:], "Start a newer version", True, DATABASE_URL="{newer}"),
    *everywhere("a newer schema", ("migrate",), "Of a newer version of Tunegate", True, DATABASE_URL="{newer}"),
    *everywhere(
        "the role is not granted",
        ON_DATABASE[1:],
        "GRANT tunegate_service TO plain",
        True,
        DATABASE_URL="{anothers}",
    ),
]
SETTING_CASES = [
    *everywhere("no master key", (*SERVING, "keys reseal"), "`tunegate keys master`", TUNEGATE_MASTER_KEY=""),
    *everywhere("a short master key", SERVING, "32 bytes in base64", TUNEGATE_MASTER_KEY="YQ=="),
    *everywhere("a master key not in base64", SERVING, "32 bytes in base64", TUNEGATE_MASTER_KEY="?" * 44),
    *everywhere("no number", ("check x", "migrate", *SERVING), "must be a number", TUNEGATE_POLL_SECONDS="soon"),
    *everywhere("a port out of range", ("serve", "dev"), "from 0 to 65535", TUNEGATE_PORT="70000"),
    *everywhere("a metrics port out of range", SERVING, "from 0 to 65535", TUNEGATE_METRICS_PORT="-1"),
    *everywhere("a metrics port that is taken", SERVING, "TUNEGATE_METRICS_PORT", TUNEGATE_METRICS_PORT="{taken}"),
    *everywhere("a port that is taken", ("serve",), "another program listens there", TUNEGATE_PORT="{taken}"),
    *everywhere("a host of another machine", ("serve",), "no address of this machine", TUNEGATE_HOST="192.0.2.1"),
    *everywhere("an unknown host name", ("serve",), "the host has no address", TUNEGATE_HOST="nohost.invalid"),
    *everywhere("an unknown store", SERVING, "TUNEGATE_STORAGE_URL cannot be used", TUNEGATE_STORAGE_URL="ftp://x/y"),
    *everywhere("a store without a scheme", SERVING, "file:///path", TUNEGATE_STORAGE_URL="/data"),
    *everywhere("a store without a bucket", SERVING, "s3://bucket", TUNEGATE_STORAGE_URL="s3://"),
    *everywhere(
        "a store without an account", SERVING, "Account must be specified", TUNEGATE_STORAGE_URL="az://container"
    ),
    *everywhere(
        "a storage folder below a file", SERVING, "cannot be written", TUNEGATE_STORAGE_URL="file://{file}/storage"
    ),
    *everywhere(
        "a storage folder that is read-only", SERVING, "cannot be written", TUNEGATE_STORAGE_URL="file:///proc/here"
    ),
    *everywhere("no Redis URL", SERVING, "REDIS_URL is not a URL", REDIS_URL="http://x"),
    *everywhere("a Redis port that is none", SERVING, "REDIS_URL is not a URL", REDIS_URL="redis://h:port"),
    *everywhere(
        "no upstream URL", SERVING, "OPENAI_BASE_URL must be a URL", OPENAI_BASE_URL="nonsense", OPENAI_API_KEY="k"
    ),
    *everywhere("an upstream without a key", SERVING, "Set both, or neither", OPENAI_BASE_URL="http://127.0.0.1:9/v1"),
    *everywhere(
        "the gateway as its upstream",
        SERVING,
        "itself",
        OPENAI_BASE_URL="http://127.0.0.1:8080/v1",
        OPENAI_API_KEY="k",
        TUNEGATE_PORT="8080",
    ),
    *everywhere("no models file", (*SERVING, "check {rows}"), "cannot be read", TUNEGATE_MODELS_FILE="/nowhere.toml"),
    *everywhere("a broken models file", SERVING, "at line 1, column 7", TUNEGATE_MODELS_FILE="{file}"),
    *everywhere("a proxy that is none", SERVING, "TUNEGATE_TRUSTED_PROXIES", TUNEGATE_TRUSTED_PROXIES="somewhere"),
    Case("no Redis for several", "serve --processes 2", "need REDIS_URL"),
    Case("no processes", "serve --processes 0", "Must be >= 1"),
    Case("no socket", "serve --fd 77", "no socket that this process inherited"),
]
COMMAND_CASES = [
    Case("a data folder that is a file", "dev --data-dir {file}", "cannot be used as the folder for the data"),
    Case("a data folder below a file", "dev --data-dir {file}/x", "Not a directory"),
    Case("a data folder that is read-only", "dev --data-dir /proc/x", "cannot be used as the folder for the data"),
    Case("a port that is taken", "dev --port {taken} --data-dir {folder}/a", "another program listens there"),
    Case("a port out of range", "dev --port 70000", "Must be <= 65535"),
    Case(
        "a host of another machine", "dev --port 80 --data-dir {folder}/b", "no address", {"TUNEGATE_HOST": "192.0.2.1"}
    ),
    Case("a ready file in no folder", "dev --data-dir {folder}/c --ready-file /nowhere/x", "Name another --ready-file"),
    Case("a data folder that is a file", "demo --data-dir {file}", "cannot be used as the folder for the data"),
    *everywhere(
        "no gateway", ("trigger x", "listen --forward-to http://h/", "generate a", "compare {rows}"), "OPENAI_BASE_URL"
    ),
    Case("no ready file", "trigger x --ready-file {file}", "is no ready file"),
    Case("no profile file", "trigger x", "is no file of profiles", {"XDG_CONFIG_HOME": "{profiles}"}),
    Case("no home", "trigger x", "tunegate: ", {"HOME": "/nowhere"}),
    Case(
        "a gateway that is away",
        "trigger x",
        "127.0.0.1:1",
        {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "k"},
    ),
    Case("no file", "check nowhere.jsonl", "there is no file"),
    Case("no file", "prepare nowhere.jsonl", "nowhere.jsonl"),
    Case("an output below a file", "prepare {rows} --out {file}/x", "Not a directory"),
]
TRAINER_CASES = [
    Case(name, f"--port 0 --data-dir {{folder}}/trainer {arguments}", says, environment, program="trainer")
    for name, arguments, says, environment in (
        ("a data folder that is a file", "--data-dir {file}", "cannot be the data directory", {}),
        ("a port out of range", "--port 70000", "--port must be from 0 to 65535", {}),
        ("a port that is taken", "--port {taken}", "another program listens there", {}),
        ("a host of another machine", "--host 192.0.2.1", "no address of this machine", {}),
        ("no number", "", "TRAINER_GPUS must be a number", {"TRAINER_GPUS": "two"}),
        ("no finite number", "", "TRAINER_MAX_PROCESSES must be a number", {"TRAINER_MAX_PROCESSES": "inf"}),
        ("an unknown store", "", "TRAINER_STORAGE_URL", {"TRAINER_STORAGE_URL": "ftp://x/y"}),
        ("a store without a scheme", "", "TRAINER_STORAGE_URL", {"TRAINER_STORAGE_URL": "nonsense"}),
        ("an unknown launcher", "", "TRAINER_LAUNCHER must be one of", {"TRAINER_LAUNCHER": "cloud"}),
        ("an unknown engine", "--engine gpt", "invalid choice", {}),
    )
]
CASES = [*DATABASE_CASES, *SETTING_CASES, *COMMAND_CASES, *TRAINER_CASES]


class Forking:
    """Runs commands in forks of one process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forking"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, case: Case, places: dict[str, str], folder: Path) -> tuple[int, str, str]:
        """The exit status, standard output and standard error of a case."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        places = places | {"folder": str(folder)}
        environment = {"PATH": os.defpath, "HOME": str(folder), "COLUMNS": "1000"}
        environment |= {name: text.format(**places) for name, text in (SERVICE | case.environment).items()}
        run = {
            "program": case.program,
            "arguments": case.command.format(**places).split(),
            "environment": environment,
            "folder": str(folder),
        }
        self._process.stdin.write(json.dumps(run) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return status, (folder / "stdout").read_text(), (folder / "stderr").read_text()

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def forking() -> Iterator[Forking]:
    """The process that runs the commands of this module."""
    started = Forking()
    yield started
    started.close()


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Files, folders and a port that commands are pointed at."""
    folder = tmp_path_factory.mktemp("front_door")
    (folder / "file").write_text("[this is no TOML and no JSON")
    (folder / "rows.jsonl").write_text(
        '{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}\n'
    )
    (folder / "tunegate").mkdir()
    (folder / "tunegate" / "profiles.json").touch(0o600)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield {
            "file": str(folder / "file"),
            "rows": str(folder / "rows.jsonl"),
            "profiles": str(folder),
            "taken": str(taken.getsockname()[1]),
        }


@pytest.fixture(scope="module")
def databases_of_others(servers: Servers) -> Iterator[dict[str, str]]:
    """Databases that Tunegate cannot use, by what is wrong with them."""
    names = ("empty", "foreign", "alembic", "newer")

    def ask(statement: str, url: str = servers.admin_url) -> None:
        asyncio.run(execute(url, statement))

    with servers.fresh_database() as migrated:
        ask("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        at = f"postgresql://plain:plain@127.0.0.1:{servers.postgres.port}"
        for name in names[:3]:
            ask(f"CREATE DATABASE front_door_{name} OWNER plain")
        ask(f"CREATE DATABASE front_door_newer TEMPLATE {migrated} OWNER {OWNER}")
        for name, statement in (
            ("foreign", "CREATE TABLE projects (id int)"),
            ("alembic", "CREATE TABLE alembic_version (version_num varchar(32))"),
            ("alembic", "INSERT INTO alembic_version VALUES ('1ba3d2c')"),
            ("newer", "UPDATE alembic_version SET version_num = '9999'"),
            ("newer", "UPDATE gateway SET compatible_from = 9999"),
        ):
            owned = name in ("foreign", "alembic")
            base = at if owned else servers.postgres.url(SUPERUSER, "").rstrip("/")
            ask(statement, f"{base}/front_door_{name}")
        yield {
            **{name: f"{at}/front_door_{name}" for name in names[:3]},
            "newer": servers.postgres.url(OWNER, "front_door_newer"),
            "anothers": f"{at}/{migrated}",
            "wrong_password": f"postgresql://plain:wrong@127.0.0.1:{servers.postgres.port}/front_door_empty",
            "no_database": f"{at}/nowhere",
        }
        for name in names:
            ask(f"DROP DATABASE front_door_{name} WITH (FORCE)")
    ask("DROP ROLE plain")


def check(case: Case, forking: Forking, places: dict[str, str], folder: Path) -> None:
    """One line, no traceback, status 2."""
    status, out, err = forking.run(case, places, folder)
    said = [line for line in (out + err).splitlines() if line.strip() and '"level": "info"' not in line]
    assert "Traceback" not in out + err, err
    assert any(case.says in line for line in said), out + err
    assert status == 2, (status, out, err)
    if case.program == "tunegate" and not case.command.startswith("demo"):
        lines = [line for line in said if line.startswith("tunegate: ")]
        assert len(lines) == 1, said


@pytest.mark.parametrize("case", [case for case in CASES if not case.needs_postgres], ids=str)
def test_it_says_what_is_wrong(case: Case, forking: Forking, places: dict[str, str], tmp_path: Path) -> None:
    check(case, forking, places, tmp_path)


@pytest.mark.parametrize("case", [case for case in CASES if case.needs_postgres], ids=str)
def test_it_says_what_is_wrong_with_the_database(
    case: Case, forking: Forking, places: dict[str, str], databases_of_others: dict[str, str], tmp_path: Path
) -> None:
    check(case, forking, places | databases_of_others, tmp_path)


INTERRUPTED = """
import os, runpy, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
sys.argv = {arguments!r}
runpy.run_module({arguments[0]!r}, run_name="__main__", alter_sys=True)
"""
"""A program that Ctrl-C reaches while it imports a module."""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        *[("cli --help", module) for module in ("cli.main", "cyclopts", "cli.commands.dev")],
        *[("cli serve", module) for module in ("cli.commands.serve", "uvicorn", "service.app", "service.jobs.routes")],
        *[("cli worker", module) for module in ("uvloop", "workers.main", "sqlalchemy")],
        *[("cli dev --data-dir {folder}", module) for module in ("cli.stack", "asyncpg")],
        ("cli demo --data-dir {folder}", "openai"),
        ("cli keys project ci", "service.identity.bootstrap"),
        *[("trainer --data-dir {folder} --port 0", module) for module in ("uvicorn", "trainer.store", "obstore.store")],
    ],
)
def test_ctrl_c_during_the_imports_is_no_traceback(command: str, module: str, tmp_path: Path) -> None:
    arguments = command.format(folder=tmp_path / "data").split()
    environment = {"PATH": os.environ["PATH"]} | {name: text.format(folder=tmp_path) for name, text in SERVICE.items()}
    program = [sys.executable, "-c", INTERRUPTED.format(arguments=arguments, module=module)]
    done = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (130, "")


class TestWithoutAnUpstream:
    def test_a_gateway_starts_and_says_where_it_listens_and_what_it_lacks(self, settings: Settings) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": settings.database_url,
            "TUNEGATE_MASTER_KEY": settings.master_key,
            "TUNEGATE_STORAGE_URL": settings.storage_url,
            "TUNEGATE_PORT": "0",
        }
        command = [sys.executable, "-m", "cli", "serve"]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=PIPE, text=True) as process:
            assert process.stderr is not None
            events: dict[str, dict[str, Any]] = {}
            while "api.listening" not in events and (line := process.stderr.readline()):
                event = json.loads(line)
                events[event["event"]] = event
            base_url = events["api.listening"]["base_url"]
            response = httpx2.get(base_url.removesuffix("v1") + "livez")
            process.terminate()
        assert response.status_code == 200
        assert "POST /v1/organization/upstreams" in events["upstream.none"]["advice"]


class TestClosedOutput:
    @pytest.mark.parametrize("arguments", [["--help"], ["openapi"], ["keys", "master"]])
    def test_a_reader_that_goes_is_no_error(self, arguments: list[str]) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, "-m", "cli", *arguments],
            cwd=ROOT,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert done.stderr == ""
        assert done.returncode in (1, 141), "rich ends with 1 where it notices it first"


class TestFullDisk:
    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has it")
    def test_a_full_disk_is_named(self) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "cli", "keys", "master"],
                cwd=ROOT,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (done.returncode, done.stderr) == (2, "tunegate: No space left on device. Free space on that disk.\n")


class TestDefects:
    def test_a_defect_keeps_its_traceback_and_says_how_to_report_it(self, tmp_path: Path) -> None:
        program = "import cli.check\ndel cli.check.check_file\nfrom cli.main import main\nmain(['check', 'x'])"
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert "Please report it with these lines" in done.stderr


class TestUnknownSettings:
    def test_the_nearest_one_is_named(self) -> None:
        found = unknown_settings({"TUNEGATE_PROT": "1", "TUNEGATE_PORT": "1", "TUNEGATE_PROFILE": "a", "PATH": "/bin"})
        assert [(each.name, each.nearest) for each in found] == [("TUNEGATE_PROT", "TUNEGATE_PORT")]
        assert [each.nearest for each in unknown_settings({"TUNEGATE_SOMETHING_ELSE_ALTOGETHER": ""})] == [None]

    @pytest.mark.parametrize("command", ["keys master", "serve", "worker"])
    def test_every_process_warns_once(
        self, command: str, forking: Forking, places: dict[str, str], tmp_path: Path
    ) -> None:
        case = Case("", command, "", {"TUNEGATE_PROT": "1", "TUNEGATE_MASTER_KEY": ""})
        _, _, err = forking.run(case, places, tmp_path)
        assert (err.count("TUNEGATE_PROT"), err.count("TUNEGATE_PORT")) == (1, 1), err

    def test_the_trainer_warns(self, forking: Forking, places: dict[str, str], tmp_path: Path) -> None:
        case = Case("", "--port 70000 --data-dir {folder}/x", "", {"TRAINER_PACE_SECOND": "1"}, program="trainer")
        _, _, err = forking.run(case, places, tmp_path)
        assert err.count("TRAINER_PACE_SECOND is not a setting") == 1
        assert "Did you mean TRAINER_PACE_SECONDS?" in err


class TestPostgres:
    @pytest.mark.parametrize(("version", "words"), [(140_012, "This is Postgres 14"), (150_000, None), (180_001, None)])
    def test_an_old_one_is_refused(self, version: int, words: str | None) -> None:
        assert (old_version(version) or "").startswith(words or "")
        assert (old_version(version) is None) == (words is None)

    def test_a_password_is_in_no_message(self) -> None:
        for url in ("mysql://a:hush@h/c", "postgresql://a:hush@h:port/c", "postgresql://a:hush@h/c?hm=1"):
            with pytest.raises(DatabaseUnusable) as refused:
                check_url(url)
            assert "hush" not in str(refused.value)
        problem = problem_of(ConnectionRefusedError(111, "Connection refused"), "postgresql://a:hush@h/c")
        assert problem is not None
        assert (problem.lasting, "hush" in problem.text) == (False, False)

    def test_a_defect_is_no_problem_of_the_database(self) -> None:
        assert problem_of(ValueError("a defect"), NOWHERE) is None
        assert not isinstance(ValueError("a defect"), SettingsError)
