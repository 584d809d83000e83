"""Whose resources a command shows or changes: the key's own project's, another project's, or the organisation's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Self

from cyclopts import Group, Parameter

from cli.errors import Refused
from cli.options import Flag
from cli.paths import path_of

if TYPE_CHECKING:
    from types import TracebackType

    from cli.client import Client
    from cli.connection import Connection

WHOSE = Group("Whose", sort_key=8)
ProjectName = Annotated[str, Parameter(name="--project", group=WHOSE)]
"""The project of a command that needs one, by its name or id."""


@Parameter(name="*", group=WHOSE)
@dataclass(frozen=True, kw_only=True)
class Whose:
    """Default: the key's own project, or the organisation if there is only an admin key.

    Parameters
    ----------
    project
        The name or id of a project. It needs an admin key.
    organization
        All projects. It needs an admin key.
    """

    project: Annotated[str | None, Parameter()] = None
    organization: Flag = False

    def open(self, connection: Connection) -> View:
        """The view of the API that these options and the keys select. Raises `Refused` and `SettingsError`."""
        from cli.client import Client

        if self.project is not None and self.organization:
            raise Refused("Give --project or --organization, not both.")
        gateway = connection.gateway()
        own = self.project is None and not self.organization and bool(gateway.api_key or not gateway.admin_key)
        client = Client(gateway.base_url, gateway.project_key() if own else gateway.organization_key())
        project = None if self.project is None else find_project(client, self.project)
        return View(client=client, own=own, project=project)


@dataclass(frozen=True, kw_only=True)
class View:
    """A client, and what it sees: its `own` project, one `project` of the organisation, or all of them (None)."""

    client: Client
    own: bool
    project: dict[str, Any] | None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.__exit__(kind, error, trace)

    @property
    def everything(self) -> bool:
        """Whether it sees all projects."""
        return not self.own and self.project is None

    def path(self, *parts: str) -> str:
        """The path of a resource that projects and the organisation have alike."""
        return path_of("project" if self.own else "organization", *parts)

    def of_project(self, *parts: str) -> str:
        """The path of a resource that only a project has. Raises `Refused`."""
        if self.own:
            return path_of("project", *parts)
        if self.project is None:
            raise Refused("Say of which project: --project NAME.")
        return project_path(self.project, *parts)

    def filters(self) -> dict[str, Any]:
        """The query parameters that select the project."""
        return {} if self.project is None else {"project_ids[]": self.project["id"]}


def project_path(project: dict[str, Any], *parts: str) -> str:
    """The path of a project in the organisation's API, or of what it has."""
    return path_of("organization", "projects", project["id"], *parts)


def find_project(client: Client, name: str) -> dict[str, Any]:
    """The project with this id or name. Raises `Refused` if there is none, and for a name that several have."""
    if name.startswith("proj_"):
        return client.get(path_of("organization", "projects", name))
    listed = client.list("/organization/projects", include_archived="true").data
    found = [project for project in listed if project["name"] == name]
    if not found:
        raise Refused(f"No project is called {name!r}. `tunegate projects list` lists them.")
    if len(found) > 1:
        ids = ", ".join(project["id"] for project in found)
        raise Refused(f"{len(found)} projects are called {name!r}. Give the id of one: {ids}.")
    return found[0]
