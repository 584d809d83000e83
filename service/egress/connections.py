"""The network backend below httpcore2 for connections to upstreams and to receivers of webhooks."""

from collections.abc import Iterable

import httpcore2


class Backend(httpcore2.AnyIOBackend):
    """httpcore2's own backend, except that a connection that is reset while it opens counts as never opened.

    On uvloop such a connection no longer has a socket, and every request for its attributes raises an `AttributeError`
    that no caller expects. Reading the socket once, right after connecting, finds such connections early; a connection
    that passed keeps its socket and later reports that it has ended.
    """

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Open a connection within `timeout` seconds. Raises `httpcore2.ConnectError` and `ConnectTimeout`."""
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        try:
            stream.get_extra_info("socket")
        except AttributeError:
            await stream.aclose()
            raise httpcore2.ConnectError("The connection was reset while it opened.") from None
        return stream
