"""`tunegate logout`: removes a profile."""

import os


def logout(*, profile: str | None = None) -> None:
    """Remove a profile, with its keys, from this machine.

    Parameters
    ----------
    profile
        The name of the profile. Default: the current one.
    """
    from cli.errors import Refused
    from cli.profiles import load, profiles_file, save

    file = profiles_file(os.environ)
    stored = load(file)
    name = profile or stored.current
    if name not in stored.by_name:
        known = ", ".join(sorted(stored.by_name))
        raise Refused(f"There is no profile {name!r}, so nothing was removed{f'; there are {known}' if known else ''}.")
    save(file, stored.without(name))
    print(f"The profile {name} is removed. Its keys are still valid at the gateway.")
