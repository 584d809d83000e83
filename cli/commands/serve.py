"""`tunegate serve`: serves the HTTP API."""

import os
import resource
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.starting import for_terminal, imports
from service.errors import SettingsError
from service.settings import Settings

if TYPE_CHECKING:
    import socket

GRACEFUL_SHUTDOWN_SECONDS = 20
"""How long requests in progress, including uploads, may take after SIGTERM. A second signal aborts them."""

END_SECONDS = 30.0
"""When one of several processes that has not ended after SIGTERM is killed."""


def serve(
    *,
    processes: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
    fd: Annotated[int | None, Parameter(show=False)] = None,
) -> int:
    """Serve the HTTP API on TUNEGATE_HOST and TUNEGATE_PORT.

    Parameters
    ----------
    processes
        How many processes serve it, one for each core that it may use.
    fd
        An inherited listening socket, instead of the host and port of the settings.
    """
    settings = for_terminal(Settings.from_env(os.environ))
    if processes > 1 and not settings.redis_url:
        raise SettingsError("Several processes need REDIS_URL, where they count requests against rate limits together.")
    with ExitStack() as shared:
        if processes > 1:
            from service.monitoring import shared_metrics

            shared_metrics.share(Path(shared.enter_context(TemporaryDirectory(prefix="tunegate-metrics-"))))
        return _serve(settings.of_one_process(processes), processes, fd)


def _serve(settings: Settings, processes: int, fd: int | None) -> int:
    with imports():
        import asyncio
        import socket

        import structlog
        import uvicorn

        from cli.listening import listen, url_of
        from service.app import create_app
        from service.database.connection_limit import warn_of_too_few_connections
        from service.database.schema import check_schema
        from service.http.protocol import limited_protocol
        from service.logs import configure
        from service.monitoring.internal_listener import InternalListener
        from service.start_checks import check_start
        from service.unknown_settings import warn_of_unknown_settings

    log = structlog.get_logger()

    def announce() -> None:
        log.info("api.listening", base_url=f"{url_of(sockets[0])}/v1", processes=processes)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            """Announce the address once requests are answered."""
            await super().startup(sockets)
            announce()

        def handle_exit(self, sig: int, frame: Any) -> None:
            """Abort at a second SIGTERM too; uvicorn does so at a second Ctrl-C only."""
            self.force_exit = self.should_exit
            super().handle_exit(sig, frame)

    configure(settings.log_level, settings.log_format)
    warn_of_unknown_settings(os.environ)
    raise_open_files()
    inherited = None if fd is None else _inherited(fd)
    own_port = settings.port
    if inherited is not None and inherited.family != socket.AF_UNIX:
        own_port = inherited.getsockname()[1]
    check_start(settings, port=own_port)
    sockets = [listen(settings.host, settings.port) if inherited is None else inherited]
    if (problem := asyncio.run(check_schema(settings, application="tunegate-api"))) is not None:
        log.warning("database.unavailable", error=problem)
    internal = InternalListener(settings)
    config = uvicorn.Config(
        create_app(settings, internal=internal),
        loop="uvloop",
        http=limited_protocol(settings),
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
    )
    asyncio.run(warn_of_too_few_connections(settings, processes=processes, application="tunegate-api"))
    if processes == 1:
        Server(config).run(sockets=sockets)
        return 0

    from cli.api_processes import ApiProcesses
    from service.monitoring import shared_metrics

    return ApiProcesses(
        processes,
        config,
        sockets,
        on_fork=shared_metrics.join,
        end_seconds=END_SECONDS,
        owns_sockets=fd is None,
        on_serving=announce,
    ).run()


def _inherited(fd: int) -> "socket.socket":
    import socket

    try:
        return socket.socket(fileno=fd)
    except OSError as error:
        raise SettingsError(f"--fd {fd} is no socket that this process inherited: {error.strerror}.") from None


def raise_open_files() -> None:
    """Let the process open as many files as the system allows: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # some systems name no limit and accept none
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
