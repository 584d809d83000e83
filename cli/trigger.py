"""`tunegate trigger TYPE`: a sample of an event, to everybody who would get the real one, or to one endpoint."""

import sys

import httpx2

from cli.gateway import Gateway, refusal

TRIGGER_SECONDS = 30.0


def trigger(gateway: Gateway, event_type: str, *, endpoint: str | None) -> int:
    """Send it and say what came of it: 0, or 1 when the gateway or the endpoint did not take it."""
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
    made = answer.json()
    if endpoint is None:
        print(f"{made['id']} {made['type']}: to the endpoints that subscribed to it, and to those who listen")
        return 0
    print(f"{made['event_type']} to {endpoint}: answered {made['status_code']}")
    return 0 if 200 <= made["status_code"] < 300 else 1
