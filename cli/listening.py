"""The socket on which a process serves HTTP, or a line that says why there is none."""

import errno
import socket

from service.errors import SettingsError

BACKLOG = 2048
_WHY = {
    errno.EADDRINUSE: "another program listens there",
    errno.EACCES: "ports below 1024 need a privilege",
    errno.EADDRNOTAVAIL: "it is no address of this machine",
}


def listen(host: str, port: int, *, advice: str = "Set TUNEGATE_HOST and TUNEGATE_PORT to others.") -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `SettingsError` with why it cannot listen, and `advice`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        why = "the host has no address" if isinstance(error, socket.gaierror) else _WHY.get(error.errno or 0)
        raise SettingsError(f"Cannot listen on {host}:{port}: {why or error.strerror}. {advice}") from None


def url_of(listening: socket.socket) -> str:
    """The address at which clients on this machine reach a listening socket."""
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return str(listening.getsockname())
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
