"""The steps of `tunegate demo --llm`: a model learns to route support tickets, and is compared with its base."""

import time
from collections.abc import Sequence
from typing import Any

import openai
from openai.types.fine_tuning import FineTuningJob
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from cli.demo import steps
from cli.demo.durations import Durations
from cli.demo.llm_figures import answers_table, comparison_table, held_out_losses
from cli.demo.steps import DemoFailed, Prompt, Training, report_step
from cli.demo.weights import MODEL
from cli.stack import Ready

TRAINING = Training(
    model=MODEL,
    folder=steps.EXAMPLES / "ticket-routing",
    epochs=2,
    suffix="routing",
    limit_seconds=1200.0,
    options={"batch_size": 4},
)
TICKETS = (
    "The webinar crashed in front of 300 guests and it is still running, help!",
    "You billed us for two licences that we gave back in spring",
    "Is there a version for small museums, and what would it cost?",
    "My package went to our old flat; can you send it on?",
)
"""What a user may ask: written for this demo, and in none of its files."""

FORM = r"(billing|technical|account|shipping|sales), (urgent|normal)"
GRADERS = ({"type": "regular_expression", "pattern": FORM, "whole": True}, {"type": "exact"})
MAX_TOKENS = 12
COMPARISON_SECONDS = 600.0


def run_story(ready: Ready, console: Console, training: Training = TRAINING) -> None:
    """Run all steps. Raises `DemoFailed` or the SDK's errors."""
    client, durations = openai.OpenAI(base_url=ready.base_url, api_key=ready.api_key), Durations()
    with durations.step("files and price"):
        *files, test = (
            steps.upload(client, console, training.folder / f"{name}.jsonl") for name in ("train", "valid", "test")
        )
        steps.show_report(client, console, files[0])
        quote = steps.ask_for_quote(client, console, training, files, "your own hardware has no price here")
    with durations.step("training"):
        job = steps.train(client, console, training, files, quote)
    assert job.fine_tuned_model is not None
    _show_held_out_loss(client, console, job)
    with durations.step("comparison"):
        comparison = _compare(client, console, [training.model, job.fine_tuned_model], test.id)
    console.print()
    console.print(comparison_table(comparison))
    with durations.step("answers"), console.status("Asking both models"):
        rows = _ask(client, [training.model, job.fine_tuned_model], Prompt.first_of(training.folder / "test.jsonl"))
    console.print(answers_table(rows))
    _sum_up(console, job, comparison, durations)


def _show_held_out_loss(client: openai.OpenAI, console: Console, job: FineTuningJob) -> None:
    answer = client.get(f"/fine_tuning/jobs/{job.id}/metrics", cast_to=object)
    assert isinstance(answer, dict)
    losses = held_out_losses(answer["data"])
    if losses:
        report_step(
            console,
            f"Held-out loss: {' → '.join(f'{each:.3f}' for each in losses)}",
            "on the validation file, of which nothing is trained, after each epoch",
        )


def _compare(client: openai.OpenAI, console: Console, models: Sequence[str], file: str) -> dict[str, Any]:
    body = {"models": models, "file": file, "graders": GRADERS, "max_tokens": MAX_TOKENS}
    began = time.monotonic()
    with console.status("Comparing") as status:
        shown = client.post("/model_comparisons", body=body, cast_to=object)
        assert isinstance(shown, dict)
        while shown["status"] in ("pending", "running"):
            if time.monotonic() - began > COMPARISON_SECONDS:
                raise DemoFailed(f"The comparison is still {shown['status']} after {COMPARISON_SECONDS:.0f} seconds.")
            time.sleep(steps.POLL_SECONDS)
            status.update(f"Comparing: {shown['progress']['done']} of {shown['progress']['total']} tickets")
            shown = client.get(f"/model_comparisons/{shown['id']}", cast_to=object)
            assert isinstance(shown, dict)
    if shown["status"] != "succeeded":
        raise DemoFailed(f"The comparison {shown['status']}: {shown['error'] and shown['error']['message']}")
    calls = f"{shown['progress']['calls']} answers in {time.monotonic() - began:.0f} s"
    report_step(console, "Compared base and tuned model", f"{calls}, {shown['id']}")
    return shown


def _ask(client: openai.OpenAI, models: Sequence[str], form: Prompt) -> list[tuple[str, str, str]]:
    rows = []
    for ticket in TICKETS:
        base, tuned = (
            steps.answer_of(client, model, form.with_text(ticket), max_tokens=MAX_TOKENS) for model in models
        )
        rows.append((ticket, base, tuned))
    return rows


def _sum_up(console: Console, job: FineTuningJob, comparison: dict[str, Any], durations: Durations) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("model", str(job.fine_tuned_model))
    facts.add_row("tokens", f"{job.trained_tokens or 0:,} trained")
    facts.add_row("spent", f"{steps.money(comparison['cost'])} for the comparison, nothing for the training")
    facts.add_row("time", durations.line())
    console.print()
    console.print(Panel(facts, title="[bold]Done", title_align="left", border_style="green", expand=False))
    console.print(
        "Go on with a stack that keeps what you make, with this model and those that you add to the folder:\n"
    )
    console.print("  .venv-llm/bin/tunegate dev --engine transformers --models models\n", soft_wrap=True)
    console.print("docs/own-hardware.md says which model fits which machine.")
