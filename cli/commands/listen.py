"""`tunegate listen`: forwards a project's events to a developer's machine."""

import os
from pathlib import Path


def listen(*, forward_to: str, event_types: str | None = None, ready_file: Path | None = None) -> int:
    """Forward the project's webhook events to this machine.

    They are signed like real deliveries, until Ctrl-C. The gateway and the key are those of OPENAI_BASE_URL and
    OPENAI_API_KEY, or of --ready-file.

    Parameters
    ----------
    forward_to
        The URL that events are posted to, such as http://127.0.0.1:3000/webhook.
    event_types
        The types to forward, separated by commas. Default: all.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    from cli.gateway import Gateway
    from cli.listen import listen

    types = [name.strip() for name in (event_types or "").split(",") if name.strip()]
    return listen(Gateway.found(os.environ, ready_file), forward_to=forward_to, event_types=types)
