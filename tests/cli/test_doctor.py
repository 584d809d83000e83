"""`login`, `profiles`, `logout`, `doctor`, `config` and `completion`, against a running stack and without one."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.main import COMMANDS
from tests.stack import ROOT, DevStack


def tunegate(folder: Path, *arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "300", **environment},
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert "Traceback" not in done.stderr, done.stderr
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


class TestProfiles:
    def test_keys_are_verified_stored_used_listed_by_name_and_removed(self, stack: DevStack, tmp_path: Path) -> None:
        ready = stack.ready()
        keys = f"{ready['api_key']}\n{ready['admin_key']}\n"
        login = ("login", "--base-url", ready["base_url"], "--stdin", "--profile", "here")
        done = tunegate(tmp_path, *login, given=keys)
        assert (done.returncode, done.stderr) == (0, "")
        assert "The key is of the project default." in done.stdout
        file = tmp_path / ".config" / "tunegate" / "profiles.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        listed = tunegate(tmp_path, "profiles", "--json")
        assert json.loads(listed.stdout) == {"current": "here", "profiles": ["here"]}
        shown = tunegate(tmp_path, "profiles").stdout
        assert ready["base_url"] in shown
        assert "tg_live" not in shown + listed.stdout + done.stdout
        found = checks(tunegate(tmp_path, "doctor", "--json"))
        assert (found["project's key"]["ok"], found["admin key"]["ok"]) == (True, True)
        assert tunegate(tmp_path, "logout").returncode == 0
        assert json.loads(tunegate(tmp_path, "profiles", "--json").stdout)["profiles"] == []

    def test_a_key_that_is_refused_is_not_stored(self, stack: DevStack, tmp_path: Path) -> None:
        done = tunegate(tmp_path, "login", "--base-url", stack.ready()["base_url"], "--stdin", given="tg_live_wrong\n")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("tunegate: Nothing is stored: ")
        assert not (tmp_path / ".config").exists()

    @pytest.mark.parametrize("arguments", [["login"], ["login", "--base-url", "http://h/v1"], ["logout"]])
    def test_what_is_missing_is_named(self, tmp_path: Path, arguments: list[str]) -> None:
        done = tunegate(tmp_path, *arguments)
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


class TestDoctor:
    def test_a_running_gateway_is_well(self, stack: DevStack, tmp_path: Path) -> None:
        done = tunegate(tmp_path, "doctor", "--ready-file", str(stack.ready_file), "--json")
        found = checks(done)
        assert [check for check in found.values() if not check["ok"]] == []
        assert done.returncode == 0
        assert found["project's key"]["found"] == "valid, of the project default"
        assert {"gateway", "TLS", "clock", "gateway's schema", "gateway's reconciler", "gateway's master_key"} <= set(
            found
        )

    def test_the_operator_sees_what_the_settings_lead_to(self, stack: DevStack, tmp_path: Path) -> None:
        ready = stack.ready()
        master = json.loads((stack.data / "credentials.json").read_text())["master_key"]
        environment = {
            "DATABASE_URL": ready["database_url"],
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "TUNEGATE_MASTER_KEY": master,
            "TUNEGATE_STORAGE_URL": f"file://{tmp_path}/storage",
            "TUNEGATE_PROT": "1",
        }
        done = tunegate(tmp_path, "doctor", "--json", **environment)
        found = checks(done)
        assert done.returncode == 1
        assert (found["worker"]["ok"], found["master_key"]["ok"], found["storage"]["ok"]) == (True, True, True)
        assert (found["redis"]["ok"], found["upstream default"]["ok"]) == (False, False)
        assert "Did you mean TUNEGATE_PORT?" in found["setting TUNEGATE_PROT"]["found"]
        assert ready["database_url"] not in done.stdout

    def test_each_failure_has_a_remedy(self, tmp_path: Path) -> None:
        environment = {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "OPENAI_API_KEY": "k", "DATABASE_URL": "nonsense"}
        done = tunegate(tmp_path, "doctor", "--json", **environment)
        failed = [check for check in checks(done).values() if not check["ok"]]
        assert (done.returncode, [check["name"] for check in failed]) == (1, ["gateway", "settings"])
        assert all(check["remedy"] for check in failed)
        people = tunegate(tmp_path, "doctor", **environment)
        assert (people.returncode, people.stdout.count("✗")) == (1, 2)

    def test_without_anything_it_says_how_to_begin(self, tmp_path: Path) -> None:
        assert "tunegate login" in tunegate(tmp_path, "doctor").stdout


class TestConfig:
    def test_a_setting_has_its_value_and_origin_and_a_secret_is_not_shown(self, tmp_path: Path) -> None:
        environment = {"TUNEGATE_PORT": "9000", "DATABASE_URL": "postgresql://a:hush@h/c", "TUNEGATE_PROT": "1"}
        done = tunegate(tmp_path, "config", "--json", **environment)
        body = json.loads(done.stdout)
        rows = {row["name"]: (row["value"], row["origin"]) for row in body["settings"]}
        assert rows["TUNEGATE_PORT"] == (9000, "environment")
        assert rows["TUNEGATE_HOST"] == ("127.0.0.1", "default")
        assert rows["DATABASE_URL"] == ("set, not shown", "environment")
        assert body["unknown"] == [{"name": "TUNEGATE_PROT", "nearest": "TUNEGATE_PORT"}]
        assert (done.returncode, "hush" in done.stdout + done.stderr) == (1, False)

    def test_only_what_is_changed(self, tmp_path: Path) -> None:
        done = tunegate(tmp_path, "config", "--changed", TUNEGATE_PORT="9000")
        assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)


class TestCompletion:
    @pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
    def test_the_script_has_every_command(self, tmp_path: Path, shell: str) -> None:
        done = tunegate(tmp_path, "completion", shell)
        assert (done.returncode, done.stderr) == (0, "")
        assert all(command in done.stdout for command in COMMANDS)

    def test_bash_completes_a_command(self, tmp_path: Path) -> None:
        (tmp_path / "script").write_text(tunegate(tmp_path, "completion", "bash").stdout)
        ask = "source ./script; COMP_WORDS=(tunegate doc); COMP_CWORD=1; _tunegate; echo ${COMPREPLY[@]}"
        done = subprocess.run(["/bin/bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stdout.strip() == "doctor", done.stderr
