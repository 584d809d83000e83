"""Whose address a request has: the peer's, or the one that a trusted proxy reports."""

from typing import Any

import pytest

from service.errors import SettingsError
from service.http.client_address import MAX_HOPS, client_address, is_tls, network_of, resolve
from service.settings import Settings

PROXIES = "10.0.0.0/8, 2001:db8:ffff::/48"


def resolved(
    peer: str | None, *forwarded: str, proto: tuple[str, ...] = (), proxies: str = PROXIES, scheme: str = "http"
) -> dict[str, Any]:
    """The scope of a request from `peer` with these forwarding headers."""
    named = [("x-forwarded-for", each) for each in forwarded] + [("x-forwarded-proto", each) for each in proto]
    scope: dict[str, Any] = {
        "client": None if peer is None else (peer, 4711),
        "scheme": scheme,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named],
    }
    resolve(scope, Settings(trusted_proxies=proxies).proxies())
    return scope


class TestAddress:
    @pytest.mark.parametrize(
        ("peer", "forwarded", "client"),
        [
            ("192.0.2.9", ["6.6.6.6"], "192.0.2.9"),
            ("10.0.0.1", [], "10.0.0.1"),
            ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", ["6.6.6.6, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", ["6.6.6.6, 198.51.100.7, 10.2.3.4"], "198.51.100.7"),
            ("10.0.0.1", ["6.6.6.6", "198.51.100.7,10.2.3.4"], "198.51.100.7"),
            ("10.0.0.1", ["10.9.9.9, 10.8.8.8"], "10.9.9.9"),
            ("10.0.0.1", ["198.51.100.7:5000"], "198.51.100.7"),
            ("10.0.0.1", ["[2001:db8::5]:443"], "2001:db8::5"),
            ("2001:db8:ffff::1", ["2001:db8::5"], "2001:db8::5"),
            ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
            ("::ffff:192.0.2.9", [], "192.0.2.9"),
            ("10.0.0.1", ["6.6.6.6, garbage"], "10.0.0.1"),
            ("10.0.0.1", ["6.6.6.6, garbage, 10.2.3.4"], "10.2.3.4"),
            ("10.0.0.1", [""], "10.0.0.1"),
            ("10.0.0.1", ["é\xff, ,"], "10.0.0.1"),
            (None, ["6.6.6.6"], None),
        ],
    )
    def test_is_the_rightmost_that_is_no_trusted_proxy(
        self, peer: str | None, forwarded: list[str], client: str | None
    ) -> None:
        assert client_address(resolved(peer, *forwarded)) == client

    def test_without_trusted_proxies_no_header_counts(self) -> None:
        scope = resolved("10.0.0.1", "6.6.6.6", proto=("https",), proxies="")
        assert (client_address(scope), is_tls(scope)) == ("10.0.0.1", False)

    def test_of_a_peer_on_a_unix_socket_is_reported_by_it_if_it_is_trusted(self) -> None:
        assert client_address(resolved(None, "198.51.100.7", proxies="unix")) == "198.51.100.7"
        assert client_address(resolved("192.0.2.9", "198.51.100.7", proxies="unix")) == "192.0.2.9"

    def test_an_endless_chain_is_read_to_a_bound(self) -> None:
        chain = ", ".join(["6.6.6.6"] + ["10.1.1.1"] * MAX_HOPS)
        assert client_address(resolved("10.0.0.1", chain)) == "10.1.1.1"

    def test_a_mapped_network_is_the_ipv4_network(self) -> None:
        assert client_address(resolved("10.0.0.1", "6.6.6.6", proxies="::ffff:10.0.0.0/104")) == "6.6.6.6"

    def test_failures_count_for_an_ipv4_address_or_a_network_of_ipv6(self) -> None:
        assert network_of("192.0.2.1") == network_of("::ffff:192.0.2.1") != network_of("192.0.2.2")
        assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")
        assert network_of(None) == "unknown"


class TestTls:
    @pytest.mark.parametrize(
        ("peer", "proto", "scheme", "tls"),
        [
            ("10.0.0.1", ["https"], "http", True),
            ("10.0.0.1", ["HTTPS"], "http", True),
            ("10.0.0.1", ["https, http"], "http", False),
            ("10.0.0.1", ["https", "http"], "http", False),
            ("10.0.0.1", [], "http", False),
            ("192.0.2.9", ["https"], "http", False),
            ("192.0.2.9", [], "https", True),
        ],
    )
    def test_is_what_a_trusted_proxy_reports_or_the_connection_is(
        self, peer: str, proto: list[str], scheme: str, tls: bool
    ) -> None:
        assert is_tls(resolved(peer, proto=tuple(proto), scheme=scheme)) is tls


class TestSetting:
    @pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.internal", "10.0.0.0/33", "10.0.0.1 10.0.0.2", "*"])
    def test_a_wrong_network_is_refused_by_name(self, wrong: str) -> None:
        with pytest.raises(SettingsError, match="TUNEGATE_TRUSTED_PROXIES"):
            Settings.from_env({"TUNEGATE_TRUSTED_PROXIES": f"10.0.0.0/8,{wrong}"})
