"""The steps of `tunegate demo` with the byte model: dataset, price, webhook, training, answers."""

import json
import queue
import time
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.demo import steps
from cli.demo.steps import DemoFailed, Prompt, Training, report_step
from cli.receiver import Receiver, receiver
from cli.stack import Ready

TRAINING = Training(
    model="gpt-4o-mini-2024-07-18",
    folder=steps.EXAMPLES / "sarcastic-facts",
    epochs=3,
    suffix="sarcastic",
    limit_seconds=180.0,
)
QUESTIONS = {
    "valid.jsonl": "Held out: no model was trained on this. The style is learnt, the facts are wrong or mixed up.",
    "train.jsonl": "From the training file: the tuned model gives the trained answer back.",
}
"""The files whose first question both models answer, and what to make of the answers."""

WEBHOOK_SECONDS = 30.0
MAX_TOKENS = 60


def run_story(ready: Ready, console: Console) -> None:
    """Run all steps. Raises `DemoFailed` or the SDK's errors."""
    client = openai.OpenAI(base_url=ready.base_url, api_key=ready.api_key)
    with receiver() as hook:
        began = time.monotonic()
        files = [steps.upload(client, console, TRAINING.folder / f"{name}.jsonl") for name in ("train", "valid")]
        steps.show_report(client, console, files[0])
        quote = steps.ask_for_quote(client, console, TRAINING, files, "this demo pays nobody")
        secret = _register(client, console, hook)
        job = steps.train(client, console, TRAINING, files, quote)
        event = _receive(client, console, hook, secret, job)
        _ask_both(client, console, job)
        _sum_up(console, job, quote, event, seconds=time.monotonic() - began)


def _register(client: openai.OpenAI, console: Console, hook: Receiver) -> str:
    endpoint = client.webhooks.create(name="demo", url=hook.url, event_types=["fine_tuning.job.succeeded"])
    report_step(console, "Registered a webhook", hook.url)
    return endpoint.signing_secret


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


def _ask_both(client: openai.OpenAI, console: Console, job: FineTuningJob) -> None:
    assert job.fine_tuned_model is not None
    for file, remark in QUESTIONS.items():
        prompt = Prompt.first_of(TRAINING.folder / file)
        with console.status("Asking both models"):
            before, after = (
                steps.answer_of(client, model, prompt, max_tokens=MAX_TOKENS)
                for model in (TRAINING.model, job.fine_tuned_model)
            )
        table = Table(title=Text(f"“{prompt.text}”", style="bold"), title_justify="left", expand=True, padding=(0, 1))
        table.add_column("before: the base model", ratio=1, overflow="fold")
        table.add_column("after: the tuned model", ratio=1, overflow="fold", header_style="bold green")
        table.add_row(Text(before, style="dim"), Text(after))
        console.print()
        console.print(table)
        console.print(Text(remark, style="dim"))
    console.print(
        f"\nBoth are a tiny byte model on this CPU, in the place of {TRAINING.model}: it memorises. "
        "`make demo-llm` trains a language model.",
        style="dim",
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
            f"{steps.money(cost)}, quoted {steps.money(quote['price']['expected'])} "
            "(at OpenAI's price; nothing was paid)",
        )
    facts.add_row("time", f"{seconds:.0f} s from upload to answer")
    console.print()
    console.print(Panel(facts, title="[bold]Done", title_align="left", border_style="green", expand=False))
    console.print("Go on with a stack of your own, which keeps what you make: [bold]make run[/]")
    console.print("It prints your key and the line that points any OpenAI client at it:\n")
    console.print("  export OPENAI_BASE_URL=http://127.0.0.1:8080/v1 OPENAI_API_KEY=tg_live_…\n", soft_wrap=True)
    console.print("README.md has the rest.")
