"""`tunegate deletions`: failed deletions."""

import os

from service.errors import SettingsError
from service.settings import Settings


def deletions(*, retry: str | None = None, accept: str | None = None) -> int:
    """List, retry or accept deletions that failed at an upstream.

    Exits with 1 if any is listed.

    Parameters
    ----------
    retry
        Retry this deletion, or all of them with "all".
    accept
        Mark this deletion as done: its object was removed by hand, or cannot be reached.
    """
    from cli.deletions import resolve_failed, show_failed

    if retry is not None and accept is not None:
        raise SettingsError("Give --retry or --accept, not both.")
    settings = Settings.from_env(os.environ)
    if retry is not None:
        return resolve_failed(settings, retry, accept=False)
    if accept is not None:
        return resolve_failed(settings, accept, accept=True)
    return show_failed(settings)
