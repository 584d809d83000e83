"""The shape of a dataset report: `file.report` of the wire contract, field for field.

Everything here is a frozen msgspec struct: it encodes to JSON and decodes back to an equal value, so that a report
can be stored, cached and answered without a second description of it.
"""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from service.billing.prices import Amount

Severity = Literal["error", "warning", "info"]
Format = Literal["chat", "completion", "preference", "reinforcement"]


class Bucket(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """`count` examples whose tokens lie in [`from`, `to`)."""

    start: int
    end: int
    count: int


class Distribution(msgspec.Struct, frozen=True):
    """Tokens per example. `p5` and `p95` are the 5th and the 95th percentile (linear interpolation between ranks)."""

    min: int
    max: int
    mean: float
    median: float
    p5: float
    p95: float


class Spread(msgspec.Struct, frozen=True):
    """Tokens per example as OpenAI's cookbook prints them."""

    min: int
    max: int
    mean: float
    median: float


class Tokens(msgspec.Struct, frozen=True):
    """Tokens of the whole file, once through (one epoch), before anything is cut off.

    `trained` is what the model learns to say: answers and calls of assistant messages whose weight is not 0.
    `definitions` is the cost of tool definitions. Both are parts of `total`.
    """

    encoding: str
    total: int
    trained: int
    definitions: int
    per_example: Distribution
    histogram: list[Bucket]


class Cookbook(msgspec.Struct, frozen=True):
    """What OpenAI's cookbook notebook prints for the same file, with its faults, for comparison only.

    `tokens` is cut at the model's limit and for one epoch. `uncountable_examples` are those at which the notebook
    itself would stop with an exception (null content, lists, weights, tools); their strings are counted.
    """

    tokens: int
    n_epochs: int
    billed_tokens: int
    per_example: Spread
    uncountable_examples: int


class PriceLine(msgspec.Struct, frozen=True):
    """The price of training a model on this file for the default epochs; null where a model is not billed by the
    token.
    """

    model: str
    price: Amount | None
    shutdown_date: datetime.date | None


class Finding(msgspec.Struct, frozen=True):
    """One thing to know about one line. `line` is 1-based, `pointer` an RFC 6901 pointer into that line's object."""

    code: str
    severity: Severity
    line: int
    pointer: str
    excerpt: str
    message: str
    fix: str | None


class Leakage(msgspec.Struct, frozen=True, kw_only=True):
    """What a validation file shares with the training file: the more, the less its loss says about new examples.

    `exact`, `same_prompt` and `near` count validation examples; one counts once, as the worst of the three, and
    `share` is the part of all that they make. `findings` name lines of the validation file, one each, capped per code.
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
        """How many validation examples are in the training file too, in whatever way."""
        return self.exact + self.same_prompt + self.near


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about a dataset file. `errors`, `warnings` and `counts` are exact; `findings` is capped per
    code.

    `examples` counts the lines that hold a JSON object, `lines_with_errors` the lines with at least one error.
    `billable_tokens` is for all `default_epochs`; `billable_tokens_per_epoch` for one, each example cut at
    `max_tokens`. `item_fields` says in how many rows each top-level field stands (a reinforcement grader's template
    needs them in all). `notes` says in words what was sampled, estimated or left out. `leakage` is there where a
    validation file was named.
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
    """The report of a file that is still being read: no figures yet, and `progress` as the share of bytes read."""
    progress = min(bytes_done / bytes_total, 1.0) if bytes_total else 0.0
    return FileReport(
        file_id=file_id, status="pending", progress=progress, model=model, max_tokens=max_tokens, bytes=bytes_total
    )
