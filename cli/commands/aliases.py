"""`tunegate aliases`: stable names for models."""

from cyclopts import App

from cli.connection import Connection
from cli.options import AsJson, Flag
from cli.paths import path_of

aliases = App(name="aliases", help="List, promote and roll back model aliases.")


@aliases.command(name="list")
def list_aliases(*, limit: int = 100, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """List aliases and the models that they point at.

    Parameters
    ----------
    limit
        How many to list.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.aliases import show_aliases
    from cli.output import console, print_json

    with connection.client() as client:
        found = client.list("/model_aliases", limit=limit)
    if as_json:
        print_json(found.as_object())
    else:
        show_aliases(found.data, console())


@aliases.command
def create(
    name: str,
    model: str,
    /,
    *,
    reason: str | None = None,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Give a model a stable name.

    Parameters
    ----------
    name
        The alias.
    model
        The model that it points at.
    reason
        Why, for the history.
    as_json
        Print nothing but the alias as JSON.
    """
    from cli.aliases import show_alias

    body = {"name": name, "model": model, "reason": reason}
    with connection.client() as client:
        alias = client.post("/model_aliases", {key: value for key, value in body.items() if value is not None})
    show_alias(alias, as_json=as_json)


@aliases.command
def promote(
    name: str,
    model: str,
    /,
    *,
    reason: str | None = None,
    expected_model: str | None = None,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Point an alias at another model.

    Parameters
    ----------
    name
        The alias.
    model
        The model that every later request gets.
    reason
        Why, for the history.
    expected_model
        Promote only if the alias points at this model now.
    as_json
        Print nothing but the alias as JSON.
    """
    from cli.aliases import show_alias

    body = {"model": model, "reason": reason, "expected_model": expected_model}
    with connection.client() as client:
        path = path_of("model_aliases", name, "promote")
        alias = client.post(path, {key: value for key, value in body.items() if value is not None})
    show_alias(alias, as_json=as_json)


@aliases.command
def rollback(
    name: str,
    /,
    *,
    version: int | None = None,
    reason: str | None = None,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """Undo the last promotion of an alias, or go back to a version.

    Parameters
    ----------
    name
        The alias.
    version
        The version to go back to, of those that `tunegate aliases history` lists.
    reason
        Why, for the history.
    as_json
        Print nothing but the alias as JSON.
    """
    from cli.aliases import show_alias

    body = {"version": version, "reason": reason}
    with connection.client() as client:
        path = path_of("model_aliases", name, "rollback")
        alias = client.post(path, {key: value for key, value in body.items() if value is not None})
    show_alias(alias, as_json=as_json)


@aliases.command
def history(name: str, /, *, limit: int = 20, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """List where an alias pointed, newest first.

    Parameters
    ----------
    name
        The alias.
    limit
        How many promotions to list.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.aliases import show_promotions
    from cli.output import console, print_json

    with connection.client() as client:
        found = client.list(path_of("model_aliases", name, "history"), limit=limit)
    if as_json:
        print_json(found.as_object())
    else:
        show_promotions(found.data, console())


@aliases.command
def delete(name: str, /, *, yes: Flag = False, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Delete an alias and its history; the model stays.

    Parameters
    ----------
    name
        The alias.
    yes
        Delete it without confirmation.
    as_json
        Print nothing but the API's response as JSON.
    """
    from cli.confirmation import confirm
    from cli.output import print_json

    path = path_of("model_aliases", name)
    with connection.client() as client:
        if not yes:
            alias = client.get(path)
            confirm(f"Delete the alias {alias['name']}, which is {alias['model']}?", yes=False)
        deleted = client.delete(path)
    if as_json:
        print_json(deleted)
    else:
        print(f"The alias {name} is deleted.")
