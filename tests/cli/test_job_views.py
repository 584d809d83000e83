"""How jobs, their metrics and answers are printed: no server."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from rich.console import Console

from cli.ask import texts
from cli.downloads import write_response
from cli.errors import Refused
from cli.files import local_name
from cli.jobs.metrics import SERIES, evenly, show_metrics
from cli.jobs.show import show_job, show_jobs, show_result
from cli.paths import path_of

LOSS = {"final": 0.5, "final_step": 90, "best": 0.25, "best_step": 60}
JOB: dict[str, Any] = {
    "id": "ftjob-1",
    "status": "succeeded",
    "created_at": 1_790_000_000,
    "finished_at": 1_790_000_600,
    "model": "m",
    "fine_tuned_model": "ft:m:o:s:1",
    "training_file": "file-1",
    "validation_file": "file-2",
    "method": {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3, "batch_size": "auto"}}},
    "result_files": ["file-3"],
    "trained_tokens": 12_000,
    "error": None,
    "seed": 7,
    "suffix": "s",
    "estimated_finish": None,
    "metadata": {"team": "maps"},
    "adapter": None,
    "cost": {"value": 0.036, "currency": "usd"},
    "expected_cost": {"value": 0.04, "currency": "usd"},
    "metrics_summary": {"train_loss": LOSS | {"best": 0.5, "best_step": 90}, "valid_loss": LOSS},
    "tokens_per_second": 120.4,
    "duration_seconds": 100.0,
    "created_by": {"type": "service_account", "id": "svc_1", "name": "nightly"},
    "training_file_name": "train.jsonl",
    "validation_file_name": None,
    "warnings": [{"code": "leakage", "message": "3 validation examples are in the training file too."}],
    "waiting": None,
    "verdict": {
        "kind": "over_fitted",
        "step": 60,
        "recommended_checkpoint": "ft:m:o:s:1:ckpt-step-60",
        "message": "The validation loss rises after step 60. Use ft:m:o:s:1:ckpt-step-60.",
        "advice": [{"setting": "n_epochs", "change": "1 or 2 fewer", "reason": "The loss was lowest at step 60."}],
    },
    "experiment": {"id": "exp_1", "arm": 2},
}
WAITING: dict[str, Any] = {
    "reason": "account_full",
    "message": "All slots of the account are taken; 2 jobs are before it.",
    "place": 3,
    "place_in_project": 1,
    "estimated_start": None,
    "estimate_reason": "",
}


@pytest.fixture
def console() -> Console:
    """A console whose output is read by `printed`."""
    return Console(file=io.StringIO(), width=200, highlight=False)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


class TestJobs:
    def test_a_table_has_the_losses_the_cost_and_the_verdict(self, console: Console) -> None:
        show_jobs([JOB], console)
        assert printed(console).splitlines()[1].split() == [
            "ftjob-1", "succeeded", "ft:m:o:s:1", *printed(console).splitlines()[1].split()[3:5],
            "0.5000", "0.2500", "$0.0360", "1", "min", "40", "s", "over-fitted",
        ]  # fmt: skip

    def test_a_job_that_waits_says_why(self, console: Console) -> None:
        show_jobs([JOB | {"status": "queued", "waiting": WAITING, "fine_tuned_model": None}], console)
        assert WAITING["message"] in printed(console)

    def test_a_job_shows_all_that_it_carries(self, console: Console) -> None:
        show_job(JOB, console)
        for words in (
            "train.jsonl (file-1)", "file-2", "nightly (service account)", "exp_1, arm 2", "team=maps",
            "0.5000 at step 90\n", "0.5000 at step 90, lowest 0.2500 at step 60", "12,000 tokens, 120 a second",
            "$0.0360, $0.0400 expected", "over-fitted", "ft:m:o:s:1:ckpt-step-60",
            "n_epochs: 1 or 2 fewer. The loss was lowest at step 60.", "! 3 validation examples",
        ):  # fmt: skip
            assert words in "\n".join(line.rstrip() for line in printed(console).splitlines()), printed(console)

    def test_a_job_of_which_little_is_known(self, console: Console) -> None:
        unknown: dict[str, Any] = {
            "fine_tuned_model": None, "validation_file": None, "trained_tokens": None, "metadata": None, "suffix": None,
            "cost": None, "expected_cost": None, "tokens_per_second": None, "duration_seconds": None,
            "created_by": None, "warnings": [], "verdict": None, "experiment": None, "finished_at": None,
            "metrics_summary": {"train_loss": None, "valid_loss": None}, "training_file_name": None,
        }  # fmt: skip
        job = JOB | unknown | {"status": "validating_files", "result_files": []}
        show_job(job, console)
        show_jobs([job], console)
        assert "None" not in printed(console)

    def test_a_failed_job_says_why_and_offers_no_model(self, console: Console) -> None:
        error = {"code": "c", "message": "The upstream refused\x1b[2J the file.", "param": None}
        show_result(JOB | {"status": "failed", "error": error, "fine_tuned_model": None, "verdict": None}, console)
        assert "✗ ftjob-1 failed" in printed(console)
        assert "The upstream refused [2J the file." in printed(console)
        assert "tunegate ask" not in printed(console)


class TestMetrics:
    ROWS = tuple(dict.fromkeys(SERIES) | {"step": step, "train_loss": 1 / step} for step in range(1, 101))

    def test_some_steps_stand_for_all_with_the_first_and_the_last(self, console: Console) -> None:
        show_metrics(self.ROWS, console)
        lines = printed(console).splitlines()
        assert "1.000 → 0.010" in lines[0]
        assert lines[2].split() == ["step", "loss"]
        assert (lines[3].split()[0], lines[-2].split()[0]) == ("1", "100")
        assert lines[-1] == "20 of 100 steps; --csv and --json have all."

    def test_few_steps_are_all_there(self) -> None:
        assert [row["step"] for row in evenly(self.ROWS[:20], 20)] == list(range(1, 21))
        assert [row["step"] for row in evenly(self.ROWS[:21], 20)][:2] == [1, 2]
        assert len(evenly(self.ROWS[:21], 20)) == 20

    def test_none_yet(self, console: Console) -> None:
        show_metrics([], console)
        assert printed(console) == "The job has no metrics yet.\n"


class TestAnswers:
    def test_chats_and_completions_are_put_together(self) -> None:
        lines = [
            'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}', "", ": a comment",
            'data: {"choices": [{"delta": {"content": "Riv"}}]}', 'data: {"choices": [{"text": "er"}]}',
            'data: {"choices": [{"delta": {"content": null}}]}', 'data: {"choices": [], "usage": {}}', "data: [DONE]",
            "data: never read",
        ]  # fmt: skip
        assert "".join(texts(lines)) == "River"

    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ('data: {"error": {"message": "The upstream is gone."}}', "The upstream is gone."),
            ("data: {", "a chunk that is none"),
            ("data: []", "a chunk that is none"),
            ("", "broke off"),
        ],
    )
    def test_a_stream_that_fails_says_so(self, line: str, words: str) -> None:
        with pytest.raises(Refused, match=words):
            list(texts(['data: {"choices": [{"text": "Riv"}]}', line]))


class TestDownloads:
    @staticmethod
    def response(chunks: Iterator[bytes]) -> httpx2.Response:
        return httpx2.Response(200, content=chunks)

    def test_one_that_breaks_leaves_what_there_was(self, console: Console, tmp_path: Path) -> None:
        def breaks() -> Iterator[bytes]:
            yield b"half"
            raise httpx2.ReadError("cut")

        out = tmp_path / "out"
        out.write_bytes(b"before")
        with pytest.raises(httpx2.ReadError):
            write_response(self.response(breaks()), out, force=True, console=console)
        assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out", b"before")]

    def test_a_file_that_appears_meanwhile_is_not_overwritten(self, console: Console, tmp_path: Path) -> None:
        out = tmp_path / "out"

        def meanwhile() -> Iterator[bytes]:
            yield b"ours"
            out.write_bytes(b"theirs")

        with pytest.raises(Refused, match="--force"):
            write_response(self.response(meanwhile()), out, force=False, console=console)
        assert out.read_bytes() == b"theirs"
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


class TestLocalName:
    @pytest.mark.parametrize(
        ("given", "local"),
        [
            ("train.jsonl", "train.jsonl"),
            ("../../.ssh/config", "config"),
            ("a\\b.txt", "b.txt"),
            ("/etc/passwd", "passwd"),
        ],
    )
    def test_it_lies_in_this_folder(self, given: str, local: str) -> None:
        assert local_name(given, "file-1") == local

    @pytest.mark.parametrize("given", ["", "..", "a/..", "esc\x1b[2J", "/"])
    def test_or_it_is_refused(self, given: str) -> None:
        with pytest.raises(Refused, match="--out"):
            local_name(given, "file-1")


def test_what_a_user_typed_stays_one_part_of_a_path() -> None:
    assert path_of("models", "ft:m:o::1") == "/models/ft:m:o::1"
    assert path_of("files", "a/b?c#d%") == "/files/a%2Fb%3Fc%23d%25"
    with pytest.raises(Refused, match="empty"):
        path_of("files", "")
