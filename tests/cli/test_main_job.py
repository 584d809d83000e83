"""The main job by command, on a whole stack: train, jobs, files, models, aliases, ask, quote."""

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx2
import pytest
from openai.types import FileDeleted, FileObject, Model, ModelDeleted
from openai.types.chat import ChatCompletion
from openai.types.fine_tuning import FineTuningJob

from cli.jobs.metrics import SERIES
from tests.cli.command_line import CommandLine, Ended
from tests.contract.strict import strict_items
from tests.stack import ROOT, DevStack
from tests.wire import Tenant, chat_rows, ended, jsonl, new_tenant

MODEL = "gpt-4o-mini"
TERMINAL_SECONDS = 120.0

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def tenant(stack: DevStack) -> Tenant:
    """A project that only these tests use."""
    ready = stack.ready()
    return new_tenant(ready["base_url"], ready["database_url"])


@pytest.fixture(scope="module")
def tunegate(tenant: Tenant) -> CommandLine:
    """The command as that project's user calls it."""
    return CommandLine.of(tenant)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Questions about rivers, and other ones for validation."""
    folder = tmp_path_factory.mktemp("rivers")
    (folder / "train.jsonl").write_bytes(jsonl(chat_rows(12)))
    (folder / "valid.jsonl").write_bytes(jsonl(chat_rows(5, salt="v")))
    return folder


@dataclass(frozen=True)
class Trained:
    """A job that was trained by command: what the command printed, and the job."""

    ended: Ended
    job: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.job["id"])

    @property
    def model(self) -> str:
        return str(self.job["fine_tuned_model"])


@pytest.fixture(scope="module")
def trained(tunegate: CommandLine, rows: Path) -> Trained:
    """A job from the files to the model."""
    files = (str(rows / "train.jsonl"), "--valid", str(rows / "valid.jsonl"))
    options = ("--model", MODEL, "--epochs", "2", "--suffix", "rivers", "--seed", "7", "--metadata", "team=maps")
    done = tunegate("train", *files, *options, "--yes", "--watch")
    assert done.status == 0, done.err
    job_id = re.findall(r"Created (ftjob-\S+)", done.out)[0]
    return Trained(done, tunegate("jobs", "show", job_id, "--json").json())


@contextmanager
def terminal(tunegate: CommandLine, *arguments: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The command in a terminal of its own, which controls it, and the end that a person types at."""
    person, command = pty.openpty()
    process = subprocess.Popen(
        [*tunegate.program(), *arguments],
        cwd=ROOT,
        env=tunegate.process_environment(),
        stdin=command,
        stdout=command,
        stderr=command,
        preexec_fn=_take_terminal,
    )
    os.close(command)
    try:
        yield process, person
    finally:
        process.kill()
        process.wait()
        os.close(person)


def _take_terminal() -> None:
    os.setsid()
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def shown_until(person: int, pattern: str) -> str:
    """What a terminal shows until the pattern has come."""
    shown, deadline = "", time.monotonic() + TERMINAL_SECONDS
    while not re.search(pattern, shown):
        assert time.monotonic() < deadline, shown
        if select.select([person], [], [], 1.0)[0]:
            try:
                shown += os.read(person, 65536).decode(errors="replace")
            except OSError:
                raise AssertionError(f"the command ended without {pattern!r}:\n{shown}") from None
    return shown


def jobs_of(tenant: Tenant) -> list[dict[str, Any]]:
    with tenant.http() as http:
        listed: list[dict[str, Any]] = http.get("/fine_tuning/jobs", params={"limit": 100}).json()["data"]
    return listed


class TestTrain:
    def test_shows_report_price_curve_and_result(self, trained: Trained) -> None:
        out = trained.ended.out
        for words in (
            "Uploaded train.jsonl: file-", "few_examples", "Quote for gpt-4o-mini", "at most", "epochs",
            "succeeded", trained.model, f"tunegate ask {trained.model}",
        ):  # fmt: skip
            assert words in out, out
        assert re.search(r"step +\d+/\d+ +loss \d\.\d{3}", out)
        for line in (r"  loss +\d\.\d{4} at step", r"  validation loss +\d", r"  cost +\$[\d.]+, \$[\d.]+ expected"):
            assert re.search(line, out), out
        assert "\x1b" not in out

    def test_sends_what_was_typed(self, trained: Trained) -> None:
        job = trained.job
        assert (job["suffix"], job["seed"], job["metadata"]) == ("rivers", 7, {"team": "maps"})
        assert job["hyperparameters"]["n_epochs"] == 2
        assert job["validation_file"] is not None

    def test_without_a_terminal_and_a_yes_nothing_is_created(
        self, tunegate: CommandLine, tenant: Tenant, trained: Trained
    ) -> None:
        before = jobs_of(tenant)
        done = tunegate("train", trained.job["training_file"], "--model", MODEL, stdin="y\n")
        assert (done.status, "Give --yes" in done.err) == (2, True)
        assert jobs_of(tenant) == before

    def test_an_answer_that_is_not_yes_creates_nothing(
        self, tunegate: CommandLine, tenant: Tenant, trained: Trained
    ) -> None:
        before = jobs_of(tenant)
        with terminal(tunegate, "train", trained.job["training_file"], "--model", MODEL) as (process, person):
            shown_until(person, r"Train gpt-4o-mini for at most \$[\d.]+\? \[y/N\]")
            os.write(person, b"n\n")
            assert "Not confirmed" in shown_until(person, "nothing was done")
            assert process.wait(60) == 2
        assert jobs_of(tenant) == before

    def test_at_a_terminal_ctrl_c_leaves_the_job_running(
        self, tunegate: CommandLine, tenant: Tenant, trained: Trained
    ) -> None:
        arguments = ("train", trained.job["training_file"], "--model", MODEL, "--epochs", "50")
        with terminal(tunegate, *arguments) as (process, person):
            shown_until(person, r"\[y/N\]")
            os.write(person, b"y\n")
            shown_until(person, r"step \d+/\d+")
            os.write(person, b"\x03")
            shown = shown_until(person, r"jobs cancel ftjob-\S+")
            assert process.wait(60) == 130
        job_id = re.findall(r"jobs watch (ftjob-\w+)", shown)[0]
        job = next(job for job in jobs_of(tenant) if job["id"] == job_id)
        assert job["status"] == "running"
        assert tunegate("jobs", "cancel", job_id).status == 0
        followed = tunegate("jobs", "watch", job_id, "--json")
        assert (followed.status, followed.json()["status"]) == (1, "cancelled")
        assert "cancelled" in tunegate("jobs", "cancel", job_id).out

    def test_a_file_with_errors_is_not_trained(self, tunegate: CommandLine, tenant: Tenant) -> None:
        before = jobs_of(tenant)
        done = tunegate("train", "examples/broken/invalid_json.jsonl", "--model", MODEL, "--yes")
        assert done.status == 2
        assert "invalid_json" in done.out
        assert "tunegate prepare examples/broken/invalid_json.jsonl" in done.out
        file_id = re.findall(r"tunegate files delete (file-\w+)", done.err)[0]
        assert tunegate("files", "delete", file_id, "--yes").status == 0
        assert jobs_of(tenant) == before

    def test_a_response_that_is_lost_makes_no_second_job(self, tenant: Tenant, trained: Trained) -> None:
        before = len(jobs_of(tenant))
        with losing_one_response(tenant.base_url, "/v1/fine_tuning/jobs") as (url, lost):
            through = CommandLine(url, tenant.key)
            done = through("train", trained.job["training_file"], "--model", MODEL, "--yes", "--no-watch", "--json")
        assert done.status == 0, done.err
        assert lost == ["/v1/fine_tuning/jobs"]
        assert len(jobs_of(tenant)) == before + 1
        with tenant.http() as http:
            http.post(f"/fine_tuning/jobs/{done.json()['id']}/cancel")
            ended(http, done.json()["id"])

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["FILE"], "Name the model"),
            (["FILE", "--model", "gpt-0"], "'gpt-0' does not exist"),
            (["none.jsonl", "--model", MODEL], "there is no file none.jsonl"),
            (["file-none", "--model", MODEL], "file-none"),
            (["FILE", "--model", MODEL, "--beta", "0.1"], "--beta belongs to --method dpo"),
            (["FILE", "--model", MODEL, "--metadata", "team"], "is not KEY=VALUE"),
            (["FILE", "--model", MODEL, "--epochs", "51", "--yes"], "n_epochs"),
        ],
    )
    def test_what_makes_no_sense_is_one_line_and_status_2(
        self, tunegate: CommandLine, rows: Path, arguments: list[str], words: str
    ) -> None:
        given = [str(rows / "train.jsonl") if each == "FILE" else each for each in arguments]
        done = tunegate("train", *given)
        assert (done.status, words in done.err) == (2, True), done.err
        assert done.err.count("\n") == 1


class TestQuote:
    def test_creates_nothing_and_says_what_it_costs(
        self, tunegate: CommandLine, tenant: Tenant, trained: Trained
    ) -> None:
        before = jobs_of(tenant)
        done = tunegate("quote", trained.job["training_file"], "--model", MODEL, "--epochs", "3", "--json")
        quote = done.json()
        assert (done.status, quote["object"], quote["n_epochs"]) == (0, "fine_tuning.quote", 3)
        assert jobs_of(tenant) == before

    def test_what_is_not_allowed_is_status_1(self, tunegate: CommandLine, tmp_path: Path) -> None:
        few = tmp_path / "few.jsonl"
        few.write_bytes(jsonl(chat_rows(3)))
        done = tunegate("quote", str(few), "--model", MODEL)
        assert (done.status, "✗" in done.out) == (1, True), done.out + done.err
        refused = tunegate("train", str(few), "--model", MODEL, "--yes")
        assert (refused.status, "not allowed" in refused.err) == (2, True)


class TestJobs:
    def test_a_list_is_the_api_s_and_of_the_sdk_s_type(self, tunegate: CommandLine, trained: Trained) -> None:
        listed = tunegate("jobs", "list", "--json").json()
        assert trained.id in [job.id for job in strict_items(FineTuningJob, listed["data"])]
        table = tunegate("jobs", "list", "--limit", "100").out
        assert trained.id in table
        assert trained.model in table
        assert "succeeded" in table
        page = tunegate("jobs", "list", "--limit", "1")
        assert "There are more" in page.out

    def test_a_list_is_sorted_and_filtered(self, tunegate: CommandLine, trained: Trained) -> None:
        by_cost = ("--sort", "cost", "--order", "asc", "--status", "succeeded", "--model", MODEL)
        found = tunegate("jobs", "list", *by_cost, "--json").json()["data"]
        assert {job["status"] for job in found} == {"succeeded"}
        costs = [job["cost"]["value"] for job in found]
        assert costs == sorted(costs)
        assert trained.id in [job["id"] for job in found]
        none = tunegate("jobs", "list", "--model", "gpt-4o", "--training-file", trained.job["training_file"])
        assert none.out == "There are no such jobs.\n"
        assert tunegate("jobs", "list", "--sort", "colour").status == 2

    def test_one_job(self, tunegate: CommandLine, trained: Trained) -> None:
        shown = tunegate("jobs", "show", trained.id)
        for words in (trained.id, "rivers", "team=maps", "n_epochs", trained.model, "trained"):
            assert words in shown.out, shown.out
        strict_items(FineTuningJob, [trained.job])

    def test_metrics_as_curve_csv_and_json(self, tunegate: CommandLine, trained: Trained) -> None:
        data = tunegate("jobs", "metrics", trained.id, "--json").json()["data"]
        csv = tunegate("jobs", "metrics", trained.id, "--csv").out.splitlines()
        assert (len(csv), csv[0]) == (len(data) + 1, ",".join(["step", *SERIES]))
        shown = tunegate("jobs", "metrics", trained.id).out
        assert re.search(r"loss +[▁▂▃▄▅▆▇█]+ +\d\.\d{3} → \d\.\d{3}", shown)
        assert f"{data[-1]['train_loss']:.4f}" in shown

    def test_a_clone_is_the_same_request_with_the_changes_that_are_shown(
        self, tunegate: CommandLine, tenant: Tenant, trained: Trained
    ) -> None:
        changes = ("--epochs", "1", "--metadata", "try=2")
        done = tunegate("jobs", "clone", trained.id, *changes, "--yes", "--no-watch", "--json")
        assert "n_epochs: 2 → 1" in done.err
        assert "metadata.try: not set → 2" in done.err
        clone = done.json()
        for name in ("model", "training_file", "validation_file", "suffix", "seed"):
            assert clone[name] == trained.job[name], name
        assert (clone["hyperparameters"]["n_epochs"], clone["metadata"]) == (1, {"team": "maps", "try": "2"})
        for command, words in (("pause", "pauses"), ("resume", "continues")):
            controlled = tunegate("jobs", command, clone["id"])
            assert (controlled.status, words in controlled.out) == (0, True), controlled.err
        with tenant.http() as http:
            http.post(f"/fine_tuning/jobs/{clone['id']}/cancel")
            assert ended(http, clone["id"])["status"] in ("cancelled", "succeeded")

    @pytest.mark.parametrize("command", ["show", "watch", "cancel", "pause", "resume", "metrics", "clone"])
    def test_an_unknown_id_gets_the_gateway_s_message(self, tunegate: CommandLine, command: str) -> None:
        done = tunegate("jobs", command, "ftjob-none")
        assert (done.status, done.err) == (2, "tunegate: Could not find fine tune: ftjob-none\n")
        assert tunegate("jobs", command, "").status == 2

    def test_a_job_of_another_project_is_unknown(self, stack: DevStack, trained: Trained) -> None:
        other = CommandLine.of(new_tenant(stack.ready()["base_url"], stack.ready()["database_url"]))
        assert "Could not find" in other("jobs", "show", trained.id).err


class TestExperiment:
    def test_from_the_quote_to_the_cancel(self, tunegate: CommandLine, tenant: Tenant, trained: Trained) -> None:
        files = (trained.job["training_file"], "--valid", trained.job["validation_file"])
        arguments = ("experiment", *files, "--model", MODEL, "--epochs", "40,50", "--max-parallel", "1")
        quote = tunegate(*arguments, "--quote", "--json").json()
        assert (quote["object"], quote["varied"], len(quote["arms"])) == (
            "fine_tuning.experiment.quote", ["n_epochs"], 2,
        )  # fmt: skip
        refused = tunegate(*arguments)
        assert (refused.status, "Train 2 arms for at most $" in refused.err) == (2, True), refused.err
        assert "There are no experiments." in tunegate("experiment", "list").out
        created = tunegate(*arguments, "--yes", "--no-watch", "--json").json()
        assert created["id"] in tunegate("experiment", "list").out
        shown = tunegate("experiment", "show", created["id"])
        assert re.search(r"arm +epochs +examples +status", shown.out)
        cancelled = tunegate("experiment", "cancel", created["id"])
        assert (cancelled.status, "cancel" in cancelled.out) == (0, True)
        followed = tunegate("experiment", "watch", created["id"], "--json")
        assert (followed.status, followed.json()["status"]) == (1, "cancelled")

    @pytest.mark.parametrize("command", ["show", "watch", "cancel"])
    def test_an_unknown_id_gets_the_gateway_s_message(self, tunegate: CommandLine, command: str) -> None:
        done = tunegate("experiment", command, "exp_none")
        assert (done.status, "exp_none" in done.err, done.err.count("\n")) == (2, True, 1)

    def test_an_unknown_rule_is_the_gateway_s_message(self, tunegate: CommandLine, trained: Trained) -> None:
        files = (trained.job["training_file"], "--valid", trained.job["validation_file"])
        done = tunegate("experiment", *files, "--model", MODEL, "--epochs", "2,3", "--early-stopping", "soon")
        assert (done.status, "early_stopping" in done.err) == (2, True)


class TestFiles:
    def test_list_show_and_report(self, tunegate: CommandLine, trained: Trained) -> None:
        file_id = trained.job["training_file"]
        listed = tunegate("files", "list", "--purpose", "fine-tune", "--json").json()["data"]
        assert file_id in [file.id for file in strict_items(FileObject, listed)]
        assert file_id in tunegate("files", "list").out
        assert "train.jsonl" in tunegate("files", "show", file_id).out
        report = tunegate("files", "report", file_id)
        assert (report.status, "Ready to train" in report.out) == (0, True)
        shared = tunegate("files", "report", file_id, "--validation-file", file_id)
        assert shared.status == 1
        assert "12 of 12 validation examples are in the 12 training examples too" in shared.out

    def test_a_download_is_complete_and_overwrites_only_by_force(
        self, tunegate: CommandLine, trained: Trained, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = (rows / "train.jsonl").read_bytes()
        file_id, out = trained.job["training_file"], tmp_path / "copy.jsonl"
        assert tunegate("files", "get", file_id, "--out", str(out)).status == 0
        assert out.read_bytes() == content
        out.write_text("mine")
        refused = tunegate("files", "get", file_id, "--out", str(out))
        assert (refused.status, "--force" in refused.err, out.read_text()) == (2, True, "mine")
        assert tunegate("files", "get", file_id, "--out", str(out), "--force").status == 0
        assert out.read_bytes() == content
        assert tunegate("files", "get", file_id, "--out", "-").out.encode() == content
        monkeypatch.chdir(tmp_path)
        assert tunegate("files", "get", file_id).status == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.jsonl", "train.jsonl"]
        absent = tunegate("files", "get", file_id, "--out", str(tmp_path / "no" / "folder"))
        assert (absent.status, "cannot be written" in absent.err) == (2, True)

    def test_a_deletion_asks_first(self, tunegate: CommandLine, tenant: Tenant) -> None:
        with tenant.http() as http:
            answer = http.post("/files", data={"purpose": "user_data"}, files={"file": ("notes.txt", b"x")})
        file_id = answer.json()["id"]
        asked = tunegate("files", "delete", file_id, stdin="y\n")
        assert (asked.status, "Delete notes.txt" in asked.err) == (2, True)
        assert tunegate("files", "show", file_id).status == 0
        deleted = tunegate("files", "delete", file_id, "--yes", "--json").json()
        strict_items(FileDeleted, [deleted])
        assert tunegate("files", "show", file_id).status == 2


class TestModels:
    def test_from_the_alias_to_its_deletion(self, tunegate: CommandLine, trained: Trained) -> None:
        assert tunegate("aliases", "create", "rivers", trained.model).out == f"rivers is {trained.model}, version 1.\n"
        assert trained.model in tunegate("aliases", "list").out
        promoted = tunegate("aliases", "promote", "rivers", MODEL, "--reason", "to compare", "--json").json()
        assert promoted["model"] == MODEL
        assert "version 3" in tunegate("aliases", "rollback", "rivers").out
        history = tunegate("aliases", "history", "rivers").out
        assert "to compare" in history
        own = tunegate("models", "list", "--tuned", "--json").json()["data"]
        assert {trained.model, "rivers"} <= {model.id for model in strict_items(Model, own)}
        assert MODEL in tunegate("models", "list").out
        used = tunegate("models", "delete", trained.model)
        assert (used.status, "Aliases stand for this model: rivers" in used.err) == (2, True)
        asked = tunegate("aliases", "delete", "rivers", stdin="y\n")
        assert (asked.status, "Give --yes" in asked.err) == (2, True)
        assert tunegate("aliases", "delete", "rivers", "--yes").status == 0
        checkpoints = tunegate("models", "delete", trained.model)
        assert re.search(r"Delete ft:\S+ and its \d checkpoints?\?", checkpoints.err)
        unknown = tunegate("models", "delete", "ft:none", "--yes")
        assert (unknown.status, "ft:none" in unknown.err) == (2, True)

    def test_a_deleted_model_is_gone(self, tunegate: CommandLine, tenant: Tenant, trained: Trained) -> None:
        strict_items(ModelDeleted, [tunegate("models", "delete", trained.model, "--yes", "--json").json()])
        assert trained.model not in tunegate("models", "list").out


class TestAsk:
    QUESTION = "How long is river 3?"

    def test_the_stream_is_the_whole_answer(self, tunegate: CommandLine) -> None:
        options = ("--max-tokens", "12", "--temperature", "0", "--seed", "1")
        streamed = tunegate("ask", MODEL, self.QUESTION, *options)
        whole = tunegate("ask", MODEL, "-", *options, "--json", stdin=self.QUESTION)
        completion = strict_items(ChatCompletion, [whole.json()])[0]
        assert (streamed.status, streamed.out) == (0, f"{completion.choices[0].message.content}\n")

    def test_a_model_of_prompts_continues_one(self, tunegate: CommandLine) -> None:
        answer = tunegate("ask", "babbage-002", "River 3 ->", "--max-tokens", "5", "--json")
        assert answer.json()["object"] == "text_completion"
        refused = tunegate("ask", "babbage-002", "River 3 ->", "--system", "Be brief.")
        assert (refused.status, "takes no system message" in refused.err) == (2, True)

    def test_a_model_that_there_is_not(self, tunegate: CommandLine) -> None:
        unknown = tunegate("ask", "gpt-0", "Hi")
        assert (unknown.status, "'gpt-0'" in unknown.err) == (2, True)


@contextmanager
def losing_one_response(base_url: str, path: str) -> Iterator[tuple[str, list[str]]]:
    """A relay to the gateway that forwards everything, and loses its first response to a POST of `path`."""
    lost: list[str] = []
    origin = base_url.removesuffix("/v1")

    class Relay(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            response = httpx2.request(self.command, f"{origin}{self.path}", content=body, headers=headers, timeout=90)
            if self.command == "POST" and self.path == path and not lost:
                lost.append(self.path)
                self.close_connection = True
                return
            self.send_response(response.status_code)
            self.send_header("content-length", str(len(response.content)))
            self.send_header("content-type", response.headers["content-type"])
            self.end_headers()
            self.wfile.write(response.content)

        do_GET = do_POST = forward

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", lost
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
