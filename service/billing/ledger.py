"""The ledger's rules. Pure; `README.md` beside this file states the invariants.

A subject (a job) reserves once and is resolved once, by a post or by a void. What the reservation does not cover is
posted up to the project's limit, and the rest goes to `overage`, so no cost is ever lost and no limit silently moved.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A project's month: amounts in micro-dollars, `limit` None when there is none."""

    reserved: int
    spent: int
    overage: int
    limit: int | None

    @property
    def remaining(self) -> int | None:
        """What may still be reserved; None without a limit."""
        if self.limit is None:
            return None
        return max(0, self.limit - self.reserved - self.spent - self.overage)


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
