"""The losses of a running job, read from the gateway step by step, and its new events."""

from collections.abc import Mapping
from typing import Any

from cli.client import Client
from cli.paths import job_path

EVENT_PAGE = 100


class Curve:
    """The losses of one job by step, so far, and how many steps it will have, once that is known."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self._path = job_path(job_id)
        self._last_event: str | None = None
        self.train: dict[int, float] = {}
        self.valid: dict[int, float] = {}
        self.total_steps: int | None = None

    def read(self) -> list[dict[str, Any]]:
        """Read on. Returns the new events that warn or report an error, oldest first. Raises `Refused`."""
        if self._last_event is None:
            for row in self._client.get(f"{self._path}/metrics")["data"]:
                self._add(row)
        events = self._new_events()
        for event in events:
            if event["type"] == "metrics" and event["data"]:
                self._add(event["data"])
                self.total_steps = event["data"].get("total_steps") or self.total_steps
        if events:
            self._last_event = events[-1]["id"]
        return [event for event in events if event["type"] == "message" and event["level"] != "info"]

    def _new_events(self) -> list[dict[str, Any]]:
        """The events after the last one that was read, oldest first; at first the newest page."""
        found: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = self._client.get(f"{self._path}/events", limit=EVENT_PAGE, after=after)
            for event in page["data"]:
                if event["id"] == self._last_event:
                    return found[::-1]
                found.append(event)
            if self._last_event is None or not page["has_more"]:
                return found[::-1]
            after = page["last_id"]

    def _add(self, metrics: Mapping[str, Any]) -> None:
        step = int(metrics["step"])
        if (train := metrics.get("train_loss")) is not None:
            self.train[step] = train
        valid = metrics.get("full_valid_loss")
        if (valid := metrics.get("valid_loss") if valid is None else valid) is not None:
            self.valid[step] = valid
