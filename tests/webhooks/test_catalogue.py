"""The catalogue of events: every sample is accepted by the SDK, and additions to it always will be."""

import datetime as dt
import json
from typing import get_args

import pytest
from openai import OpenAI
from openai.types.webhooks import UnwrapWebhookEvent
from openai.types.webhooks.fine_tuning_job_cancelled_webhook_event import FineTuningJobCancelledWebhookEvent
from openai.types.webhooks.fine_tuning_job_failed_webhook_event import FineTuningJobFailedWebhookEvent
from openai.types.webhooks.fine_tuning_job_succeeded_webhook_event import FineTuningJobSucceededWebhookEvent

from service.documentation import ROOT
from service.webhooks.event_types import CATALOGUE, event_body, sample_body
from service.webhooks.markdown import HEADING, events_markdown
from service.webhooks.signing import new_secret, signed_headers

NOW = dt.datetime.now(dt.UTC)
SECRET = new_secret()
OPENAI = {
    "fine_tuning.job.succeeded": FineTuningJobSucceededWebhookEvent,
    "fine_tuning.job.failed": FineTuningJobFailedWebhookEvent,
    "fine_tuning.job.cancelled": FineTuningJobCancelledWebhookEvent,
}
client = OpenAI(api_key="none", base_url="http://127.0.0.1:1/v1", webhook_secret=SECRET)


def unwrapped(body: bytes) -> UnwrapWebhookEvent:
    """What the SDK makes of a delivery."""
    return client.webhooks.unwrap(
        body, signed_headers(message_id="evt_1", now=dt.datetime.now(dt.UTC), body=body, secrets=[SECRET])
    )


@pytest.mark.parametrize("name", CATALOGUE)
class TestEachType:
    def test_a_sample_is_unwrapped(self, name: str) -> None:
        event = unwrapped(sample_body("evt_1", type=name, now=NOW))
        assert (event.id, event.type, event.created_at) == ("evt_1", name, int(NOW.timestamp()))
        assert event.data.id == CATALOGUE[name].subject  # type: ignore[union-attr]
        if name in OPENAI:
            assert type(event) is OPENAI[name]

    def test_additions_change_nothing_for_who_does_not_know_them(self, name: str) -> None:
        body = json.loads(sample_body("evt_1", type=name, now=NOW))
        plain = unwrapped(json.dumps(body).encode())
        more = {"added": {"a": [1, None, {"b": "c"}]}, "status_2": None, "Ünïcode": "значение"}
        event = unwrapped(json.dumps({**body, "data": {**body["data"], **more}, "added": True}).encode())
        assert (type(event), event.id, event.type) == (type(plain), plain.id, plain.type)
        assert event.data.id == plain.data.id  # type: ignore[union-attr]

    def test_is_documented_with_its_whole_body(self, name: str) -> None:
        section = events_markdown().partition(f"### `{name}`")[2].partition("\n### ")[0]
        shown = json.loads(section.partition("```json\n")[2].partition("```")[0])
        assert (shown["type"], shown["object"]) == (name, "event")
        assert set(shown["data"]) == {"id", *CATALOGUE[name].data}

    def test_a_body_is_one_line(self, name: str) -> None:
        """A stream of server-sent events carries it as it is."""
        data = {**CATALOGUE[name].data, "text": "a\nb\r\nc\u2028d\x00"}
        assert b"\n" not in event_body("evt_1", type=name, subject="x", data=data, now=NOW)


def test_openai_s_types_are_those_that_the_sdk_knows() -> None:
    known = {get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(get_args(UnwrapWebhookEvent)[0])}
    assert {name for name in known if name.startswith("fine_tuning.")} == set(OPENAI)


def test_the_page_ends_with_the_catalogue() -> None:
    page = (ROOT / "docs/webhooks.md").read_text(encoding="utf-8")
    assert page.count(HEADING) == 1
    assert page.endswith(events_markdown())
