"""`tunegate login`: stores a gateway and its keys as a profile."""

from typing import Annotated

from cyclopts import Parameter

from cli.options import Flag

Hidden = Annotated[str | None, Parameter(show_default=False)]


def login(
    *,
    base_url: Hidden = None,
    api_key: Hidden = None,
    admin_key: Hidden = None,
    profile: str = "default",
    stdin: Flag = False,
) -> None:
    """Store a gateway and its keys as a profile.

    What is not given is asked at the terminal. The keys are verified by a call. The profile becomes the current one, in
    a file that only you can read.

    Parameters
    ----------
    base_url
        The gateway's base URL, ending in /v1. Default: OPENAI_BASE_URL.
    api_key
        A project's key. Other users of this machine can see options: leave it out, or use --stdin.
    admin_key
        An admin key, for the organisation's commands.
    profile
        The name of the profile.
    stdin
        Read the keys from standard input, one a line.
    """
    from cli.login import log_in

    log_in(base_url=base_url, keys=(api_key, admin_key), profile=profile, stdin=stdin)
