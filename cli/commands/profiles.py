"""`tunegate profiles`: lists the profiles."""

import os

from cli.options import AsJson


def profiles(*, as_json: AsJson = False) -> None:
    """List the profiles of this machine, and which is used.

    Parameters
    ----------
    as_json
        Print nothing but the list as JSON.
    """
    from cli.output import Column, console, print_json, print_table
    from cli.profiles import load, profiles_file

    stored = load(profiles_file(os.environ))
    current = os.environ.get("TUNEGATE_PROFILE") or stored.current
    if as_json:
        print_json({"current": current, "profiles": sorted(stored.by_name)})
        return
    rows = [("*" if name == current else "", name, stored.by_name[name].base_url) for name in sorted(stored.by_name)]
    print_table(
        [Column(""), Column("profile"), Column("gateway", fold=True)],
        rows,
        console(),
        empty="There is no profile. `tunegate login` makes one.",
    )
