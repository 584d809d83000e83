"""Renders the catalogue of event types for docs/webhooks.md. Pure."""

import datetime as dt

import msgspec

from service.webhooks.event_types import CATALOGUE, sample_body

HEADING = "## The events\n"
SAMPLE_TIME = dt.datetime(2026, 11, 21, 12, tzinfo=dt.UTC)


def events_markdown() -> str:
    """The section that shows every event type's meaning and a sample of its whole body."""
    sections = [
        f"\n### `{name}`\n\n{each.meaning}\n\n```json\n{_sample(name)}\n```\n" for name, each in CATALOGUE.items()
    ]
    return HEADING + "\nThis section is generated from the catalogue: `make docs`.\n" + "".join(sections)


def with_events(page: str) -> str:
    """The page with its last section regenerated."""
    return page.partition(HEADING)[0] + events_markdown()


def _sample(name: str) -> str:
    body = sample_body(f"evt_sample_{name.replace('.', '_')}", type=name, now=SAMPLE_TIME)
    return msgspec.json.format(body, indent=2).decode()
