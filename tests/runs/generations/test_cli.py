"""`tunegate generate` against a whole stack: its tiny trainer shows the mechanics, and makes no good data."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from cli.arguments.generate import GenerateArguments
from cli.errors import Refused
from cli.gateway import Gateway
from cli.generate import read_body
from cli.running import EXIT_DONE, EXIT_INTERRUPTED, EXIT_REFUSED
from tests.stack import ROOT, DevStack

TOPICS = ("the history of rivers", "lakes in the mountains", "why it rains")


def _run(stack: DevStack, *arguments: str, stdin: int = subprocess.DEVNULL) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cli", "generate", *arguments, "--ready-file", str(stack.ready_file)]
    return subprocess.run(command, cwd=ROOT, stdin=stdin, capture_output=True, text=True, timeout=200, check=False)


@pytest.mark.timeout(500)
def test_the_default_stack_shows_how_it_goes(stack: DevStack, tmp_path: Path) -> None:
    """A quote, a run, a file with a report; the same seed makes the same of the same tiny model."""
    out = tmp_path / "made.jsonl"
    made = _run(stack, *TOPICS, "--n", "2", "--model", "gpt-4o-mini", "--yes", "--json", "--out", str(out))
    assert "expected" in made.stderr
    shown = json.loads(made.stdout)
    assert shown["status"] in ("succeeded", "failed"), made.stderr
    assert made.returncode == (EXIT_DONE if shown["status"] == "succeeded" else 1)
    assert shown["progress"]["total"] == 6
    assert shown["progress"]["calls"] > 0
    assert shown["outcome"]["examples"] + shown["outcome"]["missing"] == 6
    assert shown["cost"]["value"] > 0
    assert shown["file"] is not None, shown
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == shown["outcome"]["examples"] > 0
    ready = stack.ready()
    headers = {"authorization": f"Bearer {ready['api_key']}"}
    with httpx2.Client(base_url=ready["base_url"], headers=headers, timeout=90) as http:
        deadline = time.monotonic() + 120
        while http.get(f"/files/{shown['file']}").json()["status"] == "uploaded":
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert http.get(f"/files/{shown['file']}/report").json()["examples"] == len(rows)
    again = _run(stack, *TOPICS, "--n", "2", "--model", "gpt-4o-mini", "--yes", "--json")
    assert json.loads(again.stdout)["outcome"] == shown["outcome"]


def test_what_is_refused_says_why(stack: DevStack, tmp_path: Path) -> None:
    for arguments, reported in (
        (("--model", "gpt-4o-mini"), "Give topics"),
        (("rivers", "--model", "gpt-0"), "'gpt-0' does not exist"),
        (("rivers", "--model", "gpt-4o-mini"), "Give --yes"),
        (("rivers", "--model", "gpt-4o-mini", "--tools", str(tmp_path / "none.json")), "No such file"),
        (("--watch", "gen_none"), "No such dataset generation"),
        (("--cancel", "gen_none"), "No such dataset generation"),
    ):
        answer = _run(stack, *arguments)
        assert answer.returncode == EXIT_REFUSED, answer.stderr
        assert reported in answer.stderr


def test_ctrl_c_leaves_it_running_and_cancel_ends_it(stack: DevStack) -> None:
    command = [sys.executable, "-m", "cli", "generate", *TOPICS, "--n", "2000", "--model", "gpt-4o-mini", "--yes"]
    running = subprocess.Popen(
        [*command, "--ready-file", str(stack.ready_file)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    ready = stack.ready()
    headers = {"authorization": f"Bearer {ready['api_key']}"}
    with httpx2.Client(base_url=ready["base_url"], headers=headers, timeout=90) as http:
        deadline = time.monotonic() + 120
        while not (live := [each for each in http.get("/dataset_generations").json()["data"] if _runs(each)]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        reported, _ = running.communicate(timeout=90)
        assert running.returncode == EXIT_INTERRUPTED, reported
        assert f"--watch {live[0]['id']}" in reported
        assert _runs(http.get(f"/dataset_generations/{live[0]['id']}").json())
        ended = _run(stack, "--cancel", live[0]["id"])
        assert ended.returncode == EXIT_DONE
        assert "is cancelled" in ended.stdout
        followed = _run(stack, "--watch", live[0]["id"], "--json")
        assert (followed.returncode, json.loads(followed.stdout)["status"]) == (1, "cancelled")


def _runs(shown: dict[str, object]) -> bool:
    return shown["finished_at"] is None and shown["status"] == "running"


def test_what_is_typed_becomes_the_body(tmp_path: Path) -> None:
    topics, tools = tmp_path / "topics.txt", tmp_path / "tools.json"
    topics.write_text("湖泊\n\n rivers \n", encoding="utf-8")
    tools.write_text('[{"type": "function"}]', encoding="utf-8")
    arguments = GenerateArguments(
        topics=("rain",),
        topics_file=topics,
        n=3,
        model="m",
        question={"model": None, "temperature": 0.0},
        answer={"model": None},
        system_prompt=None,
        tools=tools,
        seed=1,
        budget=2.5,
        concurrency=None,
        name=None,
        out=None,
        yes=True,
        as_json=False,
    )
    assert read_body(arguments) == {
        "topics": ["rain", "湖泊", "rivers"],
        "n_per_topic": 3,
        "model": "m",
        "question": {"temperature": 0.0},
        "tools": [{"type": "function"}],
        "seed": 1,
        "budget": 2.5,
    }
    tools.write_text("{", encoding="utf-8")
    with pytest.raises(Refused, match="is no JSON"):
        read_body(arguments)


def test_the_gateway_is_the_sdk_s(stack: DevStack) -> None:
    ready = stack.ready()
    environ = {"OPENAI_BASE_URL": ready["base_url"], "OPENAI_API_KEY": ready["api_key"]}
    environ["OPENAI_ADMIN_KEY"] = ready["admin_key"]
    assert Gateway.found(environ, None) == Gateway.found({}, stack.ready_file)
