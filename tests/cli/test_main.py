"""The `tunegate` command: what it prints where, and its exit status."""

import base64
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cli.main import COMMANDS, GROUPS
from service.settings import Settings
from tests.stack import ROOT


def tunegate(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=kept | {"COLUMNS": "200"} | (environment or {}),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_help_names_every_command_in_one_line_by_group() -> None:
    done = tunegate("--help", environment={"COLUMNS": "80"})
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    rows = [line.strip("│ ").partition("  ")[0] for line in lines if line.startswith("│")]
    assert rows == [*COMMANDS, "--help (-h)", "--version"]  # a summary that is too long continues in another row
    assert [line.strip("╭─╮ ") for line in lines if line.startswith("╭")] == [*GROUPS, "Options"]


@pytest.mark.parametrize("arguments", [["nonsense"], ["check"], ["dev", "--port", "eighty"], ["serve", "extra"]])
def test_wrong_usage_is_status_2_and_says_what(arguments: list[str]) -> None:
    done = tunegate(*arguments)
    assert done.returncode == 2
    assert arguments[-1] in done.stderr + done.stdout or "FILE" in done.stderr + done.stdout


def test_a_bad_setting_is_named() -> None:
    done = tunegate("migrate", environment={"TUNEGATE_POLL_SECONDS": "soon"})
    assert (done.returncode, done.stderr) == (2, "tunegate: TUNEGATE_POLL_SECONDS must be a number, not 'soon'.\n")


def test_a_gateway_does_not_serve_with_itself_as_its_upstream() -> None:
    done = tunegate("serve", environment={"OPENAI_BASE_URL": "http://127.0.0.1:8080/v1", "OPENAI_API_KEY": "k"})
    assert done.returncode == 2
    assert "this gateway itself" in done.stderr


def test_every_command_tells_the_projects_version() -> None:
    assert {tunegate(*command, "--version").stdout.strip() for command in ([], ["check"], ["keys"])} == {
        version("tunegate")
    }


class TestAudit:
    def test_what_is_no_ready_file_is_named(self, tmp_path: Path) -> None:
        done = tunegate("audit", "--ready-file", str(tmp_path / "none.json"))
        assert done.returncode == 2
        assert "none.json is no ready file of a running stack" in done.stderr

    def test_an_unavailable_database_is_reported_in_one_line(self) -> None:
        key = base64.b64encode(bytes(32)).decode()
        away = {"DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c", "TUNEGATE_MASTER_KEY": key}
        done = tunegate("audit", environment=away)
        expected = "tunegate: Postgres at 127.0.0.1:1 cannot be reached (Connect call failed ('127.0.0.1', 1))."
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(expected), done.stderr
        assert len(done.stderr.splitlines()) == 1


class TestKeys:
    def test_a_master_key_is_32_bytes(self) -> None:
        first, second = (tunegate("keys", "master").stdout for _ in range(2))
        assert len(base64.b64decode(first)) == 32
        assert first != second

    def test_keys_are_made_against_a_database(self, settings: Settings) -> None:
        environment = {"DATABASE_URL": settings.database_url}
        project = tunegate("keys", "project", "ci", environment=environment)
        admin = tunegate("keys", "admin", "me", environment=environment)
        assert project.stdout.startswith("tg_live_"), project.stderr
        assert admin.stdout.startswith("tg_admin_"), admin.stderr
        lost = tunegate("keys", "project", "ci", "--project", "nowhere", environment=environment)
        assert (lost.returncode, "nowhere" in lost.stderr) == (2, True)

    def test_migrate_says_where_the_schema_is(self, settings: Settings) -> None:
        done = tunegate("migrate", environment={"DATABASE_URL": settings.owner_database_url})
        assert done.stdout.startswith("The schema is at revision "), done.stderr


class TestLeakage:
    TRAINING, VALIDATION = (f"examples/sarcastic-facts/{name}.jsonl" for name in ("train", "valid"))

    def test_files_that_share_nothing_are_status_0(self) -> None:
        done = tunegate("check", self.TRAINING, "--validation", self.VALIDATION)
        assert done.returncode == 0
        assert "Ready to train" in done.stdout
        assert "None of the 12 validation examples" in done.stdout

    def test_what_they_share_is_named_by_line_and_status_1(self, tmp_path: Path) -> None:
        copied = tmp_path / "copied.jsonl"
        copied.write_text(Path(self.TRAINING).read_text(encoding="utf-8").splitlines()[6] + "\n", encoding="utf-8")
        done = tunegate("check", self.TRAINING, "--validation", str(copied), "--json")
        report = json.loads(done.stdout)
        assert (done.returncode, report["errors"]) == (1, 0)
        found = report["leakage"]
        assert (found["validation_file"], found["status"]) == ("copied.jsonl", "ready")
        assert (found["exact"], found["share"], found["findings"][0]["line"]) == (1, 1.0, 1)
        assert "Line 7 of the training file" in found["findings"][0]["message"]

    def test_a_file_that_cannot_be_read_is_status_2(self) -> None:
        done = tunegate("check", self.TRAINING, "--validation", "missing.jsonl")
        assert (done.returncode, done.stdout) == (2, "")
        assert "missing.jsonl" in done.stderr


class TestCheck:
    def test_json_is_nothing_but_the_report(self) -> None:
        done = tunegate("check", "examples/sarcastic-facts/train.jsonl", "--json")
        report = json.loads(done.stdout)
        assert done.returncode == 0
        assert (report["object"], report["examples"], report["errors"]) == ("file.report", 64, 0)

    def test_errors_are_status_1(self, tmp_path: Path) -> None:
        broken = tmp_path / "broken.jsonl"
        broken.write_text('{"messages": []}\nnot json\n')
        done = tunegate("check", str(broken), "--json", "--model", "gpt-3.5-turbo-0125")
        report = json.loads(done.stdout)
        assert done.returncode == 1
        assert report["errors"] > 0
        assert report["model"] == "gpt-3.5-turbo-0125"

    def test_a_person_gets_text_without_control_codes_in_a_pipe(self) -> None:
        done = tunegate("check", "examples/sarcastic-facts/valid.jsonl")
        assert done.returncode == 0
        assert "12 examples" in done.stdout
        assert "\x1b" not in done.stdout

    @pytest.mark.parametrize(("name", "says"), [("missing.jsonl", "there is no file"), (".", "is a folder")])
    def test_what_cannot_be_read_is_status_2(self, tmp_path: Path, name: str, says: str) -> None:
        done = tunegate("check", str(tmp_path / name), "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert says in done.stderr

    def test_an_unknown_model_is_status_2(self) -> None:
        done = tunegate("check", "examples/sarcastic-facts/valid.jsonl", "--model", "gpt-0")
        assert (done.returncode, done.stdout) == (2, "")
        assert "gpt-0" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["train", "x", "--epochs", "many"], "--epochs: 'many' is neither a number nor auto."),
        (["jobs", "list", "--limit", "x"], "--limit: 'x' is no whole number."),
        (["limits", "set"], "--project is missing. `tunegate limits set --help` shows how."),
        (["ask", "gpt-4o"], "TEXT is missing. `tunegate ask --help` shows how."),
        (["ask", "gpt-4o", "how", "are"], "'are' is one argument too many. `tunegate ask --help` shows how."),
        (["train", "x", "--modle", "y"], "Unknown option: --modle. Did you mean --model?"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], says: str) -> None:
    done = tunegate(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"tunegate: {says}\n")
