"""`tunegate trigger TYPE`: sends a sample event to the subscribers of its type, or to one endpoint."""

from cli.client import Client


def trigger(client: Client, event_type: str, *, endpoint: str | None) -> int:
    """Send a sample event and print the result. Returns 0, or 1 if the endpoint refused it. Raises `Refused`."""
    path = "/webhook_events" if endpoint is None else f"/webhook_endpoints/{endpoint}/test"
    sent = client.post(path, {"event_type": event_type})
    if endpoint is None:
        print(f"{sent['id']} {sent['type']}: to the endpoints that subscribed to it, and to those who listen")
        return 0
    print(f"{sent['event_type']} to {endpoint}: answered {sent['status_code']}")
    return 0 if 200 <= sent["status_code"] < 300 else 1
