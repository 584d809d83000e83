"""`tunegate webhooks`: the endpoints of a project, and what was sent to them."""

from typing import Literal

from cyclopts import App

from cli.connection import Connection
from cli.options import AsJson, Flag, Repeatable
from cli.paths import path_of

webhooks = App(name="webhooks", help="List, test and repair webhook endpoints.")


@webhooks.command(name="list")
def list_endpoints(*, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """List the project's endpoints, newest first.

    Parameters
    ----------
    as_json
        Print nothing but the list as JSON.
    """
    from cli.output import console, print_json
    from cli.webhooks import show_endpoints

    with connection.client() as client:
        found = client.list("/webhook_endpoints")
    if as_json:
        print_json(found.as_object())
    else:
        show_endpoints(found.data, console())


@webhooks.command
def create(
    name: str,
    url: str,
    /,
    *,
    event: Repeatable = (),
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Create an endpoint, and print its signing secret.

    The secret is shown only once.

    Parameters
    ----------
    name
        The name of the endpoint.
    url
        Where events are sent.
    event
        A type of event to send, such as fine_tuning.job.succeeded. Repeat it for several. Default: every type.
    as_json
        Print nothing but the endpoint as JSON.
    """
    from cli.output import print_json, printable

    with connection.client() as client:
        types = list(event) or client.get("/webhook_event_types")["data"]
        created = client.post("/webhook_endpoints", {"name": name, "url": url, "event_types": types})
    if as_json:
        print_json(created)
    else:
        gets = ", ".join(created["event_types"]) if event else "every type of event"
        print(f"{created['id']} ({printable(created['name'])}) gets {gets}.")
        print(f"Signing secret, shown only now: {created['signing_secret']}")


@webhooks.command
def delete(
    endpoint: str, /, *, yes: Flag = False, as_json: AsJson = False, connection: Connection = Connection()
) -> None:
    """Delete an endpoint; what is not delivered yet is not sent.

    Parameters
    ----------
    endpoint
        The id of the endpoint.
    yes
        Delete it without confirmation.
    as_json
        Print nothing but the API's response as JSON.
    """
    from cli.confirmation import confirm
    from cli.output import print_json, printable

    path = path_of("webhook_endpoints", endpoint)
    with connection.client() as client:
        if not yes:
            found = client.get(path)
            confirm(f"Delete {printable(found['name'])} ({printable(found['url'])})?", yes=False)
        deleted = client.delete(path)
    if as_json:
        print_json(deleted)
    else:
        print(f"{deleted['id']} is deleted.")


@webhooks.command(name="test")
def send_test(
    endpoint: str,
    /,
    *,
    event: str = "fine_tuning.job.succeeded",
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> int:
    """Send a signed sample now.

    Exits with 0 if the target answered 2xx, with 1 if it answered something else.

    Parameters
    ----------
    endpoint
        The id of the endpoint.
    event
        The type of the sample. The endpoint need not subscribe to it.
    as_json
        Print nothing but the result as JSON.
    """
    from cli.output import print_json

    with connection.client() as client:
        sent = client.post(path_of("webhook_endpoints", endpoint, "test"), {"event_type": event})
    if as_json:
        print_json(sent)
    else:
        print(f"{sent['event_type']}: the target answered {sent['status_code']}.")
    return 0 if 200 <= sent["status_code"] < 300 else 1


@webhooks.command
def deliveries(
    endpoint: str,
    /,
    *,
    status: Literal["pending", "succeeded", "failed"] | None = None,
    limit: int = 20,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """List what was sent to an endpoint, newest first, and how it answered.

    Parameters
    ----------
    endpoint
        The id of the endpoint.
    status
        Only deliveries in this status.
    limit
        How many to list.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.output import console, print_json
    from cli.webhooks import show_deliveries

    with connection.client() as client:
        path = path_of("webhook_endpoints", endpoint, "deliveries")
        found = client.list(path, limit=limit, status=status)
    if as_json:
        print_json(found.as_object())
        return
    show_deliveries(found.data, console())
    if found.has_more:
        console().print(f"There are more; --limit {2 * limit} lists more.", style="dim")


@webhooks.command
def redeliver(delivery: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Send a delivery again, with the same webhook-id.

    Parameters
    ----------
    delivery
        The id of the delivery, from `tunegate webhooks deliveries`.
    as_json
        Print nothing but the delivery as JSON.
    """
    from cli.output import print_json

    with connection.client() as client:
        sent = client.post(path_of("webhook_deliveries", delivery, "redeliver"))
    if as_json:
        print_json(sent)
    else:
        print(f"{sent['id']} ({sent['event_type']}) is sent again.")
