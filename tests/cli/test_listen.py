"""`tunegate listen` and `tunegate trigger`: a project's events on a developer's machine."""

import asyncio
import contextlib
import json
import os
import queue
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.gateway import Gateway
from cli.listen import parse_events
from cli.receiver import Delivery, Receiver, receiver
from service.errors import SettingsError
from tests.stack import ROOT, DevStack
from tests.wire import Tenant, eventually, new_tenant

SUCCEEDED = "fine_tuning.job.succeeded"
STOP_SECONDS = 60.0


def environment(base_url: str, key: str) -> dict[str, str]:
    """What the SDK reads too."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": key, "COLUMNS": "200"}


def secret_in(said: str) -> str:
    """The signing secret that a listener has printed."""
    return str(re.findall(r"whsec_\S+", said)[0])


def tunegate(tenant: Tenant, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=ROOT,
        env=environment(tenant.base_url, tenant.key),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@dataclass(frozen=True)
class Listening:
    """A running `tunegate listen`."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text(encoding="utf-8")

    def until_said(self, text: str) -> str:
        """Everything, once it has printed this."""
        eventually(lambda: text in self.said() or None)
        return self.said()

    def stop(self) -> int:
        """Ctrl-C: its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def listening(folder: Path, env: dict[str, str], *arguments: str) -> Iterator[Listening]:
    """Run it, and see that it ends."""
    log = folder / "listen.log"
    env = {"XDG_CONFIG_HOME": str(folder / "config")} | env
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "listen", *arguments], cwd=ROOT, env=env, stdout=output, stderr=output
        )
    try:
        yield Listening(process, log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_SECONDS)


@pytest.fixture(scope="module")
def tenant(stack: DevStack) -> Tenant:
    """A project whose events are only these tests'."""
    return new_tenant(stack.ready()["base_url"], stack.ready()["database_url"])


def received(hook: Receiver) -> Delivery:
    """The next delivery."""
    return hook.deliveries.get(timeout=90)


class TestListen:
    def test_forwards_the_very_bytes_signed_and_ends_with_ctrl_c(self, tenant: Tenant, tmp_path: Path) -> None:
        env = environment(tenant.base_url, tenant.key)
        with receiver() as hook, listening(tmp_path, env, "--forward-to", hook.url) as listen:
            secret = secret_in(listen.until_said("listening; forwarding to"))
            triggered = tunegate(tenant, "trigger", SUCCEEDED)
            assert triggered.returncode == 0, triggered.stderr
            event_id = triggered.stdout.split()[0]
            delivery = received(hook)
            sdk = tenant.sdk()
            event = sdk.webhooks.unwrap(delivery.body, delivery.headers, secret=secret)
            assert (event.id, event.type) == (event_id, SUCCEEDED)
            assert delivery.headers["webhook-id"] == event_id
            assert json.loads(delivery.body) == sdk.get(f"/webhook_events/{event_id}", cast_to=object)
            assert re.search(rf"204  \d+ ms  {SUCCEEDED}  {event_id}", listen.until_said(event_id))
            assert listen.stop() == 0
            assert "stopped" in listen.said()
            assert "Traceback" not in listen.said()
        [stored] = (tmp_path / "config" / "tunegate" / "listen").iterdir()
        assert (stored.read_text(), stored.stat().st_mode & 0o777) == (secret, 0o600)
        assert tenant.project_id in stored.name

    def test_only_the_types_that_are_wanted_and_every_status(self, tenant: Tenant, tmp_path: Path) -> None:
        env = environment(tenant.base_url, tenant.key)
        arguments = ("--forward-to", "http://127.0.0.1:1/", "--event-types", "file.error,model.retiring")
        with listening(tmp_path, env, *arguments) as listen:
            secret = secret_in(listen.until_said("listening; forwarding to"))
            for name in (SUCCEEDED, "model.retiring"):
                assert tunegate(tenant, "trigger", name).returncode == 0
            said = listen.until_said("model.retiring")
            assert "ConnectError" in said
            assert SUCCEEDED not in said
            assert listen.stop() == 0
        with listening(tmp_path, env, *arguments) as again:
            assert secret_in(again.until_said("listening; forwarding to")) == secret
            assert again.stop() == 0

    def test_a_dev_stack_s_ready_file_will_do(self, stack: DevStack, tmp_path: Path) -> None:
        env = {"PATH": os.environ["PATH"]}
        ready = ("--ready-file", str(stack.ready_file))
        with receiver() as hook, listening(tmp_path, env, "--forward-to", hook.url, *ready) as listen:
            listen.until_said("listening; forwarding to")
            listen.process.send_signal(signal.SIGTERM)
            assert listen.process.wait(STOP_SECONDS) == 0

    def test_a_key_that_is_refused_ends_it(self, tenant: Tenant, tmp_path: Path) -> None:
        env = environment(tenant.base_url, "tg_live_nonsense")
        with listening(tmp_path, env, "--forward-to", "http://127.0.0.1:1/") as listen:
            assert listen.process.wait(STOP_SECONDS) == 2
            assert "Incorrect API key" in listen.said()

    @pytest.mark.parametrize("url", ["ftp://x/", "127.0.0.1:3000", ""])
    def test_a_target_that_is_none(self, tenant: Tenant, url: str) -> None:
        done = tunegate(tenant, "listen", "--forward-to", url)
        assert (done.returncode, "--forward-to" in done.stderr) == (2, True)


class TestReconnecting:
    async def test_goes_on_after_the_last_event(self, tmp_path: Path) -> None:
        """A gateway that closes after every event and is twice unavailable: each event arrives, in order, once."""
        asked: list[str | None] = []
        project_requests: list[str] = []
        heads: list[str] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            heads.append(head)
            if head.startswith("GET /v1/project "):
                project_requests.append(head)
                project = b'{"id": "proj_1"}'
                status = b"503 X" if len(project_requests) == 1 else b"200 OK"
                writer.write(b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n%b" % (status, len(project), project))
                await writer.drain()
                writer.close()
                return
            last = re.search(r"last-event-id: (\S+)", head)
            asked.append(last.group(1) if last else None)
            number = len(asked)
            if number == 2:
                writer.write(b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n")
            else:
                body = json.dumps({"id": f"evt_{number}", "type": SUCCEEDED})
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
                writer.write(
                    f"id: evt_{number}\nevent: {SUCCEEDED}\ndata: {body}\n\n: half of one\nid: evt_x\nda".encode()
                )
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        env = environment(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", "key")
        with receiver() as hook, listening(tmp_path, env, "--forward-to", hook.url) as listen:
            came = [(await asyncio.to_thread(received, hook)).headers["webhook-id"] for _ in range(3)]
            status = await asyncio.to_thread(listen.stop)
        server.close()
        assert came == ["evt_1", "evt_3", "evt_4"]
        assert asked[:4] == [None, "evt_1", "evt_1", "evt_3"]
        assert status == 0
        assert len(project_requests) == 2, "the first was not answered"
        assert secret_in(listen.said()) not in "".join(heads), "the secret stays on this machine"


class TestTrigger:
    def test_to_one_endpoint_says_how_it_answered(self, tenant: Tenant) -> None:
        with receiver() as hook:
            endpoint = tenant.sdk().webhooks.create(name="mine", url=hook.url, event_types=["file.error"])  # type: ignore[list-item]
            done = tunegate(tenant, "trigger", SUCCEEDED, "--endpoint", endpoint.id)
            assert (done.returncode, done.stdout.rstrip()[-3:]) == (0, "204")
            delivery = received(hook)
            assert tenant.sdk().webhooks.unwrap(delivery.body, delivery.headers, secret=endpoint.signing_secret)
            assert tunegate(tenant, "trigger", "file.error").returncode == 0
            assert json.loads(received(hook).body)["type"] == "file.error"
            with pytest.raises(queue.Empty):
                hook.deliveries.get_nowait()
            tenant.sdk().webhooks.delete(endpoint.id)

    def test_of_no_known_type_names_those_that_there_are(self, tenant: Tenant) -> None:
        done = tunegate(tenant, "trigger", "job.done")
        assert (done.returncode, done.stdout) == (2, "")
        assert SUCCEEDED in done.stderr

    def test_without_a_gateway(self, tenant: Tenant) -> None:
        gone = Tenant(base_url="http://127.0.0.1:1/v1", database_url="", project_id="", key="k")
        done = tunegate(gone, "trigger", SUCCEEDED)
        assert (done.returncode, "cannot be reached" in done.stderr) == (2, True)


class TestGateway:
    def test_is_the_sdk_s_or_a_ready_file_s(self, tmp_path: Path) -> None:
        ready = tmp_path / "ready.json"
        ready.write_text(json.dumps({"base_url": "http://here/v1", "api_key": "k"}), encoding="utf-8")
        sdk = {"OPENAI_BASE_URL": "http://there/v1", "OPENAI_API_KEY": "k"}
        assert Gateway.found(sdk, ready).base_url == "http://here/v1"
        assert Gateway.found(sdk, None).base_url == "http://there/v1"
        assert "k'" not in repr(Gateway.found(sdk, None))
        for environ, file in (({}, None), ({"OPENAI_API_KEY": "k"}, None), (sdk, tmp_path / "none.json")):
            with pytest.raises(SettingsError):
                Gateway.found(environ, file)


async def test_a_stream_is_read_as_the_standard_says_as_far_as_it_is_used() -> None:
    text = "id: 1\n: comment\n\nevent: a\ndata: {\nid:2\n\n\nid: 3\nevent: b\ndata:x: y\n\nid: 4\ndata: lost"

    async def lines() -> AsyncIterator[str]:
        for line in text.split("\n"):
            yield line

    reported = [(each.id, each.type, each.body) async for each in parse_events(lines())]
    assert reported[:2] == [("1", "", b""), ("2", "a", b"{")]
    assert reported[-1] == ("3", "b", b"x: y")
