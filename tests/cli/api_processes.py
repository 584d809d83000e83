"""`python -m tests.cli.api_processes FD [CONDITION]`: two processes that serve a small app on the socket FD.

`/pid` answers with the pid of its process, `/wait` when its body has arrived, and `/hang` blocks the event loop.
The condition `fails` makes every start fail.
"""

import asyncio
import os
import signal
import socket
import sys
from typing import Any

import uvicorn

from cli.api_processes import ApiProcesses

SILENT_SECONDS = 3.0
DRAINED = "every request has ended"
"""What a process prints that was not aborted."""

HANGS = "the event loop hangs"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request."""
    if scope["type"] == "lifespan":
        await receive()
        failed = "fails" in sys.argv
        await send({"type": "lifespan.startup.failed" if failed else "lifespan.startup.complete", "message": ""})
        await receive()
        print(DRAINED, flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/hang":
        print(HANGS, flush=True)
        signal.pause()
    if scope["path"] == "/wait":
        while (await receive())["more_body"]:
            await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})


def main() -> None:
    """Serve until a signal."""
    config = uvicorn.Config(app, loop="uvloop", log_config=None, timeout_graceful_shutdown=60)
    listener = socket.socket(fileno=int(sys.argv[1]))
    served = ApiProcesses(
        2, config, [listener], on_fork=lambda _: None, end_seconds=60.0, silent_seconds=SILENT_SECONDS
    )
    sys.exit(served.run())


if __name__ == "__main__":
    main()
