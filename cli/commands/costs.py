"""`tunegate costs`: what a project or the organisation has spent."""

from typing import Literal

from cli.connection import Connection
from cli.options import AsJson
from cli.organization import Whose

By = Literal["day", "model", "key", "job", "kind", "project"]


def costs(
    *,
    since: str = "7d",
    by: By = "day",
    as_json: AsJson = False,
    whose: Whose = Whose(),
    connection: Connection = Connection(),
) -> None:
    """Show what was spent, by day, model, key, job or project.

    A job counts on the day in UTC on which it ends, a call when it is answered. Days without costs are left out.

    Parameters
    ----------
    since
        How far back: hours, days or weeks, such as 24h, 7d or 4w. Today counts as a day.
    by
        One line for each day, model, key, job, kind of costs (training or inference of a model), or project.
    as_json
        Print nothing but the page of costs as JSON.
    """
    from cli.costs import read_costs, show_costs
    from cli.output import console, print_json

    with whose.open(connection) as view:
        page = read_costs(view, since=since, by=by)
    if as_json:
        print_json(page)
    else:
        show_costs(page, console(), by=by, since=since)
