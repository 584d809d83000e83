"""The engine `transformers` trains: figures, checkpoints, kills, memory, cancelling, and continuing a tuned model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.llm import jobs
from trainer.engines.llm.engine import LlmEngine
from trainer.engines.llm.stepping import SteppingMixin
from trainer.engines.port import Adapter, JobSettings, Refused

JOBS: dict[str, dict[str, Any]] = {
    "supervised": {"rate": 50.0},
    "dropout": {"rate": 50.0, "adapter": {"dropout": 0.2}},
    "full": {"rate": 100.0, "adapter": {"type": "full"}},
    "dpo": {"rate": 2000.0, "method": "dpo"},
}


@pytest.mark.parametrize("kind", ["supervised", "full", "dpo"])
def test_loss_falls_on_both_files(models_dir: Path, tmp_path: Path, kind: str) -> None:
    recorder = jobs.train(models_dir, tmp_path / "job", epochs=4, **JOBS[kind])
    figures = recorder.figures
    assert list(figures) == list(range(1, 17))
    assert recorder.checkpoints == [4, 8, 12, 16]
    assert figures[16]["full_valid_loss"] < figures[4]["full_valid_loss"]
    assert {step for step, each in figures.items() if "full_valid_loss" in each} == {4, 8, 12, 16}


def test_tokens_are_those_that_validation_counted(models_dir: Path, tmp_path: Path) -> None:
    recorder = jobs.train(models_dir, tmp_path / "job", epochs=2)
    engine = LlmEngine(models_dir, tmp_path / "cache")
    facts = engine.validate(jobs.work(tmp_path / "job", None).settings, jobs.chat_rows())
    assert recorder.figures[8]["tokens"] == 2 * facts.tokens


def test_seed_reproduces_and_another_differs(models_dir: Path, tmp_path: Path) -> None:
    first, again, other = (
        jobs.train(models_dir, tmp_path / name, seed=seed).figures for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("kind", JOBS)
def test_interrupted_anywhere_gives_the_same_figures(models_dir: Path, tmp_path: Path, kind: str) -> None:
    more = JOBS[kind] | {"snapshot_tokens": 60}
    whole = jobs.train(models_dir, tmp_path / "whole", **more)
    stop = 1
    while True:
        stop += 4
        try:
            parts = jobs.train(models_dir, tmp_path / "parts", stop_after=stop, **more)
        except jobs.Stopped:
            continue
        break
    assert parts.figures == whole.figures
    assert weights(parts.model) == weights(whole.model)


@pytest.mark.parametrize("kind", ["supervised", "dpo"])
def test_killed_process_gives_the_same_figures(models_dir: Path, tmp_path: Path, kind: str) -> None:
    more = JOBS[kind] | {"snapshot_tokens": 60, "base": "tiny-llama"}
    whole = jobs.train(models_dir, tmp_path / "whole", **more)
    folder = tmp_path / "parts"
    folder.mkdir()
    command = [sys.executable, "-m", "tests.llm.jobs", str(folder), str(models_dir), json.dumps(more)]
    for steps in (1, 4):
        process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": "."})
        while len(jobs.FolderRecorder(folder).figures) < steps and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    parts = jobs.train(models_dir, folder, **more)
    assert parts.figures == whole.figures
    assert weights(parts.model) == weights(whole.model)


def test_cancel_acts_within_a_step(models_dir: Path, tmp_path: Path) -> None:
    """Every micro-batch asks whether to proceed, and nothing of the step that was left is recorded."""
    with pytest.raises(jobs.Stopped):
        jobs.train(models_dir, tmp_path / "job", batch_size=7, stop_after=1)
    assert not jobs.FolderRecorder(tmp_path / "job").figures


class TestMemory:
    @pytest.mark.parametrize("kind", ["supervised", "dpo"])
    def test_step_is_taken_again_in_smaller_parts(
        self, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        more = JOBS[kind] | {"batch_size": 7}
        roomy = jobs.train(models_dir, tmp_path / "roomy", **more).figures
        sizes = small_memory(monkeypatch, rows=4)
        tight = jobs.train(models_dir, tmp_path / "tight", **more).figures
        assert max(sizes) > 4
        assert sizes[-1] <= 4
        assert_close(tight, roomy)

    def test_gradient_checkpointing_is_the_last_resort(
        self, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        roomy = jobs.train(models_dir, tmp_path / "roomy", batch_size=7).figures
        small_memory(monkeypatch, rows=0, rows_with_checkpointing=1)
        tight = jobs.train(models_dir, tmp_path / "tight", batch_size=7)
        division = json.loads((tight.model.parent / "state" / "division.json").read_text())
        assert division["checkpointing"]
        assert_close(tight.figures, roomy)

    def test_row_that_fits_in_no_way_is_refused(
        self, models_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        small_memory(monkeypatch, rows=0)
        with pytest.raises(Refused, match="shorten the rows"):
            jobs.train(models_dir, tmp_path / "job")


class TestContinuing:
    @pytest.mark.parametrize("kind", ["supervised", "full"])
    def test_continues_where_the_model_was(self, models_dir: Path, tmp_path: Path, kind: str) -> None:
        first = jobs.train(models_dir, tmp_path / "first", epochs=4, **JOBS[kind])
        second = jobs.train(models_dir, tmp_path / "second", start=str(first.model), rate=1e-6)
        assert second.figures[4]["full_valid_loss"] == pytest.approx(first.figures[16]["full_valid_loss"], abs=1e-4)
        names = {path.name for path in second.model.iterdir()}
        assert ("adapter_model.safetensors" in names) == (kind == "supervised")

    @pytest.mark.parametrize("kind", ["supervised", "full"])
    def test_reference_of_dpo_is_the_model_that_is_continued(self, models_dir: Path, tmp_path: Path, kind: str) -> None:
        first = jobs.train(models_dir, tmp_path / "first", **JOBS[kind])
        job: dict[str, Any] = {"method": "dpo", "start": str(first.model), "rate": 2000.0, "snapshot_tokens": 60}
        whole = jobs.train(models_dir, tmp_path / "whole", **job)
        assert whole.figures[1]["train_loss"] == pytest.approx(0.6931, abs=1e-4)
        with pytest.raises(jobs.Stopped):
            jobs.train(models_dir, tmp_path / "parts", stop_after=9, **job)
        assert jobs.train(models_dir, tmp_path / "parts", **job).figures == whole.figures

    def test_other_type_of_adapter_is_refused(self, models_dir: Path, tmp_path: Path) -> None:
        first = jobs.train(models_dir, tmp_path / "first", epochs=1)
        with pytest.raises(Refused, match="cannot be continued with 'full'"):
            jobs.train(models_dir, tmp_path / "second", start=str(first.model), adapter={"type": "full"})
        with pytest.raises(Refused, match="adapter of rank 16"):
            jobs.train(models_dir, tmp_path / "third", start=str(first.model), adapter={"rank": 4})


def test_adapter_has_what_was_asked_for(models_dir: Path, tmp_path: Path) -> None:
    adapter = {"rank": 3, "alpha": 5.0, "targets": ["q_proj", "v_proj"]}
    model = jobs.train(models_dir, tmp_path / "job", epochs=1, adapter=adapter).model
    config = json.loads((model / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], sorted(config["target_modules"])) == (3, 5.0, ["q_proj", "v_proj"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"base": "other"}, "there are: tiny-llama"),
        ({"adapter": Adapter(targets=("nothing",))}, "has down_proj, gate_proj"),
        ({"adapter": Adapter(rank=0)}, "rank must be"),
        ({"adapter": Adapter(type="full", rank=4)}, "leave rank"),
        ({"method": "reinforcement"}, "reinforcement"),
    ],
)
def test_refused_before_acceptance(models_dir: Path, tmp_path: Path, settings: dict[str, Any], words: str) -> None:
    known: dict[str, Any] = {
        "base": "tiny-llama",
        "method": "supervised",
        "seed": 1,
        "adapter": None,
        "continues": False,
    }
    with pytest.raises(Refused, match=words):
        LlmEngine(models_dir, tmp_path).check(JobSettings(**(known | settings)))


def weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def assert_close(some: dict[int, dict[str, float]], others: dict[int, dict[str, float]]) -> None:
    assert list(some) == list(others)
    for step, figures in some.items():
        assert figures == pytest.approx(others[step], rel=1e-3, abs=1e-4)


def small_memory(monkeypatch: pytest.MonkeyPatch, *, rows: int, rows_with_checkpointing: int = 0) -> list[int]:
    """A memory for so many sequences at once: where torch would raise, in the middle of a forward pass."""
    import torch
    from transformers import LlamaModel

    sizes: list[int] = []
    forward = LlamaModel.forward

    def limited(self: Any, input_ids: Any = None, **more: Any) -> Any:
        sizes.append(len(input_ids))
        checkpointing = self.layers[0].gradient_checkpointing
        if len(input_ids) > (rows_with_checkpointing if checkpointing else rows):
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, input_ids, **more)

    monkeypatch.setattr(LlamaModel, "forward", limited)
    return sizes


def test_mixin_comes_before_the_trainers() -> None:
    from trainer.engines.llm.supervised import SupervisedTrainer

    assert SupervisedTrainer.training_step is SteppingMixin.training_step
