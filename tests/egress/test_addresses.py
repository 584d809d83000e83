"""Where webhooks may go."""

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.egress.addresses import IPV4, IPV6, Reach, Target, forbidden
from service.errors import InvalidRequest
from service.webhooks.targets import parse_webhook_url

FORBIDDEN = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1",
    "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255",
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8", "64:ff9b::10.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8", "100::1", "100:0:0:1::1", "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1",
    "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::1", "2002:808:808::1", "2620:4f:8000::1", "3fff::1",
    "5f00::1", "fc00::1", "fd12:3456::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "febf::1", "fec0::1", "ff02::1",
    "2600:1900::5efe:10.0.0.1", "2600:1900::200:5efe:8.8.8.8", "4000::1", "1::1", "8000::1",
]  # fmt: skip

ALLOWED = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
    "168.63.129.17", "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.167.255.255", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8", "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111",
    "2a00:1450:4001::1",
]  # fmt: skip


class TestForbidden:
    @pytest.mark.parametrize("address", FORBIDDEN)
    def test_says_why(self, address: str) -> None:
        assert forbidden(ip_address(address))

    @pytest.mark.parametrize("address", ALLOWED)
    def test_lets_public_addresses_through(self, address: str) -> None:
        assert forbidden(ip_address(address)) is None

    @pytest.mark.parametrize(("network", "what", "least"), [*IPV4, *IPV6])
    def test_holds_at_both_ends_of_every_range(self, network: str, what: str, least: int) -> None:
        inside = IPv6Network(network) if ":" in network else IPv4Network(network)
        assert forbidden(inside[0])
        assert forbidden(inside[-1])

    @given(st.ip_addresses(v=4))
    def test_is_stricter_than_the_standard_library(self, address: IPv4Address) -> None:
        if forbidden(address) is None:
            assert address.is_global

    @given(st.ip_addresses(v=6))
    def test_is_stricter_for_ipv6_too(self, address: IPv6Address) -> None:
        if forbidden(address) is None:
            assert address.is_global or address in IPv6Network("64:ff9b::/96")

    @given(st.ip_addresses(v=4), st.sampled_from(["::ffff:0:0", "64:ff9b::"]))
    def test_judges_ipv4_inside_ipv6_as_ipv4(self, address: IPv4Address, prefix: str) -> None:
        assert forbidden(IPv6Address(int(IPv6Address(prefix)) + int(address))) == forbidden(address)

    @given(st.ip_addresses())
    def test_a_longer_reach_forbids_no_more(self, address: IPv4Address | IPv6Address) -> None:
        for near, far in ((Reach.PUBLIC, Reach.LOOPBACK), (Reach.LOOPBACK, Reach.PRIVATE)):
            assert forbidden(address, near) or not forbidden(address, far)

    def test_loopback_reach_is_loopback_only(self) -> None:
        allowed = [address for address in FORBIDDEN if forbidden(ip_address(address), Reach.LOOPBACK) is None]
        assert allowed == ["127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"]

    def test_private_reach_never_includes_metadata_services(self) -> None:
        for address in (
            "169.254.169.254",
            "168.63.129.16",
            "fe80::1",
            "0.0.0.0",
            "224.0.0.1",
            "::ffff:169.254.169.254",
        ):
            assert forbidden(ip_address(address), Reach.PRIVATE)


class TestParse:
    def test_takes_a_url_apart(self) -> None:
        assert parse_webhook_url("https://Hooks.Example.com:8443/a%20b?c=d") == Target(
            "https", "hooks.example.com", 8443, "/a%20b?c=d"
        )
        assert parse_webhook_url("https://example.com") == Target("https", "example.com", 443, "/")
        assert parse_webhook_url("https://example.com.?x") == Target("https", "example.com", 443, "/?x")
        assert parse_webhook_url("https://[2606:4700::1111]/") == Target("https", "2606:4700::1111", 443, "/")

    def test_names_the_port_in_host_only_when_it_is_unusual(self) -> None:
        assert parse_webhook_url("https://example.com:443/").authority == "example.com"
        assert parse_webhook_url("https://[2606:4700::1111]:8443/").authority == "[2606:4700::1111]:8443"

    @pytest.mark.parametrize(
        "url",
        [
            "https://localhost/", "https://a.localhost/", "https://LOCALHOST./", "https://127.0.0.1/", "https://127.1/",
            "https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://017700000001/", "https://0/",
            "https://127.0.0.1./", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/", "https://10.0.0.1/", "https://169.254.169.254/latest/meta-data/",
            "https://[fd00:ec2::254]/", "https://metadata.google.internal/", "https://printer.local/",
            "https://intranet/", "https://0.0.0.0/", "https://[::]/",
        ],
    )  # fmt: skip
    def test_refuses_where_webhooks_do_not_go(self, url: str) -> None:
        assert _refusal(url).code == "forbidden_webhook_target"

    @pytest.mark.parametrize(
        "url",
        [
            "", "example.com", "//example.com/", "http://example.com/", "ftp://example.com/", "file:///etc/passwd",
            "javascript:alert(1)", "https://", "https:///path", "https://user@example.com/", "https://u:p@example.com/",
            "https://@example.com/", "https://example.com/#part", "https://example.com/#", "https://example.com:0/",
            "https://example.com:22/", "https://example.com:80/", "https://example.com:99999/", "https://example.com:x/",
            "https://exa mple.com/", "https://example.com/a b", "https://example.com\\@127.0.0.1/", 
            "https://ex%61mple.com/",
            "https://exämple.com/", "https://example.com/\r\nx: y", "https://example.com/\x00", "https://[::1/", 
            "https://::1/",
            "https://[::1]x:80/", "https://[fe80::1%25eth0]/", "https://8.8.2056/", "https://1.2.3.4.5/", "https://.com/",
            "https://a..b/", "https://-a.example/", "https://256.256.256.256/", "https://0x/",
            "https://example.com/" + "a" * 2048,
            "HTTP://example.com/", "https:example.com", "https://example.com:8443:8443/", "https://１２７.0.0.1/",
        ],
    )  # fmt: skip
    def test_refuses_what_is_malformed(self, url: str) -> None:
        refusal = _refusal(url)
        assert (refusal.code, refusal.param) == ("invalid_webhook_url", "url")

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
    def test_http_goes_to_this_machine_in_development(self, host: str) -> None:
        assert parse_webhook_url(f"http://{host}:80/", Reach.LOOPBACK).scheme == "http"
        assert _refusal(f"http://{host}/").param == "url"

    @pytest.mark.parametrize(
        "url", ["http://example.com/", "http://8.8.8.8/", "https://10.0.0.1/", "https://intranet/"]
    )
    def test_and_nowhere_else(self, url: str) -> None:
        assert _refusal(url, Reach.LOOPBACK).param == "url"
        assert parse_webhook_url(url, Reach.PRIVATE)

    @given(st.text(max_size=60).map(lambda text: "https://" + text))
    def test_answers_any_text_with_a_target_or_a_refusal(self, url: str) -> None:
        with suppress(InvalidRequest):
            target = parse_webhook_url(url)
            assert target.authority.isascii()
            assert target.path.startswith("/")

    def test_the_reach_follows_the_settings(self) -> None:
        assert Reach.of(allow_private=False, development=True) is Reach.PUBLIC
        assert Reach.of(allow_private=True, development=True) is Reach.LOOPBACK
        assert Reach.of(allow_private=True, development=False) is Reach.PRIVATE


def _refusal(url: str, reach: Reach = Reach.PUBLIC) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_webhook_url(url, reach)
    return caught.value
