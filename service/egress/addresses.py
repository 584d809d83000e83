"""Which URLs and addresses the service may connect to for webhooks and upstream accounts. Pure.

The forbidden ranges are listed here in full, after IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890) and
the clouds' metadata services; `ipaddress.is_global` is true for several of them. An IPv4 address inside an IPv6 address
follows the IPv4 rules where packets reach that IPv4 address unchanged (mapped, NAT64), and is refused where a tunnel
decides the route (6to4, Teredo, ISATAP).

    MalformedUrl    the URL breaks a rule; `problem` continues the sentence "The URL …"
    ForbiddenHost   the host is, or resolves only to, addresses that may not be dialled
"""

import enum
import re
import socket
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

MAX_URL_LENGTH = 2048


class MalformedUrl(ValueError):
    """A URL that breaks a rule. `problem` is a predicate without a full stop, such as "has port 0"."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class ForbiddenHost(ValueError):
    """A host to which no connection may be made; `reason` names its kind, such as "loopback"."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason


class Reach(enum.IntEnum):
    """Which addresses may be dialled, by level; each level includes the one before."""

    PUBLIC = 0
    LOOPBACK = 1
    PRIVATE = 2

    @classmethod
    def of(cls, *, allow_private: bool, development: bool) -> "Reach":
        """The reach of the settings: public addresses, in development also this machine, or private networks."""
        if not allow_private:
            return cls.PUBLIC
        return cls.LOOPBACK if development else cls.PRIVATE


NEVER = 3
"""Above every reach: such addresses are never dialled."""

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
"""(range, what it is, the lowest reach that allows it)."""

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

_IPV4 = tuple((IPv4Network(network), reason, minimum) for network, reason, minimum in IPV4)
_IPV6 = tuple((IPv6Network(network), reason, minimum) for network, reason, minimum in IPV6)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP_IDENTIFIERS = (0x00005EFE, 0x02005EFE)


def forbidden(address: Address, reach: Reach = Reach.PUBLIC) -> str | None:
    """The reason why no connection may be made to `address`, or None when one may."""
    if isinstance(address, IPv4Address):
        return next((reason for network, reason, minimum in _IPV4 if address in network and reach < minimum), None)
    if address.scope_id is not None:
        return "an address with a zone (RFC 4007)"
    if address in _MAPPED or address in _NAT64:
        return forbidden(IPv4Address(int(address) & 0xFFFFFFFF), reach)
    for network, reason, minimum in _IPV6:
        if address in network:
            return reason if reach < minimum else None
    if address not in _GLOBAL_UNICAST:
        return "reserved (RFC 4291)"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP_IDENTIFIERS:
        return "ISATAP (RFC 5214)"
    return None


@dataclass(frozen=True, slots=True)
class Target:
    """A URL split once, by one parser, so that the host that was checked is the host that is dialled."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """The value of the `Host` header: it names the port only where that is not the scheme's default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def parse(url: str, reach: Reach = Reach.PUBLIC) -> Target:
    """Split a URL and check it. Raises `MalformedUrl`, and `ForbiddenHost` for a host that `reach` does not allow."""
    if len(url) > MAX_URL_LENGTH:
        raise MalformedUrl(f"has more than {MAX_URL_LENGTH} characters")
    if not _CHARACTERS.fullmatch(url):
        raise MalformedUrl("has spaces, control characters, backslashes or letters outside ASCII: percent-encode them")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise MalformedUrl("cannot be parsed: check its host and port") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise MalformedUrl("must begin with https://")
    if "@" in parts.netloc:
        raise MalformedUrl("carries a user name or password: remove them")
    if "#" in url:
        raise MalformedUrl("has a fragment, which is never sent: remove the part from `#` on")
    host = _host(parts.hostname or "", parts.netloc, reach)
    _check_scheme(parts.scheme, host, reach)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, _port(port, parts.scheme, reach), path)


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
        raise MalformedUrl("has no valid host name: write it as DNS does, in ASCII (xn--…)")
    if labels[-1] == "localhost":
        if reach < Reach.LOOPBACK:
            raise ForbiddenHost(host, "loopback")
    elif (len(labels) == 1 or labels[-1] in _INTERNAL_NAMES) and reach < Reach.PRIVATE:
        raise ForbiddenHost(host, "a name of a private network")
    return host


def _ipv6(host: str, netloc: str, reach: Reach) -> str:
    if not _BRACKETED.fullmatch(netloc):
        raise MalformedUrl("has no valid IPv6 address")
    try:
        address = IPv6Address(host)
    except AddressValueError:
        raise MalformedUrl("has no valid IPv6 address") from None
    if reason := forbidden(address, reach):
        raise ForbiddenHost(host, reason)
    return str(address)


def _ipv4(host: str, reach: Reach) -> str:
    try:
        address = IPv4Address(socket.inet_aton(host))
    except OSError:
        raise MalformedUrl("has no valid IPv4 address") from None
    if reason := forbidden(address, reach):
        raise ForbiddenHost(host, reason)
    if str(address) != host:
        raise MalformedUrl(f"has an IPv4 address in an unusual form: write {address}")
    return host


def _check_scheme(scheme: str, host: str, reach: Reach) -> None:
    if scheme == "https" or reach is Reach.PRIVATE:
        return
    if reach is Reach.LOOPBACK and _is_loopback(host):
        return
    raise MalformedUrl("must begin with https://")


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
        raise MalformedUrl("has port 0")
    if reach is Reach.PUBLIC and port < 1024 and port != _DEFAULT_PORTS["https"]:
        raise MalformedUrl(f"has port {port}: below 1024 only 443 is allowed")
    return port
