"""A program that checks the lines of a chat file, as the process of reports does: `python -m …report_program`."""

from typing import Any

from service.catalogue import models_file
from service.catalogue.counting import facts
from service.catalogue.tokens import reference_counter
from service.datasets.parsing.lines import read_blocks
from service.datasets.report.parts import PartReader, Task
from service.processes.program import Report, serve

MAX_LINE_BYTES = 1 << 24
MODEL = facts(models_file.load("").default)


def answer(request: dict[str, Any], progress: Report) -> Any:
    """The counts of findings by their codes."""
    reader = PartReader(
        format="chat",
        model=MODEL,
        counter=reference_counter(MODEL.encoding),
        listed_per_code=10,
        max_line_bytes=MAX_LINE_BYTES,
    )
    counts: dict[str, int] = {}
    for block in read_blocks([request["data"].encode()], max_line_bytes=MAX_LINE_BYTES):
        counts.update(reader.read(Task(block, frozenset())).findings.counts)
    return counts


if __name__ == "__main__":
    serve(dict[str, Any], answer)
