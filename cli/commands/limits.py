"""`tunegate limits`: what a project may use, and what it uses."""

from typing import Annotated

from cyclopts import App, Parameter

from cli.connection import Connection
from cli.options import AsJson
from cli.organization import ProjectName, Whose

limits = App(name="limits", help="Show and set the limits of a project.")
Limit = Annotated[str | None, Parameter(show_default=False)]


@limits.command
def show(*, as_json: AsJson = False, whose: Whose = Whose(), connection: Connection = Connection()) -> None:
    """Show the limits of the key's project, or of any with an admin key.

    Parameters
    ----------
    as_json
        Print nothing but the limits as JSON.
    """
    from cli.limits import show_limits
    from cli.output import console, print_json

    with whose.open(connection) as view:
        found = view.client.get(view.of_project("limits"))
    if as_json:
        print_json(found)
    else:
        show_limits(found, console())


@limits.command(name="set")
def set_limits(
    *,
    project: ProjectName,
    spend: Limit = None,
    active_jobs: Limit = None,
    queued_jobs: Limit = None,
    storage_bytes: Limit = None,
    file_bytes: Limit = None,
    training_tokens_per_month: Limit = None,
    requests_per_key_per_minute: Limit = None,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Set limits of a project; `none` removes one, others stay. Needs an admin key.

    Parameters
    ----------
    project
        The name or id of the project.
    spend
        Dollars a month, such as 500 or 12.50.
    active_jobs
        Jobs that run at a time.
    queued_jobs
        Jobs that wait at a time.
    storage_bytes
        Bytes of all files.
    file_bytes
        Bytes of one file.
    training_tokens_per_month
        Tokens of training a month.
    requests_per_key_per_minute
        Requests of each key a minute.
    as_json
        Print nothing but the limits as JSON.
    """
    from cli.limits import change_limits, show_limits
    from cli.organization import find_project
    from cli.output import console, print_json

    given = {
        "max_active_jobs": active_jobs,
        "max_queued_jobs": queued_jobs,
        "max_storage_bytes": storage_bytes,
        "max_file_bytes": file_bytes,
        "max_training_tokens_per_month": training_tokens_per_month,
        "max_requests_per_key_per_1_minute": requests_per_key_per_minute,
    }
    with connection.admin_client() as client:
        found = change_limits(client, find_project(client, project), given, spend=spend)
    if as_json:
        print_json(found)
    else:
        show_limits(found, console())
