"""The section of `docs/limits.md` that lists every bound."""

from service.documented_limits.evaluation import EVALUATION
from service.documented_limits.files import FILES
from service.documented_limits.keys import KEYS
from service.documented_limits.places import PLACES
from service.documented_limits.requests import REQUESTS
from service.documented_limits.work import WORK

HEADING = "## All limits\n"


GROUPS = {
    "Requests": REQUESTS,
    "Keys and rates": KEYS,
    "Files": FILES,
    "Schemas, patterns and graders": EVALUATION,
    "Places that projects share": PLACES,
    "Work of workers": WORK,
}


def limits_markdown() -> str:
    """The section that lists every bound."""
    parts = [HEADING, "\nThis section is generated from the code: `make docs`. ", INTRODUCTION]
    for title, limits in GROUPS.items():
        rows = "".join(
            f"| {each.name} | {each.value} | {each.counted} | {each.above} | {each.change} | {each.honest_use} |\n"
            for each in limits
        )
        if rows:
            parts.append(
                f"\n### {title}\n\n| limit | value | counted per | above it | changed by | checked against |\n"
                f"|---|---|---|---|---|---|\n{rows}"
            )
    return "".join(parts)


INTRODUCTION = (
    "Whatever a caller's bytes decide has a bound, which is checked before the\ncost arises. A bound that is counted "
    "per project does not depend on what other projects do.\n"
    "One that is counted in a process is that of each process of `tunegate serve --processes`.\n"
)


def with_limits(page: str) -> str:
    """The page with its last section regenerated."""
    return page.partition(HEADING)[0] + limits_markdown()
