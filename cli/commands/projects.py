"""`tunegate projects`: the projects of the organisation."""

from cyclopts import App

from cli.connection import Connection
from cli.options import AsJson, Flag

projects = App(name="projects", help="List, create and archive projects.")


@projects.command(name="list")
def list_projects(*, archived: Flag = False, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """List the organisation's projects, newest first. Needs an admin key.

    Parameters
    ----------
    archived
        Archived projects too.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.output import console, print_json
    from cli.projects import show_projects

    with connection.admin_client() as client:
        found = client.list("/organization/projects", include_archived="true" if archived else None)
    if as_json:
        print_json(found.as_object())
    else:
        show_projects(found.data, console())


@projects.command
def create(name: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Create a project. Needs an admin key.

    Parameters
    ----------
    name
        The name of the project.
    as_json
        Print nothing but the project as JSON.
    """
    from cli.output import print_json, printable

    with connection.admin_client() as client:
        created = client.post("/organization/projects", {"name": name})
    if as_json:
        print_json(created)
    else:
        print(f"{created['id']} ({printable(created['name'])}) is created.")
        print(f"Make its first key with: tunegate keys create NAME --project {created['id']}")


@projects.command
def show(project: str | None = None, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Show a project: the key's own, or any with an admin key.

    Parameters
    ----------
    project
        The name or id of the project. Default: the project of the key.
    as_json
        Print nothing but the project as JSON.
    """
    from cli.organization import find_project
    from cli.output import console, print_json
    from cli.projects import show_project

    with connection.client() if project is None else connection.admin_client() as client:
        found = client.get("/project") if project is None else find_project(client, project)
    if as_json:
        print_json(found)
    else:
        show_project(found, console())


@projects.command
def archive(
    project: str, /, *, yes: Flag = False, as_json: AsJson = False, connection: Connection = Connection()
) -> None:
    """Archive a project: its keys stop for good. Needs an admin key.

    Parameters
    ----------
    project
        The name or id of the project.
    yes
        Archive it without confirmation.
    as_json
        Print nothing but the project as JSON.
    """
    from cli.confirmation import confirm
    from cli.organization import find_project, project_path
    from cli.output import print_json, printable

    with connection.admin_client() as client:
        found = find_project(client, project)
        name = printable(found["name"])
        confirm(f"Archive {name} ({found['id']})? Its keys stop, and this cannot be undone.", yes=yes)
        archived = client.post(project_path(found, "archive"))
    if as_json:
        print_json(archived)
    else:
        print(f"{archived['id']} ({name}) is archived.")
