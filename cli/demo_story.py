"""The steps of `tunegate demo`, with the official openai SDK on a running stack."""

import json
import queue
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import openai
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.receiver import Receiver, receiver
from cli.stack import Ready
from cli.training_view import training_view
from service.datasets.report.terminal import render_report
from service.datasets.report_schema import FileReport

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "sarcastic-facts"
MODEL = "gpt-4o-mini-2024-07-18"
EPOCHS = 3
JOB_SECONDS = 180.0
WEBHOOK_SECONDS = 30.0
POLL_SECONDS = 0.4


class DemoFailed(Exception):
    """A step of the demo failed; the message says which."""


@dataclass(frozen=True)
class TrainedPrompt:
    """A prompt of the training file, sent to the model before and after the training."""

    messages: list[dict[str, str]]
    text: str

    @classmethod
    def first_of(cls, path: Path) -> "TrainedPrompt":
        """The prompt of the first line of a training file."""
        with path.open(encoding="utf-8") as file:
            messages = json.loads(file.readline())["messages"][:-1]
        return cls(messages, messages[-1]["content"])


def run_story(ready: Ready, console: Console) -> None:
    """Run all steps. Raises `DemoFailed` or the SDK's errors."""
    client = openai.OpenAI(base_url=ready.base_url, api_key=ready.api_key)
    with receiver() as hook:
        began = time.monotonic()
        training = _upload(client, console, EXAMPLE / "train.jsonl")
        validation = _upload(client, console, EXAMPLE / "valid.jsonl")
        _show_report(client, console, training)
        quote = _quote(client, console, training, validation)
        secret = _register(client, console, hook)
        job = _train(client, console, training, validation, quote)
        event = _receive(client, console, hook, secret, job)
        _ask_both(client, console, job, TrainedPrompt.first_of(EXAMPLE / "train.jsonl"))
        _sum_up(console, job, quote, event, seconds=time.monotonic() - began)


def report_step(console: Console, text: str, detail: str = "") -> None:
    """Print a finished step, with its detail on a line of its own."""
    console.print(Text.assemble(("✓ ", "bold green"), text), soft_wrap=True)
    if detail:
        console.print(Text(f"  {detail}", style="dim"), soft_wrap=True)


def _upload(client: openai.OpenAI, console: Console, path: Path) -> FileObject:
    with console.status(f"Uploading {path.name}"):
        with path.open("rb") as file:
            uploaded = client.files.create(file=file, purpose="fine-tune")
        checked = client.files.wait_for_processing(uploaded.id, poll_interval=0.1, max_wait_seconds=60)
    if checked.status != "processed":
        raise DemoFailed(f"{path.name} was refused: {checked.status_details}")
    report_step(console, f"Uploaded and checked {path.name}", f"{checked.bytes:,} bytes, {checked.id}")
    return checked


def _show_report(client: openai.OpenAI, console: Console, file: FileObject) -> None:
    answer = client.get(f"/files/{file.id}/report", cast_to=object)
    render_report(msgspec.convert(answer, FileReport), console)


def _quote(client: openai.OpenAI, console: Console, training: FileObject, validation: FileObject) -> dict[str, Any]:
    body = {
        "model": MODEL,
        "training_file": training.id,
        "validation_file": validation.id,
        "hyperparameters": {"n_epochs": EPOCHS},
    }
    quote = client.post("/fine_tuning/quotes", body=body, cast_to=object)
    assert isinstance(quote, dict)
    if not quote["allowed"]:
        raise DemoFailed(f"The quote says no: {quote['reasons']}")
    low, upper = (_money(quote["price"][end]) for end in ("low", "upper"))
    price = low if low == upper else f"{low} to {upper}"
    report_step(
        console, f"Price before the spend: {price}", f"{quote['n_epochs']} epochs of {MODEL}; this demo pays nobody"
    )
    return quote


def _register(client: openai.OpenAI, console: Console, hook: Receiver) -> str:
    endpoint = client.webhooks.create(name="demo", url=hook.url, event_types=["fine_tuning.job.succeeded"])
    report_step(console, "Registered a webhook", hook.url)
    return endpoint.signing_secret


def _train(
    client: openai.OpenAI, console: Console, training: FileObject, validation: FileObject, quote: dict[str, Any]
) -> FineTuningJob:
    job = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=training.id,
        validation_file=validation.id,
        suffix="sarcastic",
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": EPOCHS}}},
        extra_body={"quote_id": quote["id"]},
    )
    report_step(console, "Created the job", job.id)
    began = time.monotonic()
    losses: dict[int, float] = {}
    with training_view(console) as view:
        while job.status not in ("succeeded", "failed", "cancelled"):
            if time.monotonic() - began > JOB_SECONDS:
                raise DemoFailed(f"The job is still {job.status} after {JOB_SECONDS:.0f} seconds.")
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


def _receive(
    client: openai.OpenAI, console: Console, hook: Receiver, secret: str, job: FineTuningJob
) -> dict[str, Any]:
    with console.status("Waiting for the webhook"):
        try:
            delivery = hook.deliveries.get(timeout=WEBHOOK_SECONDS)
        except queue.Empty:
            raise DemoFailed(f"No webhook arrived within {WEBHOOK_SECONDS:.0f} seconds.") from None
    event = client.webhooks.unwrap(delivery.body, delivery.headers, secret=secret)
    if event.type != "fine_tuning.job.succeeded" or event.data.id != job.id:
        raise DemoFailed(f"The webhook is about something else: {event.type} {event.id}")
    report_step(console, f"Received {event.type}", f"{event.id}, signature verified by client.webhooks.unwrap")
    body: dict[str, Any] = json.loads(delivery.body)
    return body


def _ask_both(client: openai.OpenAI, console: Console, job: FineTuningJob, prompt: TrainedPrompt) -> None:
    assert job.fine_tuned_model is not None
    answers = []
    with console.status("Asking both models"):
        for model in (MODEL, job.fine_tuned_model):
            completion = client.chat.completions.create(
                model=model,
                messages=prompt.messages,  # type: ignore[arg-type]  # read from the file, as the SDK wants them
                temperature=0,
                max_tokens=60,
            )
            answers.append(_printable(completion.choices[0].message.content or ""))
    table = Table(title=Text(f"“{prompt.text}”", style="bold"), title_justify="left", expand=True, padding=(0, 1))
    table.add_column(f"before: {MODEL}", ratio=1, overflow="fold")
    table.add_column("after: the tuned model", ratio=1, overflow="fold", header_style="bold green")
    table.add_row(Text(answers[0], style="dim"), Text(answers[1]))
    console.print()
    console.print(table)
    console.print(
        "Both answers are a small byte model's, trained on this CPU in the place of the real one.", style="dim"
    )


def _sum_up(
    console: Console, job: FineTuningJob, quote: dict[str, Any], event: dict[str, Any], *, seconds: float
) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    facts.add_row("model", str(job.fine_tuned_model))
    facts.add_row("tokens", f"{job.trained_tokens or 0:,} trained")
    if cost := event["data"].get("cost"):
        facts.add_row(
            "booked",
            f"{_money(cost)}, quoted {_money(quote['price']['expected'])} (at OpenAI's price; nothing was paid)",
        )
    facts.add_row("time", f"{seconds:.0f} s from upload to answer")
    console.print()
    console.print(Panel(facts, title="[bold]Done", title_align="left", border_style="green", expand=False))
    console.print("Go on with a stack of your own, which keeps what you make: [bold]make run[/]")
    console.print("It prints your key and the line that points any OpenAI client at it:\n")
    console.print("  export OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=tg_live_…\n", soft_wrap=True)
    console.print("README.md has the rest.")


def _money(amount: dict[str, Any]) -> str:
    return f"${amount['value']:,.4f}"


def _printable(text: str) -> str:
    """Without control characters: a model may generate escape codes for the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
