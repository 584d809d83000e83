"""`tunegate listen`: forwards a project's events to a developer's machine."""

import os

from cli.connection import Connection
from cli.options import Flag


def listen(
    *,
    forward_to: str,
    event_types: str | None = None,
    new_secret: Flag = False,
    connection: Connection = Connection(),
) -> int:
    """Forward the project's webhook events to this machine.

    They are signed like real deliveries, until Ctrl-C, with a secret of this machine that each run for the same project
    uses again. Exits with 0, or with 2 if the gateway refuses.

    Parameters
    ----------
    forward_to
        The URL that events are posted to, such as http://127.0.0.1:3000/webhook.
    event_types
        The types to forward, separated by commas. Default: all.
    new_secret
        Replace the signing secret of this gateway and project.
    """
    from cli.listen import listen
    from cli.profiles import config_folder

    types = [name.strip() for name in (event_types or "").split(",") if name.strip()]
    return listen(
        connection.gateway(),
        forward_to=forward_to,
        event_types=types,
        folder=config_folder(os.environ),
        new_secret=new_secret,
    )
