"""Estimates the GPU-seconds of a training from the speed of finished ones of its kind. Pure.

The speed of a job is its trained tokens by GPU-second. Speeds differ by factors, so they are compared as logarithms:
the expected speed is the median, and their spread follows from the interquartile range, so that neither is moved by
single outliers, while two kinds of hardware behind one account show as a wide interval.
The interval is the predictive one for one more job: a Student-t interval whose variance starts at a spread assumed
before any job (`PRIOR_SPREAD`, worth `PRIOR_JOBS` jobs) and approaches the measured one, as in a normal model with a
scaled inverse chi-squared prior (Gelman et al., Bayesian Data Analysis, 3rd ed., section 3.3). So it is wide after one
job and as wide as the jobs differ after many. Only the newest `WINDOW` jobs count, so that it follows other hardware.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Literal

WINDOW = 20
PRIOR_SPREAD = 0.25
"""The standard deviation of the logarithm of the speed that is assumed before it was measured: about 25 percent."""

PRIOR_JOBS = 2
DOCUMENTED_FACTOR = 2.0
"""How far a documented speed may be from the real one, either way, before any job has finished."""

QUARTILES_OF_NORMAL = 1.349
"""A normal distribution's interquartile range by its standard deviation."""

# fmt: off
T_95 = (
    6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812, 1.796,
    1.782, 1.771, 1.761, 1.753, 1.746, 1.740, 1.734, 1.729, 1.725, 1.721,
)
# fmt: on
"""Student's t: the 95th percentile for 1, 2, … degrees of freedom (NIST/SEMATECH e-Handbook, table 1.3.6.7.2). So a job
takes more than the upper bound once in twenty times, and less than the lower one as often."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A finished job: its trained tokens and GPU-seconds, and the estimate that it began with, if it had one."""

    tokens: int
    gpu_seconds: float
    estimate: "GpuSeconds | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuSeconds:
    """Estimated GPU-seconds: between `low` and `high` in nine of ten cases. `jobs` is how many it was derived from.

    `source`: finished jobs, or the speed that the models file documents.
    """

    low: float
    expected: float
    high: float
    jobs: int
    source: Literal["jobs", "documented"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PastError:
    """How past estimates came out: over so many jobs, the median of actual by expected GPU-seconds, and how many jobs
    ended within their interval."""

    jobs: int
    actual_to_expected: float
    within: int


def estimate_gpu_seconds(tokens: int, finished: Sequence[Measured], *, documented: float | None) -> GpuSeconds | None:
    """The GPU-seconds of training on `tokens`; `finished` are jobs of the same kind, the newest first.

    `documented` is a speed in tokens by GPU-second, which counts until a job has finished. None without either.
    """
    speeds = [math.log(job.tokens / job.gpu_seconds) for job in finished[:WINDOW]]
    if speeds:
        middle, spread = median(speeds), _half_width(speeds)
        return _around(tokens / math.exp(middle), math.exp(spread), jobs=len(speeds), source="jobs")
    if documented is not None:
        return _around(tokens / documented, DOCUMENTED_FACTOR, jobs=0, source="documented")
    return None


def envelope(estimates: Sequence[GpuSeconds | None]) -> GpuSeconds | None:
    """One estimate for a job that may run at any of several accounts, the preferred one first.

    Expected is what the preferred account takes; the bounds are those of all. Accounts without an estimate are left
    out.
    """
    known = [each for each in estimates if each is not None]
    if not known:
        return None
    first = known[0]
    return GpuSeconds(
        low=min(each.low for each in known),
        expected=first.expected,
        high=max(each.high for each in known),
        jobs=first.jobs,
        source=first.source,
    )


def past_error(finished: Sequence[Measured]) -> PastError | None:
    """The error of the estimates that the newest jobs began with; None if none of them had one."""
    pairs = [(job.gpu_seconds, job.estimate) for job in finished[:WINDOW] if job.estimate is not None]
    if not pairs:
        return None
    return PastError(
        jobs=len(pairs),
        actual_to_expected=median(actual / estimate.expected for actual, estimate in pairs),
        within=sum(estimate.low <= actual <= estimate.high for actual, estimate in pairs),
    )


def _half_width(speeds: Sequence[float]) -> float:
    known = len(speeds) - 1
    lower, _, upper = quantiles(speeds, n=4) if known else (0.0, 0.0, 0.0)
    measured = (upper - lower) / QUARTILES_OF_NORMAL
    degrees = PRIOR_JOBS + known
    deviation = math.sqrt((PRIOR_JOBS * PRIOR_SPREAD**2 + known * measured**2) / degrees)
    return T_95[degrees - 1] * deviation * math.sqrt(1 + 1 / len(speeds))


def _around(expected: float, factor: float, *, jobs: int, source: Literal["jobs", "documented"]) -> GpuSeconds:
    return GpuSeconds(low=expected / factor, expected=expected, high=expected * factor, jobs=jobs, source=source)
