"""`tunegate trigger TYPE`: a sample of an event."""

import os
from pathlib import Path


def trigger(event_type: str, /, *, endpoint: str | None = None, ready_file: Path | None = None) -> int:
    """Let a sample of an event happen: to whoever subscribed to its type or listens, or to one endpoint.

    Exits with 0 if it was taken, 1 if not.

    Parameters
    ----------
    event_type
        Such as fine_tuning.job.succeeded.
    endpoint
        The id of one webhook endpoint, which need not have subscribed to the type.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    from cli.gateway import Gateway
    from cli.trigger import trigger

    return trigger(Gateway.found(os.environ, ready_file), event_type, endpoint=endpoint)
