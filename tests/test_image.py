"""The Docker image and compose.yaml, read as text: what they name exists, and what they promise is written there."""

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from cli.main import COMMANDS
from service.documentation import env_example
from service.settings import documentation
from tests.stack import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SETTINGS = {name for name, *_ in documentation()}


class Instruction(NamedTuple):
    """An instruction of a Dockerfile, on one line."""

    name: str
    value: str


def _instructions(path: Path) -> list[Instruction]:
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n", " ", text).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in lines if line.strip()]


DOCKERFILE = _instructions(ROOT / "Dockerfile")
LAST = max(place for place, each in enumerate(DOCKERFILE) if each.name == "FROM")
FINAL = DOCKERFILE[LAST:]


def _values(name: str, instructions: list[Instruction] = DOCKERFILE) -> list[str]:
    return [each.value for each in instructions if each.name == name]


def _pairs(name: str) -> dict[str, str]:
    pairs = (pair.partition("=") for value in _values(name, FINAL) for pair in shlex.split(value))
    return {name: value for name, _, value in pairs}


def test_the_base_is_pinned_by_its_digest() -> None:
    arguments = dict(value.split("=", 1) for value in _values("ARG", DOCKERFILE[:1]))
    bases = [value.split()[0] for value in _values("FROM")]
    assert len(bases) == 2, "a stage that builds, and one that runs"
    for base in bases:
        resolved = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], base)
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+@sha256:[0-9a-f]{64}", resolved), resolved


def test_nothing_is_installed_as_editable_and_the_final_stage_installs_nothing() -> None:
    assert [run for run in _values("RUN") if re.search(r"--editable|\s-e\s", run)] == []
    assert [run for run in _values("RUN", FINAL) if re.search(r"\b(pip|uv|apt-get)\b", run)] == []
    assert [copy for copy in _values("COPY", FINAL) if not copy.startswith("--from=build ")] == []


def test_it_runs_as_a_user_of_its_own() -> None:
    (user,) = _values("USER", FINAL)
    assert user not in ("root", "0")
    assert f"useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin {user}" in _values("RUN", FINAL)[0]


def test_its_labels() -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in _pairs("LABEL").items()}
    assert {"title", "description", "version", "revision"} <= set(labels)
    assert labels["description"] == PROJECT["project"]["description"]
    assert f"VERSION={PROJECT['project']['version']}" in _values("ARG", FINAL)


def test_what_it_runs_exists_and_its_variables_are_settings() -> None:
    ((program, command),) = (yaml.safe_load(value) for value in _values("CMD", FINAL))
    assert program in PROJECT["project"]["scripts"]
    assert command in COMMANDS
    assert yaml.safe_load(_values("HEALTHCHECK", FINAL)[0].partition("CMD ")[2])[0] == "python"
    assert {name for name in _pairs("ENV") if name.startswith("TUNEGATE_")} - SETTINGS == set()
    assert _pairs("ENV")["PATH"].startswith(f"{_values('COPY', FINAL)[0].split()[-1]}/bin:")


def test_it_gets_every_package_and_every_migration() -> None:
    copied = {source for copy in _values("COPY", DOCKERFILE[:LAST]) for source in copy.split()[:-1]}
    packages = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages | {"alembic", "alembic.ini", PROJECT["project"]["readme"]} <= copied
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == admitted, "what .dockerignore admits is what the image copies"
    shipped = {
        path
        for patterns in PROJECT["tool"]["setuptools"]["data-files"].values()
        for pattern in patterns
        for path in ROOT.glob(pattern)
    }
    needed = {path for path in (ROOT / "alembic").rglob("*") if path.suffix in (".py", ".mako")}
    assert shipped == needed | {ROOT / "alembic.ini"}


def test_compose_sets_settings_and_reads_what_env_example_lists() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    own = [service for service in COMPOSE["services"].values() if service["image"] == "tunegate"]
    assert len(own) == 3
    assert {name for service in own for name in service["environment"]} - SETTINGS == set()
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    assert read - set(re.findall(r"^# (\w+)=", env_example(), re.MULTILINE)) == set()


def test_compose_runs_commands_that_exist_and_has_no_secret() -> None:
    for service in COMPOSE["services"].values():
        if service["image"] == "tunegate":
            assert service["command"][1] in COMMANDS
    for password in re.findall(r"\$\{(\w+)[^}]*\}", (ROOT / "compose.yaml").read_text(encoding="utf-8")):
        assert password.startswith("OPENAI_") or f"${{{password}:?}}" in (ROOT / "compose.yaml").read_text()


@pytest.mark.parametrize("path", ["Dockerfile", "deploy/kuberay/Dockerfile"])
def test_what_a_dockerfile_copies_exists(path: str) -> None:
    sources = [
        source
        for copy in _values("COPY", _instructions(ROOT / path))
        if "--from=" not in copy
        for source in copy.split()[:-1]
        if not source.startswith("--")
    ]
    assert [source for source in sources if not (ROOT / source).exists()] == []
