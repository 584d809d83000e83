"""`tunegate doctor`: what is wrong, and what to do."""

import os

from cli.connection import Connection
from cli.options import AsJson


def doctor(*, as_json: AsJson = False, connection: Connection = Connection()) -> int:
    """Check a gateway from here: what is wrong, and what to do.

    It checks the gateway and the keys that a client has and, where DATABASE_URL is set, what the operator has: schema,
    master key, storage, disk, Redis, upstream accounts. Exits with 1 if a check fails.

    Parameters
    ----------
    as_json
        Print nothing but the checks as JSON.
    """
    from cli.doctor import diagnose

    return diagnose(os.environ, connection, as_json=as_json)
