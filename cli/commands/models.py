"""`tunegate models`: lists and deletes models."""

from cyclopts import App

from cli.connection import Connection
from cli.options import AsJson, Flag
from cli.paths import path_of

models = App(name="models", help="List and delete models.")


@models.command(name="list")
def list_models(*, tuned: Flag = False, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """List tuned models, aliases and base models.

    Parameters
    ----------
    tuned
        Only the project's own: tuned models and aliases.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.models import is_base, show_models
    from cli.output import console, print_json

    with connection.client() as client:
        found = client.get("/models")
    if tuned:
        found["data"] = [model for model in found["data"] if not is_base(model)]
    if as_json:
        print_json(found)
    else:
        show_models(found["data"], console())


@models.command
def delete(
    name: str,
    /,
    *,
    force: Flag = False,
    yes: Flag = False,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Delete a tuned model and its checkpoints.

    Parameters
    ----------
    name
        The tuned model.
    force
        Delete it even if other projects may use it.
    yes
        Delete it without confirmation.
    as_json
        Print nothing but the API's response as JSON.
    """
    from cli.confirmation import confirm
    from cli.models import what_goes
    from cli.output import print_json

    path = path_of("models", name)
    with connection.client() as client:
        if not yes:
            confirm(f"Delete {what_goes(client.get(f'{path}/dependents'))}?", yes=False)
        deleted = client.delete(path, force="true" if force else None)
    if as_json:
        print_json(deleted)
    else:
        print(f"{deleted['id']} is deleted.")
