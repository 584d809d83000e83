"""A name server of our own: real DNS packets over UDP, and answers that change from one question to the next.

`NameServer.lookup` has the machine's own `getaddrinfo` ask it, so the look-up under test is that of production. glibc
keeps the name servers of each thread in `_res`; every look-up has a thread of its own, so nothing else is touched.
"""

import ctypes
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from service.egress.addresses import Address
from service.egress.resolver import system_lookup

A, AAAA, IN = 1, 28, 1
NSCOUNT_OFFSET, NSADDR_OFFSET = 16, 20
"""Of glibc's `struct __res_state` on machines of 64 bits: two ints and a long before, then `sockaddr_in`s."""


@dataclass(slots=True)
class NameServer:
    """`answers` to questions about any name, first come, first served; the last one stays. `asked`: the names."""

    answers: list[list[str]]
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def lookup(self, host: str) -> Sequence[Address]:
        """The machine's look-up, of this server."""
        _ask_this_thread_s_names_at(self.port)
        return system_lookup(host)

    def _reply(self, question: bytes) -> bytes:
        name, kind = _question(question)
        addresses: list[str] = []
        if kind == A:
            self.asked.append(name)
            addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        head = question[:2] + struct.pack("!HHHHH", 0x8180, 1, len(addresses), 0, 0)
        asked = question[12 : question.index(b"\0", 12) + 5]
        records = b"".join(
            struct.pack("!HHHIH", 0xC00C, A, IN, 0, 4) + IPv4Address(address).packed for address in addresses
        )
        return head + asked + records

    def _serve(self, served: socket.socket) -> None:
        while True:
            try:
                question, sender = served.recvfrom(512)
            except OSError:
                return
            served.sendto(self._reply(question), sender)


@contextmanager
def name_server(*answers: Sequence[str]) -> Iterator[NameServer]:
    """One that listens until the block ends; each answer is a list of IPv4 addresses, valid for no time at all."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as served:
        served.bind(("127.0.0.1", 0))
        made = NameServer([list(answer) for answer in answers], served.getsockname()[1])
        threading.Thread(target=made._serve, args=(served,), daemon=True).start()
        yield made


def can_be_asked() -> bool:
    """Whether this machine's look-ups can be sent to the test's own server (glibc, with `dns` among its sources)."""
    found: list[Address] = []
    with name_server(["192.0.2.7"]) as server:

        def check() -> None:
            with suppress(OSError, AttributeError):
                found.extend(server.lookup("probe.example.com"))

        thread = threading.Thread(target=check)
        thread.start()
        thread.join(10)
    return found == [IPv4Address("192.0.2.7")]


def _ask_this_thread_s_names_at(port: int) -> None:
    libc = ctypes.CDLL(None)
    state_of = libc.__res_state
    state_of.restype = ctypes.c_void_p
    libc.__res_init()
    state = state_of()
    address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton("127.0.0.1") + bytes(8)
    ctypes.memmove(state + NSADDR_OFFSET, address, len(address))
    ctypes.memmove(state + NSCOUNT_OFFSET, struct.pack("=i", 1), 4)


def _question(packet: bytes) -> tuple[str, int]:
    labels, at = [], 12
    while packet[at]:
        labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
        at += packet[at] + 1
    (kind,) = struct.unpack("!H", packet[at + 1 : at + 3])
    return ".".join(labels), kind
