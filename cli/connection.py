"""The options of every command that calls a gateway, and the clients that they select."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from cli.client import Client
    from cli.gateway import Gateway

GATEWAY = Group("Gateway", sort_key=9)
"""The last group of a command's help."""


@Parameter(name="*", group=GATEWAY)
@dataclass(frozen=True, kw_only=True)
class Connection:
    """Which gateway a command calls. Default: the one of OPENAI_BASE_URL, else of the current profile.

    Parameters
    ----------
    profile
        The profile of `tunegate login` to use. Default: TUNEGATE_PROFILE, else the current one.
    ready_file
        The ready file of a running `tunegate dev`.
    """

    profile: Annotated[str | None, Parameter()] = None
    ready_file: Annotated[Path | None, Parameter()] = None

    def gateway(self) -> Gateway:
        """The gateway and its keys. Raises `SettingsError`."""
        from cli.gateway import Gateway

        return Gateway.found(os.environ, self.ready_file, self.profile)

    def typed(self) -> str:
        """The given options as they are typed, with a space before each, for commands that are printed."""
        given = {"--profile": self.profile, "--ready-file": self.ready_file}
        return "".join(f" {name} {shlex.quote(str(value))}" for name, value in given.items() if value is not None)

    def client(self) -> Client:
        """A client for a project's resources. Raises `SettingsError`."""
        from cli.client import Client

        gateway = self.gateway()
        return Client(gateway.base_url, gateway.project_key())

    def admin_client(self) -> Client:
        """A client for the organisation's API. Raises `SettingsError`."""
        from cli.client import Client

        gateway = self.gateway()
        return Client(gateway.base_url, gateway.organization_key())
