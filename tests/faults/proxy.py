"""A TCP proxy that errs on command: between us and Postgres, Redis, the upstream and the receiver.

`python -m tests.faults.proxy TARGET_HOST:PORT` prints one line of JSON with its two ports and serves until its input
ends. One port is the link; the other takes a line of JSON (a `NetworkFault`) and answers `{"connections": n}` when the
fault is in place.
"""

import asyncio
import contextlib
import dataclasses
import json
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import Literal

from tests.stack import ROOT

CHUNK_BYTES = 64 * 1024
RESET = struct.pack("ii", 1, 0)
CHECK_SECONDS = 0.02

Kind = Literal["clear", "latency", "slow", "black hole", "cut", "reset", "refuse"]


@dataclass(frozen=True, slots=True)
class NetworkFault:
    """How the link is. What holds for connections holds for those that are open and those that come.

    `latency`: every piece comes `seconds` later. `slow`: `bytes_per_second`, each way. `black hole`: what is sent is
    taken and goes nowhere, new connections are taken too. `cut`: closed in order, new ones at once. `reset`: closed by
    RST. `refuse`: nothing listens, and open connections are closed.
    """

    kind: Kind = "clear"
    seconds: float = 0.0
    bytes_per_second: float = 0.0


class Link:
    """The proxied port and what flows through it."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._fault = NetworkFault()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._place.bind(("127.0.0.1", 0))  # keeps the port ours while nothing listens
        self.port: int = self._place.getsockname()[1]

    @property
    def connections(self) -> int:
        """How many connections are open, each with its two sides."""
        return len(self._open) // 2

    async def listen(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)

    async def change(self, network_fault: NetworkFault) -> None:
        """Let it be so from now on."""
        self._fault = network_fault
        if network_fault.kind in ("cut", "reset", "refuse"):
            for writer in list(self._open):
                _close(writer, reset=network_fault.kind == "reset")
        if network_fault.kind == "refuse" and self._server is not None:
            self._server.close()
            self._server = None
        elif network_fault.kind != "refuse" and self._server is None:
            await self.listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self._fault.kind == "black hole":
            await asyncio.sleep(CHECK_SECONDS)
        if self._fault.kind in ("cut", "reset"):
            _close(writer, reset=self._fault.kind == "reset")
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _close(writer, reset=True)
            return
        sides = {writer, far_writer}
        self._open |= sides
        try:
            await asyncio.gather(self._pour(reader, far_writer), self._pour(far_reader, writer))
        finally:
            self._open -= sides
            for side in sides:
                _close(side, reset=False)

    async def _pour(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(CHUNK_BYTES):
                await self._carry(piece, writer)
            if writer.can_write_eof():
                writer.write_eof()
        except (OSError, RuntimeError):
            writer.close()

    async def _carry(self, piece: bytes, writer: asyncio.StreamWriter) -> None:
        network_fault = self._fault
        if network_fault.kind == "latency":
            await asyncio.sleep(network_fault.seconds)
        while self._fault.kind == "black hole":
            await asyncio.sleep(CHECK_SECONDS)
        while piece and self._fault.kind == "slow":
            part, piece = piece[:64], piece[64:]
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(len(part) / self._fault.bytes_per_second)
        writer.write(piece)
        await writer.drain()


def _close(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        else:
            writer.close()


async def serve(host: str, port: int) -> None:
    """Serve until the input ends."""
    link = Link(host, port)
    await link.listen()

    async def command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            await link.change(NetworkFault(**json.loads(line)))
            writer.write(json.dumps({"connections": link.connections}).encode() + b"\n")
            await writer.drain()

    control = await asyncio.start_server(command, "127.0.0.1", 0)
    print(json.dumps({"port": link.port, "control": control.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)


class Proxy:
    """The program, running, and a hand on it."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.proxy", f"{host}:{port}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        ports = json.loads(self._process.stdout.readline())
        self.port: int = ports["port"]
        self._control: int = ports["control"]

    def change(self, network_fault: NetworkFault) -> int:
        """Changes the fault of the link. Returns how many connections were open through it."""
        with socket.create_connection(("127.0.0.1", self._control), timeout=90) as control, control.makefile() as lines:
            control.sendall(json.dumps(dataclasses.asdict(network_fault)).encode() + b"\n")
            answer = json.loads(lines.readline())
        return int(answer["connections"])

    def stop(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


if __name__ == "__main__":
    target_host, _, target_port = sys.argv[1].partition(":")
    asyncio.run(serve(target_host, int(target_port)))
