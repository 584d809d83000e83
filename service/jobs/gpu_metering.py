"""The GPU-seconds that an upstream meters for a job, as far as they can be true. Pure."""

from service.billing.prices import gpu_cost_micros

MAX_GPUS = 1024
"""More GPUs than a job trains on. What they cannot have used since the job was admitted is not believed."""

CLOCK_SKEW_SECONDS = 3600.0


def believed(reported: float | None, *, elapsed_seconds: float) -> float | None:
    """What an upstream reports; None for more than a job can have used in `elapsed_seconds`, since its admission."""
    if reported is None or reported > MAX_GPUS * (elapsed_seconds + CLOCK_SKEW_SECONDS):
        return None
    return reported


def metered(believed_now: float | None, *, before: float | None) -> float | None:
    """The GPU-seconds of a job so far, which never become fewer: a restarted upstream may report less than before."""
    return max((each for each in (believed_now, before) if each is not None), default=None)


def is_spent(budget_micros: int | None, *, gpu_seconds: float | None, price_micros_per_gpu_second: int | None) -> bool:
    """Whether a job has cost as much as its budget."""
    if budget_micros is None or gpu_seconds is None or price_micros_per_gpu_second is None:
        return False
    return gpu_cost_micros(gpu_seconds, price_micros_per_gpu_second) >= budget_micros
