"""The text of a scrape: the metrics of this process, or the sums of all processes that share a listener.

Several API processes count in files of one folder (the multi-process mode of `prometheus_client`), so that any of them
answers a scrape for all. A file belongs to a place in the row of processes and not to a pid: the process that replaces
another one continues its counts, so that counters never fall and the number of files is constant.
"""

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector, generate_latest, values
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The library takes the folder from the environment only."""

_place = "parent"


def share(folder: Path) -> None:
    """Count in files of `folder` from now on. Call it before any metric is made, and before the processes fork."""
    os.environ[_FOLDER] = str(folder)
    values.ValueClass = values.MultiProcessValue(lambda: _place)  # type: ignore[no-untyped-call]


def join(place: int) -> None:
    """Make this process, after its fork, the one that counts for `place`: no two that run have the same."""
    global _place
    _place = str(place)
    _pid_file(place).write_text(str(os.getpid()))


def text(measured: Iterable[Metric] = ()) -> bytes:
    """What a scrape shows, and after it `measured`: metrics that are read from the database, which all processes share.

    `process_` metrics have the label `pid` where several processes share a listener.
    """
    collector: Collector = REGISTRY
    if _FOLDER in os.environ:
        collector = CollectorRegistry()
        MultiProcessCollector(collector)  # type: ignore[no-untyped-call]
        collector.register(_Processes(sorted(Path(os.environ[_FOLDER]).glob("*.pid"))))
    return generate_latest(collector) + generate_latest(_Measured(measured))


def _pid_file(place: int) -> Path:
    return Path(os.environ[_FOLDER]) / f"{place}.pid"


class _Measured(Collector):
    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


class _Processes(Collector):
    """What `ProcessCollector` reports, of several processes."""

    def __init__(self, pid_files: Sequence[Path]) -> None:
        self._pids = [each.read_text() for each in pid_files]

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for pid in self._pids:
            for metric in ProcessCollector(pid=partial(str, pid), registry=None).collect():
                shown = merged.setdefault(metric.name, Metric(metric.name, metric.documentation, metric.type))
                for sample in metric.samples:
                    shown.add_sample(sample.name, {"pid": pid}, sample.value)
        return merged.values()
