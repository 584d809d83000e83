"""`tunegate trigger TYPE`: sends a sample event."""

from cli.connection import Connection


def trigger(event_type: str, /, *, endpoint: str | None = None, connection: Connection = Connection()) -> int:
    """Send a sample webhook event.

    It goes to the subscribers and listeners of its type, or to one endpoint. Exits with 0 if it was accepted, 1 if the
    endpoint refused it, 2 if the gateway did.

    Parameters
    ----------
    event_type
        The type, such as fine_tuning.job.succeeded.
    endpoint
        The id of one webhook endpoint, which does not have to subscribe to the type.
    """
    from cli.trigger import trigger

    with connection.client() as client:
        return trigger(client, event_type, endpoint=endpoint)
