"""`tunegate serve`: serves the HTTP API."""

import os
import resource
from contextlib import suppress
from typing import Annotated, Any

from cyclopts import Parameter

from cli.starting import imports
from service.errors import SettingsError
from service.settings import Settings

GRACEFUL_SHUTDOWN_SECONDS = 20
"""How long requests in progress, including uploads, may take after SIGTERM. A second signal aborts them."""


def serve(*, fd: Annotated[int | None, Parameter(show=False)] = None) -> None:
    """Serve the HTTP API on TUNEGATE_HOST and TUNEGATE_PORT.

    Parameters
    ----------
    fd
        An inherited listening socket, instead of the host and port of the settings.
    """
    with imports():
        import asyncio
        import socket

        import uvicorn

        from service.app import create_app
        from service.database.migrations import check_schema
        from service.http.protocol import limited_protocol
        from service.monitoring.internal_listener import InternalListener

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: Any) -> None:
            """Abort at a second SIGTERM too; uvicorn does so at a second Ctrl-C only."""
            self.force_exit = self.should_exit
            super().handle_exit(sig, frame)

    settings = Settings.from_env(os.environ)
    raise_open_files()
    sockets = None if fd is None else [socket.socket(fileno=fd)]
    port = sockets[0].getsockname()[1] if sockets else settings.port
    if settings.upstream_is_self(port):
        raise SettingsError("OPENAI_BASE_URL points at this gateway itself: every job would create another one.")
    asyncio.run(check_schema(settings, application="tunegate-api"))
    internal = InternalListener(settings)
    server = Server(
        uvicorn.Config(
            create_app(settings, internal=internal),
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http=limited_protocol(settings),
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        )
    )
    server.run(sockets=sockets)


def raise_open_files() -> None:
    """Let the process open as many files as the system allows: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems name no limit and accept none
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
