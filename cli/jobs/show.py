"""How jobs are printed: as a table, with all fields, and as the result of a training."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from cli.output import (
    Cell,
    Column,
    dollars,
    duration,
    moment,
    number,
    print_fields,
    print_table,
    printable,
    status,
    verdict_name,
)

COLUMNS = (
    Column("id", whole=True),
    Column("status", whole=True),
    Column("model", fold=True, spare=True),
    Column("created", spare=True),
    Column("loss", "right"),
    Column("valid", "right"),
    Column("cost", "right"),
    Column("time", "right", spare=True),
    Column("verdict, or why it waits", fold=True),
)


def show_jobs(jobs: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print jobs as a table: of the losses the final one in training, and the lowest on held-out examples."""
    rows = [
        (
            job["id"],
            status(job["status"]),
            job["fine_tuned_model"] or job["model"],
            moment(job["created_at"]),
            _loss(_summary(job, "train_loss").get("final")),
            _loss(_summary(job, "valid_loss").get("best")),
            dollars(job["cost"] or job["expected_cost"]),
            duration(job["duration_seconds"]),
            _remark(job),
        )
        for job in jobs
    ]
    print_table(COLUMNS, rows, console, empty="There are no such jobs.")


def show_job(job: Mapping[str, Any], console: Console) -> None:
    """Print all that is known of a job."""
    print_fields(_fields(job), console)
    _show_verdict(job, console)
    _show_warnings(job, console)


def show_result(job: Mapping[str, Any], console: Console) -> None:
    """Print how a job ended: its model, losses, verdict, cost, and the command to call the model."""
    succeeded = job["status"] == "succeeded"
    title = Text("✓ " if succeeded else "✗ ", style="bold green" if succeeded else "bold red")
    title.append(f"{job['id']} {job['status']}", style="bold")
    console.print()
    console.print(title)
    if job["error"] is not None:
        console.print(Text(f"  {printable(job['error']['message'])}", style="red"), soft_wrap=True)
    print_fields(((f"  {name}", value) for name, value in _outcome(job)), console)
    _show_verdict(job, console)
    if succeeded and job["fine_tuned_model"]:
        model = (job["verdict"] or {}).get("recommended_checkpoint") or job["fine_tuned_model"]
        console.print()
        console.print(Text(f"  tunegate ask {model} 'Your question'"), soft_wrap=True)


def loss_line(job: Mapping[str, Any], name: str) -> str | None:
    """A loss as `0.061 at step 141, lowest 0.058 at step 120`; None if there is none."""
    if not (summary := _summary(job, name)):
        return None
    text = f"{_loss(summary['final'])} at step {summary['final_step']}"
    if summary["best_step"] != summary["final_step"]:
        text += f", lowest {_loss(summary['best'])} at step {summary['best_step']}"
    return text


def _fields(job: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    method = job["method"]
    parameters = (method.get(method["type"]) or {}).get("hyperparameters") or {}
    yield "id", job["id"]
    yield "status", status(job["status"])
    if job["error"] is not None:
        yield "error", f"{job['error']['message']} ({job['error']['code']})"
    if (waiting := job["waiting"]) is not None:
        yield "waits", _waiting(waiting)
    yield "model", job["model"]
    yield "training file", _file(job, "training_file")
    yield "validation file", _file(job, "validation_file")
    yield "method", method["type"]
    yield from ((name, _figure(value)) for name, value in parameters.items() if value is not None)
    yield from ((f"adapter {name}", _figure(value)) for name, value in (job["adapter"] or {}).items() if value)
    yield "suffix", job["suffix"]
    yield "seed", str(job["seed"])
    yield "metadata", ", ".join(f"{name}={value}" for name, value in (job["metadata"] or {}).items())
    yield "created", moment(job["created_at"])
    if (creator := job["created_by"]) is not None:
        yield "created by", f"{creator['name'] or creator['id']} ({creator['type'].replace('_', ' ')})"
    if (experiment := job["experiment"]) is not None:
        yield "experiment", f"{experiment['id']}, arm {experiment['arm']}"
    yield "estimated finish", moment(job["estimated_finish"])
    yield "finished", moment(job["finished_at"])
    yield from _outcome(job)
    yield "result files", ", ".join(job["result_files"])


def _outcome(job: Mapping[str, Any]) -> Iterator[tuple[str, Cell]]:
    yield "tuned model", job["fine_tuned_model"]
    yield "loss", loss_line(job, "train_loss")
    yield "validation loss", loss_line(job, "valid_loss")
    if (tokens := job["trained_tokens"]) is not None:
        rate = job["tokens_per_second"]
        yield "trained", f"{tokens:,} tokens" + (f", {number(rate)} a second" if rate else "")
    cost, expected = dollars(job["cost"]), dollars(job["expected_cost"])
    if cost is not None:
        yield "cost", cost if expected is None else f"{cost}, {expected} expected"
    else:
        yield "expected cost", expected
    yield "time", duration(job["duration_seconds"])


def _show_verdict(job: Mapping[str, Any], console: Console) -> None:
    if (verdict := job["verdict"]) is None:
        return
    console.print()
    title = Text("  Verdict: ", style="bold").append(verdict_name(verdict["kind"]), style="bold cyan")
    console.print(title.append(f". {printable(verdict['message'])}", style="default not bold"), soft_wrap=True)
    for advice in verdict["advice"]:
        line = f"  - {advice['setting']}: {advice['change']}. {advice['reason']}"
        console.print(Text(printable(line)), soft_wrap=True)


def _show_warnings(job: Mapping[str, Any], console: Console) -> None:
    for warning in job["warnings"]:
        console.print(Text(f"  ! {printable(warning['message'])}", style="yellow"), soft_wrap=True)


def _remark(job: Mapping[str, Any]) -> str | None:
    if (waiting := job["waiting"]) is not None:
        return _waiting(waiting)
    verdict = job["verdict"]
    return None if verdict is None else verdict_name(verdict["kind"])


def _waiting(waiting: Mapping[str, Any]) -> str:
    start = waiting["estimated_start"]
    return str(waiting["message"]) + (f" It starts about {moment(start)}." if start is not None else "")


def _summary(job: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return job["metrics_summary"][name] or {}


def _file(job: Mapping[str, Any], name: str) -> str | None:
    if job[name] is None:
        return None
    filename = job[f"{name}_name"]
    return f"{filename} ({job[name]})" if filename else str(job[name])


def _loss(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _figure(value: Any) -> str | None:
    """A number of a training: `0.0614`, `12.5`, `3`; lists and texts as they are."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return None if value is None else str(value)
