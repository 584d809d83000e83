"""The program of a counting process (`token_counts.ProcessCounts`)."""

from service.inference.token_counts import COUNTING_SECONDS, CountRequest, count_tokens
from service.processes.guard import guarded
from service.processes.program import Report, serve


def answer(request: CountRequest, report: Report) -> int:
    """The number of tokens of a request's texts."""
    with guarded("counting tokens", cpu_seconds=COUNTING_SECONDS):
        return count_tokens(request.texts, request.encoding)


if __name__ == "__main__":
    serve(CountRequest, answer, niceness=0)
