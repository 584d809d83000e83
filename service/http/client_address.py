"""The address of a request's client, and whether its connection is encrypted, behind proxies too.

`RequestMiddleware` resolves both once, by `resolve`: `scope["client"]` and `scope["scheme"]` then describe the client
and not the proxy, for the throttle, the audit log and the request log alike. Only a peer that
`TUNEGATE_TRUSTED_PROXIES` names is believed: of `X-Forwarded-For` the right-most address that is not a trusted proxy
counts, since the sender could write everything to the left of it. RFC 7239's `Forwarded` is not read: with two
headers, a client could send the one that its proxy does not overwrite.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from service.settings import TrustedProxies

MAX_HOPS = 16
"""Addresses of `X-Forwarded-For` that are read, from the right: a longer chain of trusted proxies does not exist."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def resolve(scope: Any, trusted: TrustedProxies) -> None:
    """Replace the peer in `scope` by the client that trusted proxies report."""
    peer = scope.get("client")
    address = _parsed_peer(peer[0]) if peer else None
    if peer and address is not None:
        scope["client"] = (str(address), peer[1])
    if not trusted.includes(address if peer else None):
        return
    client = address
    for reported in _forwarded_for(scope["headers"]):
        if reported is None:
            break
        client = reported
        if not trusted.includes(reported):
            break
    if client is not None and client != address:
        scope["client"] = (str(client), 0)
    protocols = _values(scope["headers"], b"x-forwarded-proto")
    if protocols:
        scope["scheme"] = "https" if protocols[-1].lower() == "https" else "http"


def client_address(scope: Mapping[str, Any]) -> str | None:
    """The address of a resolved request's client; None for a client on a Unix socket."""
    client = scope.get("client")
    return str(client[0]) if client and client[0] else None


def is_tls(scope: Mapping[str, Any]) -> bool:
    """Whether the client's connection is encrypted, to this process or to the trusted proxy in front of it."""
    return bool(scope.get("scheme") == "https")


def network_of(address: str | None) -> str:
    """What failures of a client count against: an IPv4 address, or the /64 of an IPv6 one, the least a host has."""
    parsed = _parsed(address or "")
    if parsed is None:
        return address or "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _forwarded_for(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[Address | None]:
    """The addresses of `X-Forwarded-For` from the right; None for what is not an address."""
    return (_parsed(value) for value in reversed(_values(headers, b"x-forwarded-for")[-MAX_HOPS:]))


def _values(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[str]:
    lists = [value.decode("latin-1") for header, value in headers if header == name]
    return [each.strip() for each in ",".join(lists).rsplit(",", MAX_HOPS)] if lists else []


@lru_cache(maxsize=1024)
def _parsed_peer(text: str) -> Address | None:
    """The address of a connection's peer: a few clients and proxies send most requests."""
    return _parsed(text)


def _parsed(text: str) -> Address | None:
    """An address without its zone and port, as some proxies append one; an IPv4-mapped one as the IPv4 address."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address
