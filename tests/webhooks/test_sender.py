"""The sender against a real receiver that answers well, badly, slowly and not at all."""

import asyncio
import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service.egress.addresses import Address, Reach
from service.egress.resolver import LookupFailed, Resolver
from service.errors import InvalidRequest
from service.webhooks.outcomes import Delivered, Outcome, Rejected, Unreachable
from service.webhooks.sender import MAX_RESPONSE_BYTES, Sender
from tests.webhooks.factories import new_sender
from tests.webhooks.receiver import Receiver, answer, receiving

HEADERS = {"webhook-id": "evt_1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
BODY = '{"name": "Zoë"}'.encode()


@pytest.fixture
def sender() -> Sender:
    """One that waits for an answer as long as a busy machine takes."""
    return new_sender(reach=Reach.LOOPBACK, timeout_seconds=60)


@pytest.fixture
def impatient() -> Sender:
    """One for receivers that never end their answer."""
    return new_sender(reach=Reach.LOOPBACK, timeout_seconds=1)


class TestAnswers:
    async def test_2xx_is_delivered_and_the_bytes_are_the_bytes(self, sender: Sender, receiver: Receiver) -> None:
        receiver.answers["/in?a=b"] = [answer(201, body=b"thanks")]
        outcome = await sender.send(receiver.url("/in?a=b"), HEADERS, BODY)
        assert isinstance(outcome, Delivered)
        assert (outcome.status_code, outcome.response) == (201, "thanks")
        (request,) = receiver.received
        assert request.body == BODY
        assert request.path == "/in?a=b"
        assert HEADERS.items() <= request.headers.items()
        assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
        assert request.headers["content-type"] == "application/json"
        assert "transfer-encoding" not in request.headers

    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    async def test_redirects_are_not_followed(self, sender: Sender, receiver: Receiver, status: int) -> None:
        receiver.answers["/away"] = [answer(status, f"location: {receiver.url('/elsewhere')}\r\n")]
        outcome = await sender.send(receiver.url("/away"), HEADERS, BODY)
        assert isinstance(outcome, Rejected)
        assert outcome.status_code == status
        assert [request.path for request in receiver.received] == ["/away"]

    @pytest.mark.parametrize("status", [304, 400, 404, 410, 429, 500, 503, 999])
    async def test_anything_else_is_rejected(self, sender: Sender, receiver: Receiver, status: int) -> None:
        receiver.answers["/no"] = [answer(status, "retry-after: 7\r\n")]
        outcome = await sender.send(receiver.url("/no"), HEADERS, BODY)
        assert isinstance(outcome, Rejected)
        assert (outcome.status_code, outcome.retry_after_seconds) == (status, 7)

    async def test_informational_answers_come_before_the_real_one(self, sender: Sender, receiver: Receiver) -> None:
        receiver.answers["/early"] = [b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + answer(200)]
        assert isinstance(await sender.send(receiver.url("/early"), HEADERS, BODY), Delivered)

    @pytest.mark.parametrize(
        "garbage",
        [
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"\x00\xff\xfe garbage\r\n\r\n",
            b"HTTP/1.1 two hundred\r\n\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n",
            b"",
        ],
    )
    async def test_garbage_is_no_answer(self, sender: Sender, receiver: Receiver, garbage: bytes) -> None:
        receiver.answers["/garbage"] = [garbage]
        assert _reason(await sender.send(receiver.url("/garbage"), HEADERS, BODY)) == "protocol_error"

    async def test_a_compressed_answer_is_kept_raw(self, sender: Sender, receiver: Receiver) -> None:
        receiver.answers["/zip"] = [answer(200, "content-encoding: gzip\r\n", b"\x1f\x8b\x00\x00bomb")]
        outcome = await sender.send(receiver.url("/zip"), HEADERS, BODY)
        assert isinstance(outcome, Delivered)
        assert outcome.response.endswith("bomb")

    async def test_an_endless_answer_is_cut(self, sender: Sender, receiver: Receiver) -> None:
        outcome = await sender.send(receiver.url("/endless"), HEADERS, BODY)
        assert isinstance(outcome, Delivered)
        assert outcome.response == "y" * MAX_RESPONSE_BYTES
        await _until_closed(receiver)


class TestDeadline:
    @pytest.mark.parametrize("path", ["/never", "/drip-headers"])
    async def test_no_status_in_time_is_a_timeout(self, impatient: Sender, receiver: Receiver, path: str) -> None:
        started = time.monotonic()
        assert _reason(await impatient.send(receiver.url(path), HEADERS, BODY)) == "timeout"
        assert time.monotonic() - started > 0.9
        await _until_closed(receiver)

    async def test_a_body_that_drips_does_not_undo_the_status(self, receiver: Receiver) -> None:
        """It is cut long before its thousand bytes, which take 50 s."""
        sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=5)
        outcome = await sender.send(receiver.url("/drip-body"), HEADERS, BODY)
        assert isinstance(outcome, Delivered)
        assert 0 < len(outcome.response) < 500
        await _until_closed(receiver)

    async def test_a_target_that_does_not_read(self, impatient: Sender) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=8) as listening:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            assert _reason(await impatient.send(url, HEADERS, b"x" * 20_000_000)) == "timeout"

    async def test_slow_targets_do_not_hold_others_up(self, sender: Sender, receiver: Receiver) -> None:
        slow = [asyncio.create_task(sender.send(receiver.url("/held"), HEADERS, BODY)) for _ in range(100)]
        while len(receiver.received) < 100:
            await asyncio.sleep(0.05)
        assert isinstance(await sender.send(receiver.url("/"), HEADERS, BODY), Delivered)
        assert not any(task.done() for task in slow)
        receiver.let_go.set()
        assert {type(outcome) for outcome in await asyncio.gather(*slow)} == {Rejected}

    async def test_a_cancelled_try_leaves_no_connection(self, sender: Sender, receiver: Receiver) -> None:
        task = asyncio.create_task(sender.send(receiver.url("/never"), HEADERS, BODY))
        await receiver.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await _until_closed(receiver)

    async def test_nor_one_that_ends_in_its_tls_handshake(self) -> None:
        sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=0.3)
        closed = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            closed.set()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert _reason(await sender.send(url, HEADERS, BODY)) == "timeout"
        await asyncio.wait_for(closed.wait(), 60)
        server.close()


class TestNetwork:
    async def test_nobody_listens(self, sender: Sender) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
        outcome = await sender.send(f"http://127.0.0.1:{port}/", HEADERS, BODY)
        assert _reason(outcome) == "connect_failed"
        assert isinstance(outcome, Unreachable)
        assert outcome.detail == "Connection refused"

    async def test_a_reset(self, sender: Sender, receiver: Receiver) -> None:
        outcome = await sender.send(receiver.url("/reset"), HEADERS, BODY)
        assert _reason(outcome) in ("connection_lost", "protocol_error")

    async def test_proxies_of_the_environment_are_not_used(
        self, sender: Sender, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert isinstance(await sender.send(receiver.url(), HEADERS, BODY), Delivered)

    async def test_the_next_address_is_tried(self, receiver: Receiver) -> None:
        found = [ip_address("127.0.0.9"), ip_address("127.0.0.1")]
        sender = new_sender(reach=Reach.LOOPBACK, resolver=Resolver(lambda host: found))
        outcome = await sender.send(f"http://localhost:{receiver.port}/", HEADERS, BODY)
        assert isinstance(outcome, Delivered)
        assert receiver.received[0].headers["host"] == f"localhost:{receiver.port}"


class TestAddresses:
    @pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "169.254.169.254"])
    async def test_a_name_that_leads_inside_is_not_dialled(self, address: str) -> None:
        sender = new_sender(reach=Reach.PUBLIC, resolver=Resolver(lambda host: [ip_address(address)]))
        async with receiving() as receiver:
            outcome = await sender.send(f"https://hooks.example.com:{receiver.port}/", HEADERS, BODY)
            assert receiver.open_connections == 0
        assert _reason(outcome) == "forbidden_target"
        with pytest.raises(InvalidRequest) as refused:
            await sender.check("https://hooks.example.com/")
        assert (refused.value.code, refused.value.param) == ("forbidden_webhook_target", "url")

    async def test_a_name_that_changes_after_the_check(self, receiver: Receiver) -> None:
        answers: list[Sequence[Address]] = [[IPv4Address("8.8.8.8")], [IPv4Address("127.0.0.1")]]
        sender = new_sender(reach=Reach.PUBLIC, resolver=Resolver(lambda host: answers.pop(0)))
        url = f"https://hooks.example.com:{receiver.port}/"
        await sender.check(url)
        assert _reason(await sender.send(url, HEADERS, BODY)) == "forbidden_target"
        assert receiver.received == []

    async def test_a_stored_url_is_checked_again(self, sender: Sender) -> None:
        assert _reason(await sender.send("http://10.0.0.1/", HEADERS, BODY)) == "forbidden_target"

    async def test_a_name_without_addresses(self) -> None:
        def nothing(host: str) -> Sequence[Address]:
            raise LookupFailed("Name or service not known")

        sender = new_sender(reach=Reach.PUBLIC, resolver=Resolver(nothing))
        assert _reason(await sender.send("https://nowhere.example/", HEADERS, BODY)) == "dns_failed"
        await sender.check("https://nowhere.example/")

    async def test_slow_name_servers_hold_nobody_up(self, receiver: Receiver) -> None:
        answering = threading.Event()
        asked: list[str] = []

        def slow(host: str) -> Sequence[Address]:
            asked.append(host)
            if host.startswith("slow"):
                answering.wait(120)
            return [IPv4Address("127.0.0.1")]

        resolver = Resolver(slow)
        sender = new_sender(reach=Reach.LOOPBACK, resolver=resolver)
        impatient = new_sender(reach=Reach.LOOPBACK, timeout_seconds=0.5, resolver=resolver)
        waiting = [
            asyncio.create_task(impatient.send(f"https://slow{number % 10}.example.com/", HEADERS, BODY))
            for number in range(100)
        ]
        while len(asked) < 10:
            await asyncio.sleep(0.01)
        try:
            assert isinstance(await sender.send(f"http://localhost:{receiver.port}/", HEADERS, BODY), Delivered)
            assert {_reason(await task) for task in waiting} == {"timeout"}
        finally:
            answering.set()
        while resolver._running:  # its threads come back to this loop
            await asyncio.sleep(0.01)


class TestTls:
    async def test_an_unknown_authority_is_refused(self, sender: Sender, tmp_path: Path) -> None:
        async with receiving(_certified("localhost", tmp_path)[0], host="localhost") as receiver:
            assert _reason(await sender.send(receiver.url(), HEADERS, BODY)) == "tls_failed"
            assert receiver.received == []

    async def test_the_certificate_is_checked_against_the_name(self, tmp_path: Path) -> None:
        server, client = _certified("localhost", tmp_path)
        sender = new_sender(reach=Reach.LOOPBACK, timeout_seconds=60, tls=client)
        async with receiving(server, host="localhost") as receiver:
            assert isinstance(await sender.send(receiver.url(), HEADERS, BODY), Delivered)
            by_address = receiver.url().replace("localhost", "127.0.0.1")
            assert _reason(await sender.send(by_address, HEADERS, BODY)) == "tls_failed"


def _reason(outcome: Outcome) -> str:
    assert isinstance(outcome, Unreachable), outcome
    assert outcome.detail
    return outcome.reason


async def _until_closed(receiver: Receiver) -> None:
    await asyncio.wait_for(receiver.idle.wait(), 60)


def _certified(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a fresh certificate for `name`, and a client's that trusts it alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "both.pem").write_bytes(pem + private)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "both.pem")
    return server, ssl.create_default_context(cadata=pem.decode())
