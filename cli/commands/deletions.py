"""`tunegate deletions`: what could not be deleted."""

import os

from service.errors import SettingsError
from service.settings import Settings


def deletions(*, retry: str | None = None, accept: str | None = None) -> int:
    """List what could not be deleted at an upstream, or see to it. Exits with 1 if anything is listed.

    Parameters
    ----------
    retry
        Try this deletion again; all of them with "all".
    accept
        Take this deletion as done, for what was removed by hand or is out of reach.
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
