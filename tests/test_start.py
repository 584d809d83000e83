"""What a process imports when it starts: what it may never use costs every start, and memory for as long as it runs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

NEVER_IN_THE_API = (
    *("alembic", "mako", "openai", "pydantic", "tiktoken", "quicktok", "numpy", "scipy", "rapidfuzz", "re2", "rensa"),
    *("ftfy", "chardet", "python_calamine", "hyperscan", "jsonschema_rs", "cyclopts.help", "rich.markdown"),
    *("service.datasets.checks", "service.datasets.shapes", "service.datasets.preparation.run"),
    *("service.datasets.report.build", "service.runs.generations.plan", "service.upstreams.adapters.sdk", "obstore"),
)
"""Relaying a call needs no SDK; tokens are counted, datasets checked and answers graded in other processes."""

NEVER_IN_A_WORKER = (
    *("alembic", "mako", "tiktoken", "quicktok", "numpy", "scipy", "rapidfuzz", "re2", "ftfy", "chardet"),
    *("python_calamine", "hyperscan", "service.datasets.shapes", "service.datasets.preparation.run"),
    *("service.datasets.report.build", "service.app"),
)
"""A worker's processes do its work on datasets, and grade."""

SERVERS = (
    *("litestar", "uvicorn", "sqlalchemy", "asyncpg", "redis", "arq", "httpx2", "structlog", "obstore", "alembic"),
    *("prometheus_client", "openai", "pydantic", "scipy"),
)
NEVER_IN_HELP = (*SERVERS, "numpy", "msgspec", "tiktoken", "rich.markdown", "importlib.metadata", "service.datasets")
NEVER_IN_CHECK = (*SERVERS, "ftfy", "chardet", "python_calamine", "rapidfuzz", "re2")

API = """
import cli.commands.serve, service.app, service.http.protocol, service.monitoring.internal_listener
from service.settings import Settings
service.app.create_app(Settings(upstream_api_key="k", upstream_base_url="http://127.0.0.1:9/v1"))
"""
COMMAND = """
import sys
from cli.main import main
try:
    main({arguments!r})
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
ONE_LINE = '{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"}]}\n'


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A small dataset with little to find."""
    path = tmp_path / "small.jsonl"
    path.write_text(ONE_LINE * 12)
    return path


def test_the_api_imports_nothing_that_its_routes_may_never_use() -> None:
    assert imported(API, NEVER_IN_THE_API) == []


def test_a_worker_imports_nothing_of_what_its_processes_do() -> None:
    assert imported("import workers.main", NEVER_IN_A_WORKER) == []


def test_help_imports_no_dependency_of_a_command() -> None:
    assert imported(COMMAND.format(arguments=["--help"]), NEVER_IN_HELP) == []


def test_a_check_imports_nothing_of_the_servers(dataset: Path) -> None:
    assert imported(COMMAND.format(arguments=["check", str(dataset), "--json"]), NEVER_IN_CHECK) == []


def imported(code: str, names: tuple[str, ...]) -> list[str]:
    """Those of `names` that a new process has imported after `code`."""
    program = f"{code}\nimport sys\nprint([name for name in {names!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    found: list[str] = ast.literal_eval(done.stderr.splitlines()[-1])
    return found
