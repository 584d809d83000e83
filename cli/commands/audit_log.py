"""`tunegate audit-log`: who changed what, and which keys were refused."""

from cli.connection import Connection
from cli.options import AsJson, Repeatable
from cli.organization import Whose


def audit_log(
    *,
    since: str | None = None,
    event: Repeatable = (),
    limit: int = 20,
    as_json: AsJson = False,
    whose: Whose = Whose(),
    connection: Connection = Connection(),
) -> None:
    """Show who changed what, and which keys were refused.

    Newest first, with the names at the time.

    Parameters
    ----------
    since
        Only the last minutes, hours, days or weeks, such as 90m, 24h, 7d or 4w.
    event
        Only events of this type, such as api_key.created. Repeat it for several.
    limit
        How many to list.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.audit_log import read_entries, show_entries
    from cli.output import console, print_json

    with whose.open(connection) as view:
        found = read_entries(view, since=since, events=event, limit=limit)
    if as_json:
        print_json(found.as_object())
        return
    show_entries(found.data, console(), with_project=view.everything)
    if found.has_more:
        console().print(f"There are more; --limit {2 * limit} lists more.", style="dim")
