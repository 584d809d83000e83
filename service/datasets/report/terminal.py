"""Prints a dataset report in a terminal, for `tunegate check FILE` and the demo."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from service.datasets.report_schema import FileReport, Finding, Leakage, Tokens

_STYLES = {"error": "bold red", "warning": "yellow", "info": "dim"}
_SYMBOLS = {"error": "✗", "warning": "!", "info": "·"}
_HEADINGS = {"error": "Errors, which stop a job", "warning": "Warnings, which cost quality or money", "info": "Notes"}
_BAR_CELLS = 32
_MAX_SHOWN_LINES = 12
_MAX_MESSAGES = 4
_VARIABLE = re.compile(r"[0-9][0-9,.]*|'[^']*'|`[^`]*`|\"[^\"]*\"")


def render_report(report: FileReport, console: Console, command: Callable[[str], str] | None = None) -> None:
    """Prints a report: verdict, figures, histogram of tokens, prices, findings with their lines, and notes.

    `command` makes the command that applies a fix; without it, the name of the fix is printed.
    """
    console.print()
    console.print(_verdict(report))
    console.print(Padding(_facts(report), (1, 0, 0, 2)))
    if report.tokens is not None and report.examples > 1 and report.tokens.histogram:
        console.print(Padding(_histogram(report), (1, 0, 0, 2)))
    if report.prices and report.billable_tokens:
        console.print(Padding(_prices(report), (1, 0, 0, 2)))
    for severity in ("error", "warning", "info"):
        _print_findings(report, severity, console, command or str)
    for note in report.notes:
        console.print(Padding(Text(f"Note: {note}", style="dim"), (1, 0, 0, 2)))
    console.print()


def render_findings(report: FileReport, console: Console, command: Callable[[str], str] | None = None) -> None:
    """Prints the verdict, the errors and the warnings of a report. `command` is that of `render_report`."""
    console.print()
    console.print(_verdict(report))
    for severity in ("error", "warning"):
        _print_findings(report, severity, console, command or str)


def render_leakage(found: Leakage, console: Console, *, shown: int = _MAX_SHOWN_LINES) -> None:
    """Prints the examples that a training and a validation file share: the first findings, the counts and notes."""
    console.print()
    for finding in found.findings[:shown]:
        line = Text(f"line {finding.line} of the validation file", style="dim").append(
            f"  {finding.message}", "default"
        )
        console.print(Padding(line, (0, 0, 0, 2)))
    if (more := len(found.findings) - shown) > 0:
        console.print(
            f"  and {more:,} more, which `tunegate check TRAIN --validation VALID --json` prints", soft_wrap=True
        )
    if not found.shared:
        console.print(f"None of the {found.validation_examples} validation examples is in the training file too.")
    else:
        console.print(
            f"{found.shared} of {found.validation_examples} validation examples are in the {found.training_examples} "
            f"training examples too: {found.exact} the same, {found.same_prompt} with the same prompt, {found.near} "
            "nearly the same."
        )
    for note in found.notes:
        console.print(note, markup=False)


def render_profile(seconds: Mapping[str, float], console: Console) -> None:
    """Prints a report's CPU time by step, over all its processes, the slowest step first."""
    total = sum(seconds.values())
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("CPU seconds", justify="right")
    table.add_column("share", justify="right")
    table.add_column(f"of {total:.2f} s", no_wrap=True)
    for name, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        table.add_row(f"{spent:.3f}", f"{spent / total:.1%}", name)
    console.print(table)


def _verdict(report: FileReport) -> Text:
    if report.status == "pending":
        return Text(f"… {report.file_id}: {report.progress:.0%} read", style="bold")
    text = Text()
    if report.errors:
        text.append("✗ Not ready to train: ", style="bold red")
        text.append(f"{plural(report.errors, 'error')} on {plural(report.lines_with_errors, 'line')}", style="bold")
    elif report.counts.get("too_few_examples"):
        text.append("! Valid, but too small to train on", style="bold yellow")
    else:
        text.append("✓ Ready to train", style="bold green")
    if report.warnings:
        text.append(f", {plural(report.warnings, 'warning')}", style="yellow")
    text.append(f"   {report.file_id}", style="dim")
    return text


def _facts(report: FileReport) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    size = f"{report.bytes:,} bytes"
    grid.add_row("Format", f"{report.format or 'not recognised'}, {plural(report.examples, 'example')}, {size}")
    grid.add_row("Model", f"{report.model}, at most {report.max_tokens:,} tokens an example")
    if report.tokens is not None and report.tokens.total:
        _add_tokens(grid, report, report.tokens)
    _add_billing(grid, report)
    return grid


def _add_tokens(grid: Table, report: FileReport, tokens: Tokens) -> None:
    parts = f"{tokens.total:,} ({tokens.encoding}), of which {tokens.trained:,} are trained"
    if tokens.definitions:
        parts += f" and {tokens.definitions:,} define tools"
    grid.add_row("Tokens", parts)
    each = tokens.per_example
    grid.add_row(
        "Per example",
        f"{each.min:,} to {each.max:,}; mean {each.mean:,.1f}, median {each.median:,.0f}, "
        f"p5 {each.p5:,.0f}, p95 {each.p95:,.0f}",
    )
    if report.examples_over_limit:
        examples = plural(report.examples_over_limit, "example")
        lost = f"{examples} over the limit, {report.tokens_over_limit:,} tokens lost"
        answers = f"{plural(report.answers_cut_off, 'answer')} lost entirely"
        grid.add_row("Cut off", Text(f"{lost}, {answers}", style="yellow"))


def _add_billing(grid: Table, report: FileReport) -> None:
    if report.default_epochs:
        grid.add_row("Epochs", report.epochs_reason)
        grid.add_row(
            "Billed",
            f"{report.billable_tokens_per_epoch:,} tokens x {plural(report.default_epochs, 'epoch')} = "
            f"[bold]{report.billable_tokens:,}[/bold] tokens",
        )
    if report.cookbook is not None and report.cookbook.billed_tokens != report.billable_tokens:
        figures = f"{report.cookbook.tokens:,} tokens an epoch, {report.cookbook.billed_tokens:,} billed"
        grid.add_row("By the cookbook", Text(figures, style="dim"))


def _histogram(report: FileReport) -> Table:
    """One bar for each bucket; a single row stands for consecutive empty buckets."""
    buckets = report.tokens.histogram if report.tokens is not None else []
    max_count = max(bucket.count for bucket in buckets)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    empty = 0
    for bucket in buckets:
        empty = 0 if bucket.count else empty + 1
        if empty:
            if empty == 1:
                grid.add_row("⋮", "", "")
            continue
        cells = max(1, round(bucket.count / max_count * _BAR_CELLS))
        over = bucket.start >= report.max_tokens
        bar = Text("█" * cells, style="red" if over else "cyan")
        grid.add_row(f"{bucket.start:,}-{bucket.end - 1:,}", bar, f"{bucket.count:,}")
    return grid


def _prices(report: FileReport) -> Table:
    """The price by model, and the date on which a model ends, where one of them ends."""
    ends = any(line.shutdown_date for line in report.prices)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("Train")
    table.add_column("Price", justify="right")
    if ends:
        table.add_column("Ends")
    for line in report.prices:
        price = "by the hour" if line.price is None else f"${line.price.value:,.2f}"
        if line.price is not None and 0 < line.price.value < 0.01:
            price = f"${line.price.value:.4f}"
        date = line.shutdown_date.isoformat() if line.shutdown_date else ""
        table.add_row(line.model, price, *([date] if ends else []))
    return table


def _print_findings(report: FileReport, severity: str, console: Console, command: Callable[[str], str]) -> None:
    by_code: dict[str, list[Finding]] = {}
    for finding in report.findings:
        if finding.severity == severity:
            by_code.setdefault(finding.code, []).append(finding)
    if not by_code:
        return
    style = _STYLES[severity]
    console.print(Padding(Text(_HEADINGS[severity], style=f"{style} underline"), (1, 0, 0, 2)))
    for code, findings in sorted(by_code.items(), key=lambda item: -report.counts.get(item[0], 0)):
        count = report.counts.get(code, len(findings))
        title = Text(f"{_SYMBOLS[severity]} {code}", style=style)
        title.append(f"  {count:,}x" if count > 1 else "", style="bold")
        title.append(f"  {_lines(findings, count)}", style="dim")
        console.print(Padding(title, (0, 0, 0, 2)))
        shown = _different(findings)
        for finding in shown[:_MAX_MESSAGES]:
            where = f"line {finding.line}: " if len(shown) > 1 else ""
            console.print(Padding(Text(f"{where}{finding.message}"), (0, 0, 0, 6)))
            if finding.excerpt:
                pointer = f"{finding.pointer}  " if finding.pointer else ""
                excerpt = Text(pointer, style="dim", no_wrap=True, overflow="ellipsis")
                excerpt.append(finding.excerpt, style="dim italic")
                console.print(Padding(excerpt, (0, 0, 0, 6)))
        if (fix := findings[0].fix) is not None:
            # a command must be pasted as one line, so it is not wrapped
            console.print(Text(f"      fix: {command(fix)}", style="green"), soft_wrap=True)


def _different(findings: Sequence[Finding]) -> list[Finding]:
    """The first finding of each message, where messages that differ in numbers and quoted texts count as the same."""
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(_VARIABLE.sub("", finding.message), finding)
    return list(first.values())


def _lines(findings: Sequence[Finding], count: int) -> str:
    lines = sorted({finding.line for finding in findings})
    shown = ", ".join(str(line) for line in lines[:_MAX_SHOWN_LINES])
    more = len(lines) > _MAX_SHOWN_LINES or count > len(findings)
    return f"line{'s' if len(lines) > 1 else ''} {shown}{', …' if more else ''}"


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 row`, `1,200 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
