"""Where a webhook may go: rules of the URL, and of the address that is really dialled.

The list of addresses is written out, after IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890) and the
metadata services of clouds; `ipaddress.is_global` is true for several of them. IPv4 inside IPv6 is judged where
packets go to that IPv4 address as they are (mapped, NAT64), and refused where a tunnel decides (6to4, Teredo, ISATAP).
"""

import enum
import re
import socket
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from service.errors import InvalidRequest

Address = IPv4Address | IPv6Address

MAX_URL_LENGTH = 2048


class Reach(enum.IntEnum):
    """How far inward webhooks may go; each includes the one before."""

    PUBLIC = 0
    LOOPBACK = 1
    PRIVATE = 2

    @classmethod
    def of(cls, *, allow_private: bool, development: bool) -> "Reach":
        """The reach that the settings give: none inward; this machine, in development; or private networks."""
        if not allow_private:
            return cls.PUBLIC
        return cls.LOOPBACK if development else cls.PRIVATE


NEVER = 3
"""Higher than any reach."""

IPV4: tuple[tuple[str, str, int], ...] = (
    ("0.0.0.0/8", "this host or network (RFC 791)", NEVER),
    ("10.0.0.0/8", "private (RFC 1918)", Reach.PRIVATE),
    ("100.64.0.0/10", "carrier-grade NAT (RFC 6598)", Reach.PRIVATE),
    ("127.0.0.0/8", "loopback (RFC 1122)", Reach.LOOPBACK),
    ("168.63.129.16/32", "the host of a machine in Azure", NEVER),
    ("169.254.0.0/16", "link-local, and metadata of clouds (RFC 3927)", NEVER),
    ("172.16.0.0/12", "private (RFC 1918)", Reach.PRIVATE),
    ("192.0.0.0/24", "protocol assignments (RFC 6890)", NEVER),
    ("192.0.2.0/24", "documentation (RFC 5737)", NEVER),
    ("192.31.196.0/24", "AS112 (RFC 7535)", NEVER),
    ("192.52.193.0/24", "AMT relays (RFC 7450)", NEVER),
    ("192.88.99.0/24", "6to4 relays (RFC 7526)", NEVER),
    ("192.168.0.0/16", "private (RFC 1918)", Reach.PRIVATE),
    ("192.175.48.0/24", "AS112 (RFC 7534)", NEVER),
    ("198.18.0.0/15", "benchmarks (RFC 2544)", NEVER),
    ("198.51.100.0/24", "documentation (RFC 5737)", NEVER),
    ("203.0.113.0/24", "documentation (RFC 5737)", NEVER),
    ("224.0.0.0/4", "multicast (RFC 5771)", NEVER),
    ("240.0.0.0/4", "reserved or broadcast (RFC 1112)", NEVER),
)
"""(range, what it is, the least reach that may go there)."""

IPV6: tuple[tuple[str, str, int], ...] = (
    ("::/128", "unspecified (RFC 4291)", NEVER),
    ("::1/128", "loopback (RFC 4291)", Reach.LOOPBACK),
    ("::/96", "IPv4-compatible, deprecated (RFC 4291)", NEVER),
    ("::ffff:0:0:0/96", "IPv4-translated (RFC 2765)", NEVER),
    ("64:ff9b:1::/48", "local NAT64 (RFC 8215)", NEVER),
    ("100::/64", "discard-only (RFC 6666)", NEVER),
    ("100:0:0:1::/64", "dummy prefix (RFC 9780)", NEVER),
    ("2001::/32", "Teredo (RFC 4380)", NEVER),
    ("2001:2::/48", "benchmarks (RFC 5180)", NEVER),
    ("2001::/23", "protocol assignments (RFC 2928)", NEVER),
    ("2001:db8::/32", "documentation (RFC 3849)", NEVER),
    ("2002::/16", "6to4 (RFC 3056)", NEVER),
    ("2620:4f:8000::/48", "AS112 (RFC 7534)", NEVER),
    ("3fff::/20", "documentation (RFC 9637)", NEVER),
    ("5f00::/16", "segment routing (RFC 9602)", NEVER),
    ("fc00::/7", "private (RFC 4193)", Reach.PRIVATE),
    ("fe80::/10", "link-local (RFC 4291)", NEVER),
    ("fec0::/10", "site-local, deprecated (RFC 3879)", NEVER),
    ("ff00::/8", "multicast (RFC 4291)", NEVER),
)

_IPV4 = tuple((IPv4Network(network), what, reach) for network, what, reach in IPV4)
_IPV6 = tuple((IPv6Network(network), what, reach) for network, what, reach in IPV6)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP_IDENTIFIERS = (0x00005EFE, 0x02005EFE)


def forbidden(address: Address, reach: Reach = Reach.PUBLIC) -> str | None:
    """Why no connection may be made to `address`, or None when it may."""
    if isinstance(address, IPv4Address):
        return next((what for network, what, least in _IPV4 if address in network and reach < least), None)
    if address.scope_id is not None:
        return "an address with a zone (RFC 4007)"
    if address in _MAPPED or address in _NAT64:
        return forbidden(IPv4Address(int(address) & 0xFFFFFFFF), reach)
    for network, what, least in _IPV6:
        if address in network:
            return what if reach < least else None
    if address not in _GLOBAL_UNICAST:
        return "reserved (RFC 4291)"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP_IDENTIFIERS:
        return "ISATAP (RFC 5214)"
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A URL taken apart once, by one parser, so that what was checked is what is dialled."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The `Host` header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str, reach: Reach = Reach.PUBLIC) -> Target:
    """Take a webhook's URL apart. Raises `InvalidRequest` for `url`, code `invalid_webhook_url` when it is malformed
    and `forbidden_webhook_target` when it leads where webhooks do not go."""
    if len(url) > MAX_URL_LENGTH:
        raise _invalid(f"has more than {MAX_URL_LENGTH} characters")
    if not _CHARACTERS.fullmatch(url):
        raise _invalid("has spaces, control characters, backslashes or letters outside ASCII: percent-encode them")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _invalid("cannot be parsed: check its host and port") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise _invalid("must begin with https://")
    if "@" in parts.netloc:
        raise _invalid("carries a user name or password: deliveries are authenticated by their signature instead")
    if "#" in url:
        raise _invalid("has a fragment, which is never sent: remove the part from `#` on")
    host = _host(parts.hostname or "", parts.netloc, reach)
    _check_scheme(parts.scheme, host, reach)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, _port(port, parts.scheme, reach), path)


def refused(host: str, what: str) -> InvalidRequest:
    """The refusal of a host that leads where webhooks do not go; `what` says where that is."""
    return InvalidRequest(
        f"Webhooks are not sent to {host}: {what}. Give an address that is reachable from the internet.",
        param="url",
        code="forbidden_webhook_target",
    )


_CHARACTERS = re.compile(r"[!-\[\]-~]+")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]*)?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DEFAULT_PORTS = {"https": 443, "http": 80}
_INTERNAL_NAMES = ("localhost", "local", "internal", "intranet", "lan", "corp", "home", "arpa")


def _host(host: str, netloc: str, reach: Reach) -> str:
    if "[" in netloc or "]" in netloc:
        return _ipv6(host, netloc, reach)
    host = host.removesuffix(".")
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(host, reach)
    if len(host) > 253 or not all(_NAME.fullmatch(label) for label in labels):
        raise _invalid("has no valid host name: write it as DNS does, in ASCII (xn--…)")
    if labels[-1] == "localhost":
        if reach < Reach.LOOPBACK:
            raise refused(host, "loopback")
    elif (len(labels) == 1 or labels[-1] in _INTERNAL_NAMES) and reach < Reach.PRIVATE:
        raise refused(host, "a name of a private network")
    return host


def _ipv6(host: str, netloc: str, reach: Reach) -> str:
    if not _BRACKETED.fullmatch(netloc):
        raise _invalid("has no valid IPv6 address")
    try:
        address = IPv6Address(host)
    except AddressValueError:
        raise _invalid("has no valid IPv6 address") from None
    if what := forbidden(address, reach):
        raise refused(host, what)
    return str(address)


def _ipv4(host: str, reach: Reach) -> str:
    try:
        address = IPv4Address(socket.inet_aton(host))
    except OSError:
        raise _invalid("has no valid IPv4 address") from None
    if what := forbidden(address, reach):
        raise refused(host, what)
    if str(address) != host:
        raise _invalid(f"has an IPv4 address in an unusual form: write {address}")
    return host


def _check_scheme(scheme: str, host: str, reach: Reach) -> None:
    if scheme == "https" or reach is Reach.PRIVATE:
        return
    if reach is Reach.LOOPBACK and _is_loopback(host):
        return
    raise _invalid("must begin with https://")


def _is_loopback(host: str) -> bool:
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return forbidden(address) is not None and forbidden(address, Reach.LOOPBACK) is None


def _port(port: int | None, scheme: str, reach: Reach) -> int:
    if port is None:
        return _DEFAULT_PORTS[scheme]
    if port == 0:
        raise _invalid("has port 0")
    if reach is Reach.PUBLIC and port < 1024 and port != _DEFAULT_PORTS["https"]:
        raise _invalid(f"has port {port}: below 1024 only 443 receives webhooks")
    return port


def _invalid(what: str) -> InvalidRequest:
    return InvalidRequest(f"The webhook URL {what}.", param="url", code="invalid_webhook_url")
