"""`tunegate dev` as a user runs it: what API.md's "Starting it" says, word for word."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest
import redis

from cli.embedded import OWNER, SERVICE, execute, free_port
from service.identity.bootstrap import new_project_key
from tests.cli.leftovers import nothing_is_left_of
from tests.stack import DevStack, Servers, is_running, run_async
from tests.wire import eventually

PARTS = ["api", "worker", "trainer", "postgres", "redis"]
SERVING_SECONDS = 120.0
LINE = {"messages": [{"role": "user", "content": "Ping?"}, {"role": "assistant", "content": "Pong."}]}

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStack]:
    """One stack for the tests that leave it running. A key alone is in its environment, which selects nothing."""
    stack = DevStack(tmp_path_factory.mktemp("dev"), environment={"OPENAI_API_KEY": "sk-alone"})
    try:
        yield stack.start()
    finally:
        stack.stop()


def upload(client: openai.OpenAI) -> str:
    body = "".join(json.dumps(LINE) + "\n" for _ in range(10)).encode()
    return client.files.create(file=("ping.jsonl", body), purpose="fine-tune").id


def serves_again(stack: DevStack) -> None:
    """Wait until a project's request is answered and the database behind it works."""
    deadline = time.monotonic() + SERVING_SECONDS
    while True:
        try:
            stack.client().files.list(limit=1)
            return
        except openai.APIError:
            assert time.monotonic() < deadline, stack.output()
            time.sleep(0.1)


@pytest.mark.xdist_group("dev")
class TestReadyFile:
    def test_it_is_the_json_of_the_contract(self, dev: DevStack) -> None:
        ready = dev.ready()
        urls = ["base_url", "api_key", "admin_key", "database_url", "redis_url", "upstream_url"]
        assert list(ready) == [*urls, "pids", "metrics_urls"]
        assert list(ready["pids"]) == PARTS
        assert all(is_running(pid) for pid in ready["pids"].values())
        assert ready["base_url"] == f"http://127.0.0.1:{urlsplit(ready['base_url']).port}/v1"
        assert ready["upstream_url"].endswith("/v1")

    def test_what_it_names_works(self, dev: DevStack) -> None:
        ready = dev.ready()
        assert dev.client().models.list().data
        assert run_async(execute(ready["database_url"], "SELECT count(*) FROM projects")) == 1
        with redis.Redis.from_url(ready["redis_url"]) as connection:
            assert connection.ping() is True

    def test_the_pids_are_those_of_the_programs_themselves(self, dev: DevStack) -> None:
        lock = dev.data / "postgres" / "data" / "postmaster.pid"
        assert int(lock.read_text().split()[0]) == dev.pid("postgres")
        with redis.Redis.from_url(dev.ready()["redis_url"], decode_responses=True) as connection:
            assert connection.info("server")["process_id"] == dev.pid("redis")
        for name, word in (("api", b"serve"), ("worker", b"worker"), ("trainer", b"trainer")):
            assert word in Path(f"/proc/{dev.pid(name)}/cmdline").read_bytes().split(b"\0")

    def test_secrets_are_their_owner_s_alone(self, dev: DevStack) -> None:
        for path in (dev.ready_file, dev.data / "credentials.json", dev.data / "redis" / "valkey.conf"):
            assert path.stat().st_mode & 0o777 == 0o600

    def test_no_secret_is_on_a_command_line(self, dev: DevStack) -> None:
        secrets = json.loads((dev.data / "credentials.json").read_text()).values()
        for pid in (*dev.ready()["pids"].values(), dev.own_pid):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode()
            assert not any(secret in words for secret in secrets)

    def test_a_key_alone_selects_the_trainer(self, dev: DevStack) -> None:
        ready = dev.ready()
        with openai.OpenAI(base_url=ready["upstream_url"], api_key="sk-alone", max_retries=0) as stranger:
            assert urlsplit(ready["upstream_url"]).hostname == "127.0.0.1"
            with pytest.raises(openai.AuthenticationError):
                stranger.models.list()


@pytest.mark.xdist_group("dev")
class TestKills:
    @pytest.mark.parametrize("name", PARTS)
    def test_a_killed_part_is_back_where_it_was(self, dev: DevStack, name: str) -> None:
        """How soon, the delays in tests/cli/test_supervisor.py say: a loaded machine keeps no time."""
        serves_again(dev)
        before = dev.ready()
        file_id = upload(dev.client())
        os.kill(before["pids"][name], signal.SIGKILL)
        eventually(lambda: dev.ready()["pids"][name] != before["pids"][name], every_seconds=0.01)
        serves_again(dev)
        eventually(lambda: is_running(dev.ready()["pids"][name]))
        after = dev.ready()
        assert {**after, "pids": {**after["pids"], name: None}} == {**before, "pids": {**before["pids"], name: None}}
        assert dev.client().files.retrieve(file_id).id == file_id

    def test_a_caller_during_a_restart_of_the_api_is_served_by_the_next_one(self, dev: DevStack) -> None:
        serves_again(dev)
        os.kill(dev.pid("api"), signal.SIGKILL)
        assert dev.client().models.list().data


@pytest.mark.xdist_group("dev")
class TestRefusals:
    def test_two_on_one_folder(self, dev: DevStack, tmp_path: Path) -> None:
        second = DevStack(tmp_path)
        second.data = dev.data
        second.launch()
        assert second.wait() == 2
        assert f"(pid {dev.own_pid}) already runs on {dev.data}" in second.output()
        assert dev.client().models.list().data

    def test_a_port_in_use(self, dev: DevStack, tmp_path: Path) -> None:
        second = DevStack(tmp_path, port=urlsplit(dev.ready()["base_url"]).port or 0)
        second.launch()
        assert second.wait() == 2
        assert "--port" in second.output()

    @pytest.mark.parametrize("key", ["sk-something", ""])
    def test_ourselves_as_the_upstream(self, tmp_path: Path, key: str) -> None:
        port = free_port()
        environment = {"OPENAI_BASE_URL": f"http://localhost:{port}/v1", "OPENAI_API_KEY": key}
        stack = DevStack(tmp_path, port=port, environment=environment)
        stack.launch()
        assert stack.wait() == 2
        assert "this gateway itself" in stack.output()
        assert not stack.ready_file.exists()
        nothing_is_left_of(tmp_path)

    def test_another_gateway_as_the_upstream(self, tmp_path: Path) -> None:
        """As after pasting the line that another stack has printed."""
        environment = {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": new_project_key()}
        stack = DevStack(tmp_path, environment=environment)
        stack.launch()
        assert stack.wait() == 2
        assert "is a key of a Tunegate gateway" in stack.output()
        nothing_is_left_of(tmp_path)


class TestStops:
    def test_nothing_is_left_and_a_new_start_goes_on_where_it_was(self, tmp_path: Path) -> None:
        stack = DevStack(tmp_path)
        try:
            before = stack.start().ready()
            file_id = upload(stack.client())
            assert stack.stop(signal.SIGTERM) == 0
            nothing_is_left_of(tmp_path)
            assert not stack.ready_file.exists()

            after = stack.start().ready()
            assert (after["api_key"], after["admin_key"]) == (before["api_key"], before["admin_key"])
            assert stack.client().files.content(file_id).read().count(b"\n") == 10
            assert stack.stop(signal.SIGINT) == 0
            nothing_is_left_of(tmp_path)
        finally:
            stack.stop()

    def test_a_killed_dev_takes_everything_along_and_can_be_started_again(self, tmp_path: Path) -> None:
        stack = DevStack(tmp_path)
        try:
            stack.start()
            file_id = upload(stack.client())
            stack.stop(signal.SIGKILL)
            nothing_is_left_of(tmp_path)
            stack.ready_file.unlink()  # nobody was left to do it
            stack.start()
            assert stack.client().files.retrieve(file_id).id == file_id
        finally:
            stack.stop()

    def test_a_stop_while_starting_leaves_nothing(self, tmp_path: Path) -> None:
        stack = DevStack(tmp_path)
        stack.launch()
        eventually(lambda: "migrating the database" in stack.output(), every_seconds=0.02)
        assert stack.stop() == 0
        nothing_is_left_of(tmp_path)


@pytest.mark.xdist_group("dev")
def test_given_servers_and_a_given_upstream_replace_the_embedded_ones(
    dev: DevStack, servers: Servers, database: str, redis_url: str, tmp_path: Path
) -> None:
    trainer_key = json.loads((dev.data / "credentials.json").read_text())["trainer_key"]
    upstream_url = dev.ready()["upstream_url"]
    service_url = servers.postgres.url(SERVICE, database)
    environment = {
        "DATABASE_URL": service_url,
        "TUNEGATE_OWNER_DATABASE_URL": servers.postgres.url(OWNER, database),
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": upstream_url,
        "OPENAI_API_KEY": trainer_key,
    }
    stack = DevStack(tmp_path, environment=environment)
    try:
        ready = stack.start().ready()
        assert list(ready["pids"]) == ["api", "worker"]
        assert (ready["redis_url"], ready["upstream_url"]) == (redis_url, upstream_url)
        assert stack.client().models.list().data
    finally:
        stack.stop()
