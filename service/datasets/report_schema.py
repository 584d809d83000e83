"""The schema of a dataset report, `file.report` in the API.

All types are frozen msgspec structs, which decode from JSON to an equal value, so the same types serve for storing,
caching and returning a report.
"""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from service.billing.prices import Amount

Severity = Literal["error", "warning", "info"]
Format = Literal["chat", "completion", "preference", "reinforcement"]


class Bucket(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """A bucket of a histogram: `count` examples have at least `from` and fewer than `to` tokens."""

    start: int
    end: int
    count: int


class Distribution(msgspec.Struct, frozen=True):
    """Tokens per example. `p5` and `p95` are the 5th and 95th percentiles (linear interpolation between ranks)."""

    min: int
    max: int
    mean: float
    median: float
    p5: float
    p95: float


class Spread(msgspec.Struct, frozen=True):
    """Tokens per example, with the figures that OpenAI's cookbook prints."""

    min: int
    max: int
    mean: float
    median: float


class Tokens(msgspec.Struct, frozen=True):
    """Tokens of the whole file for one epoch, before any example is cut off.

    `trained` counts the tokens that the model learns to generate: the answers and calls of assistant messages whose
    weight is not 0, for an open model with the token that ends each. `definitions` counts the tokens of tool
    definitions. Both are included in `total`.
    """

    encoding: str
    total: int
    trained: int
    definitions: int
    per_example: Distribution
    histogram: list[Bucket]


class Cookbook(msgspec.Struct, frozen=True):
    """What OpenAI's cookbook notebook prints for the same file, including its faults, for comparison only.

    `tokens` is for one epoch, with each example cut at the model's limit. `uncountable_examples` is the number of
    examples for which the notebook raises an exception (null content, lists, weights, tools); their strings are
    counted here.
    """

    tokens: int
    n_epochs: int
    billed_tokens: int
    per_example: Spread
    uncountable_examples: int


class PriceLine(msgspec.Struct, frozen=True):
    """The price of training a model on this file for the default epochs; null if it is not billed by the token."""

    model: str
    price: Amount | None
    shutdown_date: datetime.date | None


class Finding(msgspec.Struct, frozen=True):
    """A finding on one line. `line` is 1-based; `pointer` is a JSON pointer (RFC 6901) into the line's object."""

    code: str
    severity: Severity
    line: int
    pointer: str
    excerpt: str
    message: str
    fix: str | None


class Leakage(msgspec.Struct, frozen=True, kw_only=True):
    """The examples that a validation file shares with the training file. They make the validation loss misleading.

    `exact`, `same_prompt` and `near` count validation examples; each example counts once, in the worst category that
    applies. `share` is their fraction of the compared validation examples. Each finding names one line of the
    validation file; `findings` is capped per code.
    """

    validation_file: str
    status: Literal["pending", "ready"]
    progress: float = 1.0
    training_examples: int = 0
    validation_examples: int = 0
    exact: int = 0
    same_prompt: int = 0
    near: int = 0
    share: float = 0.0
    findings: list[Finding] = []
    notes: list[str] = []

    @property
    def shared(self) -> int:
        """The number of validation examples that are also in the training file, in any category."""
        return self.exact + self.same_prompt + self.near


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a dataset file: its findings, tokens and prices.

    `errors`, `warnings`, `infos` and `counts` are exact; `findings` is capped per code. `examples` counts the lines
    that hold a JSON object, `lines_with_errors` the lines with at least one error. `billable_tokens_per_epoch` counts
    each example up to `max_tokens`; `billable_tokens` is that for all `default_epochs`. `item_fields` counts the rows
    that have each top-level field (a reinforcement grader's template needs its fields in all rows). `notes` says what
    was sampled, estimated or omitted. `leakage` is present if the request named a validation file.
    """

    object: Literal["file.report"] = "file.report"
    file_id: str
    status: Literal["pending", "ready"]
    progress: float
    model: str
    max_tokens: int
    format: Format | None = None
    bytes: int = 0
    examples: int = 0
    lines_with_errors: int = 0
    tokens: Tokens | None = None
    tokens_over_limit: int = 0
    examples_over_limit: int = 0
    answers_cut_off: int = 0
    default_epochs: int = 0
    epochs_reason: str = ""
    billable_tokens_per_epoch: int = 0
    billable_tokens: int = 0
    cookbook: Cookbook | None = None
    prices: list[PriceLine] = []
    errors: int = 0
    warnings: int = 0
    infos: int = 0
    counts: dict[str, int] = {}
    findings: list[Finding] = []
    item_fields: dict[str, int] = {}
    notes: list[str] = []
    leakage: Leakage | None = None


def pending_report(*, file_id: str, model: str, max_tokens: int, bytes_total: int, bytes_done: int = 0) -> FileReport:
    """The report of a file that is still being read: no figures, and `progress` as the fraction of bytes read."""
    progress = min(bytes_done / bytes_total, 1.0) if bytes_total else 0.0
    return FileReport(
        file_id=file_id, status="pending", progress=progress, model=model, max_tokens=max_tokens, bytes=bytes_total
    )


def first_errors(report: FileReport, limit: int = 5) -> str:
    """The report's first errors in one line, for `status_details` and `error.message`; "" if there are none."""
    if not report.errors:
        return ""
    shown = [finding for finding in report.findings if finding.severity == "error"][:limit]
    text = "; ".join(f"line {finding.line}: {finding.message.rstrip('.')}" for finding in shown)
    more = f" ({report.errors:,} errors in all)" if report.errors > len(shown) else ""
    return f"{text}{more}."
