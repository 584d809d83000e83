"""What a share of the training data has: how many examples, and between which bounds its tokens lie. Pure."""

import math
from typing import NamedTuple

import msgspec

from service.datasets.report_schema import FileReport


class ShareReports(NamedTuple):
    """What the report of a share may say: with the fewest tokens that are possible, those to expect, and the most."""

    low: FileReport
    expected: FileReport
    upper: FileReport


def share_size(examples: int, share: float) -> int:
    """The number of examples of a share: rounded up, so that no share is empty."""
    return min(examples, max(1, math.ceil(round(examples * share, 6))))


def reports_of_share(report: FileReport, share: float) -> ShareReports:
    """The bounds of a share, whichever examples are drawn: the longest ones or the shortest, and the rest the others.

    The expected tokens are in proportion. The whole file has its own report.
    """
    if share >= 1.0:
        return ShareReports(report, report, report)
    whole, examples = report.billable_tokens_per_epoch, share_size(report.examples, share)
    rest = report.examples - examples
    shortest, longest = 0, whole
    if report.tokens is not None:
        spread = report.tokens.per_example
        shortest, longest = min(spread.min, report.max_tokens), min(spread.max, report.max_tokens)
    low = max(examples * shortest, whole - rest * longest, 0)
    upper = max(min(examples * longest, whole - rest * shortest, whole), low)
    expected = min(max(math.ceil(whole * examples / max(1, report.examples)), low), upper)
    return ShareReports(*(_with(report, examples, tokens) for tokens in (low, expected, upper)))


def _with(report: FileReport, examples: int, tokens: int) -> FileReport:
    return msgspec.structs.replace(report, examples=examples, billable_tokens_per_epoch=tokens)
