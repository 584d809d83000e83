"""`tunegate trigger TYPE`: sends a sample event to the subscribers of its type, or to one endpoint."""

import sys

import httpx2

from cli.client import refusal
from cli.gateway import Gateway

TRIGGER_SECONDS = 30.0


def trigger(gateway: Gateway, event_type: str, *, endpoint: str | None) -> int:
    """Send a sample event and print the result. Returns 0, or 1 when the gateway or the endpoint refused it."""
    path = "/webhook_events" if endpoint is None else f"/webhook_endpoints/{endpoint}/test"
    try:
        with httpx2.Client(base_url=gateway.base_url, headers=gateway.headers(), timeout=TRIGGER_SECONDS) as client:
            answer = client.post(path, json={"event_type": event_type})
    except httpx2.HTTPError as error:
        print(f"tunegate: {gateway.base_url} does not answer: {type(error).__name__}", file=sys.stderr)
        return 1
    if answer.status_code != 200:
        print(f"tunegate: {refusal(answer)}", file=sys.stderr)
        return 1
    sent = answer.json()
    if endpoint is None:
        print(f"{sent['id']} {sent['type']}: to the endpoints that subscribed to it, and to those who listen")
        return 0
    print(f"{sent['event_type']} to {endpoint}: answered {sent['status_code']}")
    return 0 if 200 <= sent["status_code"] < 300 else 1
