"""The ledger's rules. Pure; `README.md` beside this file states the invariants.

A subject (a job, a call of inference) reserves once and is resolved once, by a post or by a void. What the reservation
does not cover is posted up to the limit, and the rest goes to `overage`, so no cost is ever lost and no limit silently
moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A month of a project, or of the organisation: amounts in micro-dollars, `limit` None when there is none.

    `organization` is the organisation's month, of which a project's is a part; None while nothing asks for it.
    """

    reserved: int
    spent: int
    overage: int
    limit: int | None
    organization: "Standing | None" = None

    @property
    def remaining(self) -> int | None:
        """What may still be reserved; None without a limit."""
        own = None if self.limit is None else max(0, self.limit - self.in_use)
        shared = self.organization.remaining if self.organization is not None else None
        return min((bound for bound in (own, shared) if bound is not None), default=None)

    @property
    def in_use(self) -> int:
        """What counts against the limit."""
        return self.reserved + self.spent + self.overage

    @property
    def posted(self) -> int:
        """What was spent, over the limit or not: what alerts watch."""
        return self.spent + self.overage

    def moved(self, booked: "Posting") -> "Standing":
        """The same month after a posting."""
        return replace(
            self,
            reserved=self.reserved - booked.released,
            spent=self.spent + booked.spent,
            overage=self.overage + booked.overage,
            organization=None if self.organization is None else self.organization.moved(booked),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """How an actual cost is booked against a reservation."""

    released: int
    spent: int
    overage: int


def post(*, actual: int, reserved: int, standing: Standing) -> Posting:
    """Book `actual` against a reservation of `reserved`, which `standing` still contains."""
    beyond = max(0, actual - reserved)
    remaining = standing.remaining
    covered = beyond if remaining is None else min(beyond, remaining)
    return Posting(released=reserved, spent=actual - beyond + covered, overage=beyond - covered)


def grant(amounts: Sequence[int], remaining: int | None) -> list[bool]:
    """Which of several reservations fit, the first come first; one that does not fit leaves room for smaller ones."""
    granted = []
    for amount in amounts:
        fits = remaining is None or amount <= remaining
        if fits and remaining is not None:
            remaining -= amount
        granted.append(fits)
    return granted
