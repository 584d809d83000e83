"""The steps that both demos share, with the official openai SDK on a running stack; each prints what it did."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import openai
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from rich.console import Console
from rich.text import Text

from cli.output import printable
from cli.training_view import training_view
from service.datasets.report.terminal import render_report
from service.datasets.report_schema import FileReport

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
POLL_SECONDS = 0.4
CHECK_SECONDS = 60.0
_ENDED = ("succeeded", "failed", "cancelled")


class DemoFailed(Exception):
    """A step of the demo failed; the message says which."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What a demo trains: a base model, by a folder of `examples/`, with these hyperparameters.

    `options` are OpenAI's further hyperparameters, `adapter` ours; `limit_seconds` is the job's longest duration.
    """

    model: str
    folder: Path
    epochs: int
    suffix: str
    limit_seconds: float
    options: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] | None = None

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """As OpenAI's `hyperparameters` has them."""
        return {"n_epochs": self.epochs, **self.options}

    @property
    def extra(self) -> dict[str, Any]:
        """The fields of a job that only Tunegate has."""
        return {} if self.adapter is None else {"adapter": self.adapter}


@dataclass(frozen=True)
class Prompt:
    """The messages before an example's last answer, and the last of them as text."""

    messages: list[dict[str, str]]
    text: str

    @classmethod
    def first_of(cls, path: Path) -> "Prompt":
        """The prompt of the first line of a training file."""
        with path.open(encoding="utf-8") as file:
            messages = json.loads(file.readline())["messages"][:-1]
        return cls(messages, messages[-1]["content"])

    def with_text(self, text: str) -> "Prompt":
        """The same conversation with another question at its end."""
        return Prompt([*self.messages[:-1], {"role": "user", "content": text}], text)


def report_step(console: Console, text: str, detail: str = "") -> None:
    """Print a finished step, with its detail on a line of its own."""
    console.print(Text.assemble(("✓ ", "bold green"), text), soft_wrap=True)
    if detail:
        console.print(Text(f"  {detail}", style="dim"), soft_wrap=True)


def upload(client: openai.OpenAI, console: Console, path: Path) -> FileObject:
    """Upload a file, and wait for its report. Raises `DemoFailed` if it is refused."""
    with console.status(f"Uploading {path.name}"):
        with path.open("rb") as file:
            uploaded = client.files.create(file=file, purpose="fine-tune")
        checked = client.files.wait_for_processing(uploaded.id, poll_interval=0.1, max_wait_seconds=CHECK_SECONDS)
    if checked.status != "processed":
        raise DemoFailed(f"{path.name} was refused: {checked.status_details}")
    report_step(console, f"Uploaded and checked {path.name}", f"{checked.bytes:,} bytes, {checked.id}")
    return checked


def show_report(client: openai.OpenAI, console: Console, file: FileObject) -> None:
    """Print the report of a file."""
    answer = client.get(f"/files/{file.id}/report", cast_to=object)
    render_report(msgspec.convert(answer, FileReport), console)


def ask_for_quote(
    client: openai.OpenAI, console: Console, training: Training, files: Sequence[FileObject], remark: str
) -> dict[str, Any]:
    """A binding quote for the training and the validation file. Raises `DemoFailed` if the job is not allowed."""
    body = {
        "model": training.model,
        "training_file": files[0].id,
        "validation_file": files[1].id,
        "hyperparameters": training.hyperparameters,
        **training.extra,
    }
    quote = client.post("/fine_tuning/quotes", body=body, cast_to=object)
    assert isinstance(quote, dict)
    if not quote["allowed"]:
        raise DemoFailed(f"The quote says no: {quote['reasons']}")
    low, upper = (money(quote["price"][end]) for end in ("low", "upper"))
    price = low if low == upper else f"{low} to {upper}"
    report_step(
        console, f"Price before the spend: {price}", f"{quote['n_epochs']} epochs of {training.model}; {remark}"
    )
    return quote


def train(
    client: openai.OpenAI,
    console: Console,
    training: Training,
    files: Sequence[FileObject],
    quote: dict[str, Any],
) -> FineTuningJob:
    """Create the job and show its steps until it has succeeded. Raises `DemoFailed` if it ends in another way."""
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": training.hyperparameters}}
    job = client.fine_tuning.jobs.create(
        model=training.model,
        training_file=files[0].id,
        validation_file=files[1].id,
        suffix=training.suffix,
        seed=7,
        method=method,
        extra_body={"quote_id": quote["id"], **training.extra},
    )
    report_step(console, "Created the job", job.id)
    began = time.monotonic()
    losses: dict[int, float] = {}
    with training_view(console) as view:
        while job.status not in _ENDED:
            if time.monotonic() - began > training.limit_seconds:
                raise DemoFailed(f"The job is still {job.status} after {training.limit_seconds:.0f} seconds.")
            time.sleep(POLL_SECONDS)
            view.status(job.status)
            for event in client.fine_tuning.jobs.list_events(job.id, limit=100).data:
                if event.type == "metrics" and isinstance(event.data, dict):
                    losses[event.data["step"]] = event.data["train_loss"]
                    total = event.data["total_steps"]
            if losses:
                view.steps(step=max(losses), total=total, losses=[losses[step] for step in sorted(losses)])
            job = client.fine_tuning.jobs.retrieve(job.id)
    if job.status != "succeeded":
        raise DemoFailed(f"The job {job.status}: {job.error.message if job.error else 'no reason given'}")
    ordered = [losses[step] for step in sorted(losses)]
    fall = f"loss {ordered[0]:.3f} → {ordered[-1]:.3f}, " if ordered else ""
    report_step(console, f"Trained {job.fine_tuned_model}", f"{fall}{time.monotonic() - began:.0f} s")
    return job


def answer_of(client: openai.OpenAI, model: str, prompt: Prompt, *, max_tokens: int) -> str:
    """A model's likeliest answer, without control characters."""
    completion = client.chat.completions.create(
        model=model,
        messages=prompt.messages,  # type: ignore[arg-type]  # read from the file, as the SDK wants them
        temperature=0,
        max_tokens=max_tokens,
    )
    return printable(completion.choices[0].message.content or "")


def money(amount: dict[str, Any]) -> str:
    """An amount of the gateway's in dollars."""
    return f"${amount['value']:,.4f}"
