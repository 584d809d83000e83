"""Jobs for the engine `transformers`, with a recorder that writes into a folder.

As a program (`python -m tests.llm.jobs FOLDER MODELS SETTINGS`) it continues the job in FOLDER, and can be killed.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from trainer.engines.llm.engine import LlmEngine
from trainer.engines.port import Adapter, JobSettings, Progress, Work
from trainer.plan import resolve
from trainer.rows import ChatRow, Conversation, PreferenceRow, Row

PAIRS = (
    ("What is the capital of France?", "Paris."),
    ("Which colour has the sky?", "Blue."),
    ("Sort this ticket: charged twice.", "Billing."),
    ("Sort this ticket: the app crashes.", "A bug, and nothing else."),
    ("Add 1 and 2.", "3"),
    ("Is the evening red?", "Yes, on a clear day it is."),
    ("Say hello.", "Hello!"),
)


class ListRows:
    """Rows in memory."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._rows[index]

    def line(self, index: int) -> int:
        return index + 1


def chat_rows(pairs: Sequence[tuple[str, str]] = PAIRS) -> ListRows:
    return ListRows([ChatRow(_conversation(question, answer)) for question, answer in pairs])


def preference_rows(pairs: Sequence[tuple[str, str]] = PAIRS) -> ListRows:
    return ListRows(
        [
            PreferenceRow(
                Conversation(({"role": "user", "content": question},)),
                ({"role": "assistant", "content": answer},),
                ({"role": "assistant", "content": "I do not know that."},),
            )
            for question, answer in pairs
        ]
    )


def _conversation(question: str, answer: str) -> Conversation:
    return Conversation(({"role": "user", "content": question}, {"role": "assistant", "content": answer}))


class FolderRecorder:
    """Keeps steps in `steps.jsonl` and the last saved weights in `saved`, complete or not at all.

    `stop_after` raises Stopped in the call of `proceed` of that number.
    """

    def __init__(self, folder: Path, *, stop_after: int | None = None) -> None:
        self.folder = folder
        self.calls = 0
        self.messages: dict[str, str] = {}
        self.checkpoints: list[int] = []
        self._stop_after = stop_after
        self._steps = folder / "steps.jsonl"

    @property
    def figures(self) -> dict[int, dict[str, float]]:
        lines = self._steps.read_text().splitlines() if self._steps.exists() else []
        return {entry["step"]: entry for line in lines if (entry := json.loads(line))}

    def step(self, step: int, *, tokens: int, figures: Mapping[str, float]) -> None:
        if step in (known := self.figures):
            assert {**figures, "step": step, "tokens": tokens} == known[step]
            return
        with self._steps.open("a") as file:
            file.write(json.dumps({**figures, "step": step, "tokens": tokens}) + "\n")

    def save(
        self, step: int, *, tokens: int, model: Path, state: Path | None, checkpoint: Mapping[str, float] | None
    ) -> None:
        if checkpoint is not None:
            self.checkpoints.append(step)
        partial = self.folder / f"partial-{step}"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(model, partial / "model")
        assert state is not None
        shutil.copytree(state, partial / "state")
        (partial / "progress.json").write_text(json.dumps([step, tokens]))
        target = self.folder / f"saved-{step}"
        shutil.rmtree(target, ignore_errors=True)
        partial.replace(target)

    def proceed(self) -> None:
        self.calls += 1
        if self.calls == self._stop_after:
            raise Stopped

    def message(self, key: str, text: str, *, level: Literal["info", "warn"] = "info") -> None:
        self.messages[key] = text

    @property
    def progress(self) -> Progress | None:
        saved = [(json.loads((path / "progress.json").read_text()), path) for path in self.folder.glob("saved-*")]
        if not saved:
            return None
        (step, tokens), path = max(saved)
        return Progress(path, step, tokens)

    @property
    def model(self) -> Path:
        progress = self.progress
        assert progress is not None
        return progress.folder / "model"


class Stopped(Exception):
    """What `FolderRecorder` raises: the job was cancelled."""


def train(models: Path, folder: Path, *, stop_after: int | None = None, **more: Any) -> FolderRecorder:
    """Train a job, or continue the one in `folder`."""
    folder.mkdir(exist_ok=True)
    recorder = FolderRecorder(folder, stop_after=stop_after)
    LlmEngine(models, folder.parent / "cache").train(work(folder, recorder.progress, **more), recorder)
    return recorder


def work(
    folder: Path,
    progress: Progress | None,
    *,
    base: str = "tiny-llama",
    method: Literal["supervised", "dpo"] = "supervised",
    adapter: Mapping[str, Any] | None = None,
    epochs: int = 2,
    batch_size: int = 2,
    rate: float = 20.0,
    seed: int = 1,
    snapshot_tokens: int = 10**9,
    start: str | None = None,
    validation: bool = True,
) -> Work:
    made = chat_rows if method == "supervised" else preference_rows
    rows = made(PAIRS)
    scratch = folder / f"scratch-{os.getpid()}-{len(list(folder.glob('scratch-*')))}"
    scratch.mkdir()
    return Work(
        settings=JobSettings(
            base=base,
            method=method,
            seed=seed,
            adapter=None if adapter is None else Adapter(**adapter),
            continues=start is not None,
        ),
        plan=resolve(examples=len(rows), n_epochs=epochs, batch_size=batch_size, rate=rate, beta=0.1),
        training=rows,
        validation=made(PAIRS[:3]) if validation else None,
        start=None if start is None else Path(start),
        progress=progress,
        snapshot_tokens=snapshot_tokens,
        pace_seconds=0.0,
        scratch=scratch,
    )


if __name__ == "__main__":
    train(Path(sys.argv[2]), Path(sys.argv[1]), **json.loads(sys.argv[3]))
