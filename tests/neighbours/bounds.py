"""What a round has measured, and which of the promised bounds it exceeds. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.neighbours.memory import Peaks
from tests.neighbours.victim import Measured

MAX_RATIO, MAX_SECONDS = 3.0, 1.0
MAX_GROWTH_MB = 300
MAX_LEFT_MB = 64
"""What API and worker may still occupy more than before once the attack is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """An attack, with the victim's operations before it, during it and after it.

    `answers` are the statuses that the attacker got, 0 for connections that ended without one. `left` says what had not
    gone some time after the attack.
    """

    attack: str
    quiet: Measured
    attacked: Measured
    after: Measured
    growth: dict[str, int]
    answers: Counter[int]
    left: Sequence[str] = ()

    def exceeded(self) -> list[str]:
        """A sentence for each bound that the round exceeds."""
        found = [f"{self.attack}: under attack: {failure}" for failure in self.attacked.failures]
        found += [f"{self.attack}: afterwards: {failure}" for failure in self.after.failures]
        for operation in self.quiet.seconds:
            before, during, after = (each.p99(operation) for each in (self.quiet, self.attacked, self.after))
            if during > _bound(max(before, after)):
                found.append(f"{self.attack}: {operation}: {during:.2f} s, quiet: {before:.2f} and {after:.2f} s")
            if after > _bound(before):
                found.append(f"{self.attack}: {operation}: {after:.2f} s afterwards, {before:.2f} s before")
        for process, growth in self.growth.items():
            if growth > MAX_GROWTH_MB:
                found.append(f"{self.attack}: {process} grew by {growth} MB")
        return found + [f"{self.attack}: {each}" for each in self.left]


def _bound(quiet_seconds: float) -> float:
    return max(MAX_RATIO * quiet_seconds, MAX_SECONDS)


def growth_of(quiet: Peaks, attacked: Peaks) -> dict[str, int]:
    """By how many MB each program has grown."""
    return {label: growth for label, growth in attacked.growth(quiet).items() if growth > 0}


def table(rounds: Sequence[Round]) -> str:
    """The rounds as a table in Markdown: p99 in ms before and under attack, samples, and the largest growth."""
    if not rounds:
        return ""
    operations = list(rounds[0].quiet.seconds)
    lines = [
        "| attacker | " + " | ".join(operations) + " | n | growth | answers | exceeded |",
        "|---" * (len(operations) + 5) + "|",
    ]
    for each in rounds:
        times = [f"{1000 * each.quiet.p99(name):,.0f} / {1000 * each.attacked.p99(name):,.0f}" for name in operations]
        count = sum(len(taken) for taken in each.attacked.seconds.values())
        growth = max(((size, name) for name, size in each.growth.items()), default=(0, ""))
        answers = ", ".join(f"{status or 'cut'}: {number:,}" for status, number in sorted(each.answers.items()))
        cells = [*times, f"{count:,}", f"{growth[0]} MB {growth[1]}".strip(), answers or "none", len(each.exceeded())]
        lines.append(f"| {each.attack} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)
