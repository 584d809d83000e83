"""`tunegate trigger TYPE`: sends a sample event."""

import os
from pathlib import Path


def trigger(event_type: str, /, *, endpoint: str | None = None, ready_file: Path | None = None) -> int:
    """Send a sample webhook event.

    It goes to the subscribers and listeners of its type, or to one endpoint. Exits with 0 if it was accepted, 1 if not.

    Parameters
    ----------
    event_type
        The type, such as fine_tuning.job.succeeded.
    endpoint
        The id of one webhook endpoint, which does not have to subscribe to the type.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    from cli.gateway import Gateway
    from cli.trigger import trigger

    return trigger(Gateway.found(os.environ, ready_file), event_type, endpoint=endpoint)
