"""The program of a counting process (`token_counts.ProcessCounts`)."""

import signal

from service.inference.token_counts import COUNTING_SECONDS, CountRequest, count_tokens
from service.processes.guard import guarded
from service.processes.program import Report, serve


def answer(request: CountRequest, report: Report) -> int:
    """The number of tokens of a request's texts."""
    with guarded("counting tokens", cpu_seconds=COUNTING_SECONDS):
        return count_tokens(request.texts, request.encoding)


if __name__ == "__main__":
    # Supervisors and terminals send these to every process of a service; the API ends this one, after its last count.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    serve(CountRequest, answer, niceness=0)
