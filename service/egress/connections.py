"""Opening connections to upstreams and receivers of webhooks: what lies below httpcore2."""

from collections.abc import Iterable

import httpcore2


class Backend(httpcore2.AnyIOBackend):
    """httpcore2's own backend, for which a connection that is reset as it is made was never opened.

    On uvloop such a connection has no socket any more, and anyio answers whatever is asked about it with an
    `AttributeError`, which nobody above expects. One whose socket was looked at once keeps it, and says that it ended.
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
            raise httpcore2.ConnectError("The connection ended as it was made.") from None
        return stream
