"""The ledger's rules. Pure; `README.md` beside this file states the invariants.

A subject (a job, an inference call) reserves once and is resolved once, by a post or by a void. A cost above its
reservation is posted up to the limit, and the rest becomes `overage`, so no cost is lost and no limit is silently
raised.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

GPU_LINE_ITEM = "GPU-seconds "
"""How the line items begin whose quantity is in GPU-seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthBalance:
    """A project's or the organisation's balance of a month, in micro-dollars; `limit` None means no limit.

    `organization` is the organisation's balance, which includes the project's; None while it is not maintained.
    """

    reserved: int
    spent: int
    overage: int
    limit: int | None
    organization: "MonthBalance | None" = None

    @property
    def remaining(self) -> int | None:
        """The amount that may still be reserved; None without a limit."""
        own = None if self.limit is None else max(0, self.limit - self.in_use)
        shared = self.organization.remaining if self.organization is not None else None
        return min((bound for bound in (own, shared) if bound is not None), default=None)

    @property
    def in_use(self) -> int:
        """The amount that counts against the limit."""
        return self.reserved + self.spent + self.overage

    @property
    def posted(self) -> int:
        """The amount spent, within the limit or above it, which alerts compare with their thresholds."""
        return self.spent + self.overage

    def after_posting(self, posting: "Posting") -> "MonthBalance":
        """The balance after a posting."""
        return replace(
            self,
            reserved=self.reserved - posting.released,
            spent=self.spent + posting.spent,
            overage=self.overage + posting.overage,
            organization=None if self.organization is None else self.organization.after_posting(posting),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """How an actual cost is posted against a reservation."""

    released: int
    spent: int
    overage: int


def line_item(model: str, *, by_gpu_second: bool) -> str:
    """The line item of a job, by which costs are grouped; its quantity is in tokens or in GPU-seconds."""
    return f"{GPU_LINE_ITEM if by_gpu_second else 'training '}{model}"


def post(*, actual: int, reserved: int, balance: MonthBalance) -> Posting:
    """Post `actual` against a reservation of `reserved`, which `balance` still includes."""
    beyond = max(0, actual - reserved)
    remaining = balance.remaining
    covered = beyond if remaining is None else min(beyond, remaining)
    return Posting(released=reserved, spent=actual - beyond + covered, overage=beyond - covered)


def grant(amounts: Sequence[int], remaining: int | None) -> list[bool]:
    """Which of several reservations fit, in their order; one that does not fit leaves room for later, smaller ones."""
    granted = []
    for amount in amounts:
        fits = remaining is None or amount <= remaining
        if fits and remaining is not None:
            remaining -= amount
        granted.append(fits)
    return granted
