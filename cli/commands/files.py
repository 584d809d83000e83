"""`tunegate files`: lists, shows, downloads, reports and deletes the files of a project."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cli.connection import Connection
from cli.options import AsJson, Flag
from cli.paths import path_of

OutPath = Annotated[Path | None, Parameter(allow_leading_hyphen=True)]

files = App(name="files", help="List, download, check and delete files.")


@files.command(name="list")
def list_files(
    *,
    purpose: str | None = None,
    limit: int = 20,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> None:
    """List files, newest first.

    Parameters
    ----------
    purpose
        Only files for this purpose, such as fine-tune.
    limit
        How many to list.
    as_json
        Print nothing but the list as JSON.
    """
    from cli.files import show_files
    from cli.output import console, print_json

    with connection.client() as client:
        found = client.list("/files", limit=limit, purpose=purpose)
    if as_json:
        print_json(found.as_object())
        return
    show_files(found.data, console())
    if found.has_more:
        console().print(f"There are more; --limit {2 * limit} lists more.", style="dim")


@files.command
def show(file_id: str, /, *, as_json: AsJson = False, connection: Connection = Connection()) -> None:
    """Show a file.

    Parameters
    ----------
    file_id
        The file.
    as_json
        Print nothing but the file as JSON.
    """
    from cli.files import show_file
    from cli.output import console, print_json

    with connection.client() as client:
        file = client.get(path_of("files", file_id))
    if as_json:
        print_json(file)
    else:
        show_file(file, console())


@files.command
def get(file_id: str, /, *, out: OutPath = None, force: Flag = False, connection: Connection = Connection()) -> None:
    """Download a file.

    Parameters
    ----------
    file_id
        The file.
    out
        The file to write; - is standard output. Default: the name of the file, in this folder.
    force
        Overwrite a file that exists.
    """
    from cli.files import download

    with connection.client() as client:
        download(client, file_id, out, force=force)


@files.command
def report(
    file_id: str,
    /,
    *,
    model: str | None = None,
    validation_file: str | None = None,
    as_json: AsJson = False,
    connection: Connection = Connection(),
) -> int:
    """Show what the check of a dataset has found, its tokens and prices.

    Waits until the file is checked. Exits with 0 without errors, 1 if the file has errors or shares examples with the
    validation file.

    Parameters
    ----------
    file_id
        The file.
    model
        The model to check and price the file for. Default: the default model of the gateway.
    validation_file
        The id of a validation file: report which of its examples are in the file too.
    as_json
        Print nothing but the report as JSON.
    """
    from cli.files import show_report

    with connection.client() as client:
        return show_report(client, file_id, model=model, validation_file=validation_file, as_json=as_json)


@files.command
def delete(
    file_id: str, /, *, yes: Flag = False, as_json: AsJson = False, connection: Connection = Connection()
) -> None:
    """Delete a file.

    Parameters
    ----------
    file_id
        The file.
    yes
        Delete it without confirmation.
    as_json
        Print nothing but the API's response as JSON.
    """
    from cli.confirmation import confirm
    from cli.output import print_json, printable, size

    with connection.client() as client:
        if not yes:
            file = client.get(path_of("files", file_id))
            confirm(f"Delete {printable(file['filename'])} ({file_id}, {size(file['bytes'])})?", yes=False)
        deleted = client.delete(path_of("files", file_id))
    if as_json:
        print_json(deleted)
    else:
        print(f"{deleted['id']} is deleted.")
