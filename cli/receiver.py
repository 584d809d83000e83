"""A minimal webhook receiver on loopback: the demo registers it, and readers may copy it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread

MAX_BODY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Delivery:
    """One request, with the bytes of its body: the signature covers the bytes."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Receiver:
    """A running receiver: its URL, and the deliveries that have arrived."""

    url: str
    deliveries: "Queue[Delivery]"


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Receive on a free port of 127.0.0.1 until the block ends."""
    deliveries: Queue[Delivery] = Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = min(int(self.headers.get("content-length") or 0), MAX_BODY_BYTES)
            deliveries.put(
                Delivery({name.lower(): value for name, value in self.headers.items()}, self.rfile.read(length))
            )
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Silent: the demo reports deliveries itself."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        try:
            yield Receiver(f"http://127.0.0.1:{server.server_address[1]}/hooks/tunegate", deliveries)
        finally:
            server.shutdown()
