"""`tunegate upstreams`: the accounts at which jobs are trained and models called."""

from typing import Literal

from cyclopts import App

from cli.connection import Connection
from cli.options import AsJson, Flag, Repeatable
from cli.organization import Whose

upstreams = App(name="upstreams", help="List, add and drain upstream accounts.")


@upstreams.command(name="list")
def list_accounts(*, as_json: AsJson = False, whose: Whose = Whose(), connection: Connection = Connection()) -> None:
    """List the accounts that the key's project may use, or all of them.

    Parameters
    ----------
    as_json
        Print nothing but the list as JSON.
    """
    from cli.output import console, print_json
    from cli.upstreams import list_upstreams, show_upstreams

    with whose.open(connection) as view:
        found = list_upstreams(view)
    if as_json:
        print_json(found.as_object())
    else:
        show_upstreams(found.data, console())


@upstreams.command
def show(
    account: str, /, *, as_json: AsJson = False, whose: Whose = Whose(), connection: Connection = Connection()
) -> None:
    """Show an account with its state.

    Parameters
    ----------
    account
        The name or id of the account.
    as_json
        Print nothing but the account as JSON.
    """
    from cli.output import console, print_json
    from cli.upstreams import find_upstream, show_upstream

    with whose.open(connection) as view:
        found = find_upstream(view, account)
    if as_json:
        print_json(found)
    else:
        show_upstream(found, console())


@upstreams.command
def add(
    name: str,
    base_url: str,
    /,
    *,
    kind: Literal["openai", "azure"] = "openai",
    provider: Literal["openai", "azure", "self-hosted"] | None = None,
    credential_variable: str | None = None,
    model: Repeatable = (),
    max_active_jobs: int | None = None,
    api_version: str | None = None,
    as_json: AsJson = False,
    whose: Whose = Whose(),
    connection: Connection = Connection(),
) -> None:
    """Add an account: of the key's project, or a shared one.

    Its credential is read from standard input, without echo at a terminal, or from an environment variable. It is never
    an argument, which other users of the machine could read.

    Parameters
    ----------
    name
        The name of the account.
    base_url
        The address of its API, such as https://api.openai.com/v1.
    kind
        The kind of its API; others that speak OpenAI's are openai too.
    provider
        Whose shutdown dates apply to its models. Default: by its kind and address.
    credential_variable
        The environment variable that has the credential.
    model
        A model that it serves, or a pattern such as gpt-4o*. Repeat it for several. Default: every model.
    max_active_jobs
        How many jobs it runs at a time.
    api_version
        The API version of an account at Azure.
    as_json
        Print nothing but the account as JSON.
    """
    from cli.output import print_json, printable
    from cli.upstreams import account_path, read_credential

    with whose.open(connection) as view:
        body = {
            "name": name,
            "kind": kind,
            "provider": provider,
            "base_url": base_url,
            "models": list(model) or None,
            "max_active_jobs": max_active_jobs,
            "api_version": api_version,
        }
        given = {field: value for field, value in body.items() if value is not None}
        credential = read_credential(credential_variable)
        added = view.client.post(account_path(view), {**given, "credential": credential})
    if as_json:
        print_json(added)
    else:
        print(f"{added['id']} ({printable(added['name'])}) is added; its credential works.")


@upstreams.command
def drain(
    account: str, /, *, as_json: AsJson = False, whose: Whose = Whose(), connection: Connection = Connection()
) -> None:
    """Give an account no new jobs; those that run there end.

    Parameters
    ----------
    account
        The name or id of the account.
    as_json
        Print nothing but the account as JSON.
    """
    from cli.upstreams import change_upstream

    with whose.open(connection) as view:
        change_upstream(view, account, {"drained": True}, "gets no new jobs", as_json=as_json)


@upstreams.command
def resume(
    account: str, /, *, as_json: AsJson = False, whose: Whose = Whose(), connection: Connection = Connection()
) -> None:
    """Give a drained account jobs again, and end a cool-down.

    Parameters
    ----------
    account
        The name or id of the account.
    as_json
        Print nothing but the account as JSON.
    """
    from cli.upstreams import change_upstream

    with whose.open(connection) as view:
        change_upstream(view, account, {"drained": False, "held": False}, "gets jobs", as_json=as_json)


@upstreams.command
def credential(
    account: str,
    /,
    *,
    credential_variable: str | None = None,
    as_json: AsJson = False,
    whose: Whose = Whose(),
    connection: Connection = Connection(),
) -> None:
    """Replace the credential of an account.

    Parameters
    ----------
    account
        The name or id of the account.
    credential_variable
        The environment variable that has the credential. Default: it is read from standard input.
    as_json
        Print nothing but the account as JSON.
    """
    from cli.upstreams import change_upstream, read_credential

    with whose.open(connection) as view:
        body = {"credential": read_credential(credential_variable)}
        change_upstream(view, account, body, "has the new credential", as_json=as_json)


@upstreams.command
def delete(
    account: str,
    /,
    *,
    yes: Flag = False,
    as_json: AsJson = False,
    whose: Whose = Whose(),
    connection: Connection = Connection(),
) -> None:
    """Delete an account that no job and no tuned model uses.

    Parameters
    ----------
    account
        The name or id of the account.
    yes
        Delete it without confirmation.
    as_json
        Print nothing but the API's response as JSON.
    """
    from cli.confirmation import confirm
    from cli.output import print_json, printable
    from cli.upstreams import account_path, find_upstream

    with whose.open(connection) as view:
        found = find_upstream(view, account)
        confirm(f"Delete {printable(found['name'])} ({found['id']}) with its credential?", yes=yes)
        deleted = view.client.delete(account_path(view, found["id"]))
    if as_json:
        print_json(deleted)
    else:
        print(f"{deleted['id']} is deleted.")
