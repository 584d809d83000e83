"""A real model learns: SmolLM2-135M-Instruct, from its GGUF file, on a few tickets of the demo's."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.engines.llm.convert import convert
from trainer.engines.llm.engine import LlmEngine
from trainer.engines.port import Refused
from trainer.plan import resolve
from trainer.rows import ChatRow, Conversation

from . import jobs

TICKETS = Path(__file__).resolve().parents[2] / "examples" / "ticket-routing"
NAME = "SmolLM2-135M-Instruct"


def tickets(name: str, count: int) -> jobs.ListRows:
    lines = (TICKETS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:count]
    return jobs.ListRows([ChatRow(Conversation(tuple(json.loads(line)["messages"]))) for line in lines])


@pytest.mark.timeout(900)
def test_its_loss_falls_and_that_on_tickets_that_it_has_not_seen_falls_too(smollm2_gguf: Path, tmp_path: Path) -> None:
    convert(smollm2_gguf.parent, tmp_path / "models" / NAME)
    (tmp_path / "job").mkdir()
    work = replace(
        jobs.work(tmp_path / "job", None, base=NAME),
        plan=resolve(examples=16, n_epochs=2, batch_size=4, rate=5.0, beta=0.1),
        training=tickets("train", 16),
        validation=tickets("valid", 8),
    )
    recorder = jobs.FolderRecorder(tmp_path / "job")
    LlmEngine(tmp_path / "models", tmp_path / "cache").train(work, recorder)
    figures = [recorder.figures[step] for step in sorted(recorder.figures)]
    losses = [each["train_loss"] for each in figures]
    held_out = [each["full_valid_loss"] for each in figures if "full_valid_loss" in each]
    print(f"\ntraining loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} steps; held out, n = 8: {held_out}")
    assert losses[-1] < losses[0] / 2
    assert held_out[-1] < held_out[0] < losses[0]


class TestConversion:
    def test_a_killed_one_leaves_nothing_that_the_next_does_not_remove(self, gguf_dir: Path, tmp_path: Path) -> None:
        (tmp_path / ".tiny.conversion" / "tiny-gguf-old").mkdir(parents=True)
        convert(gguf_dir / "tiny-gguf", tmp_path / "tiny")
        assert [path.name for path in tmp_path.iterdir()] == ["tiny"]
        assert (tmp_path / "tiny" / "tokenizer.json").is_file()

    def test_a_folder_in_hugging_face_layout_is_refused_and_stays(self, tiny_llama: Path, tmp_path: Path) -> None:
        with pytest.raises(Refused, match="has no GGUF file"):
            convert(tiny_llama, tmp_path / "tiny")
        assert (tiny_llama / "config.json").is_file()
