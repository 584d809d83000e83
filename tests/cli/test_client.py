"""The HTTP client of the commands, against a server that answers as a test says."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from cli.client import MAX_ATTEMPTS, Client
from cli.errors import Refused, ReportPending, Unreachable

Answer = tuple[int, dict[str, str], bytes] | None
"""A status, headers and a body; None closes the connection without a response."""


def answer(body: Any, status: int = 200, **headers: str) -> Answer:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, json.dumps(body).encode()


def refused(status: int, message: str, *, code: str | None = None, **headers: str) -> Answer:
    return answer({"error": {"message": message, "type": "t", "param": None, "code": code}}, status, **headers)


@dataclass
class Served:
    """The answers that are left, and the requests that have arrived."""

    answers: list[Answer]
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    port: int = 0

    def client(self) -> Client:
        return Client(f"http://127.0.0.1:{self.port}/v1", "tg_live_key")


@pytest.fixture
def served() -> Iterator[Served]:
    """A server on a free port."""
    state = Served([])

    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append((self.command, self.path, headers))
            if (given := state.answers.pop(0)) is None:
                self.close_connection = True
                return
            status, answer_headers, body = given
            self.send_response(status)
            for name, value in {**answer_headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = respond

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield state
        server.shutdown()


def test_a_request_has_the_key_and_only_given_parameters(served: Served) -> None:
    served.answers = [answer({"id": "a"})]
    with served.client() as client:
        assert client.get("/files/a", model=None, order="asc") == {"id": "a"}
    ((method, path, headers),) = served.requests
    assert (method, path, headers["authorization"]) == ("GET", "/v1/files/a?order=asc", "Bearer tg_live_key")


class TestALostResponse:
    def test_of_a_creation_is_asked_for_again_with_the_same_idempotency_key(self, served: Served) -> None:
        served.answers = [None, answer({"id": "a"})]
        with served.client() as client:
            assert client.post("/fine_tuning/jobs", {"model": "m"}) == {"id": "a"}
        first, second = [headers["idempotency-key"] for _, _, headers in served.requests]
        assert first == second

    def test_of_another_creation_has_another_key(self, served: Served) -> None:
        served.answers = [answer({}), answer({})]
        with served.client() as client:
            client.post("/fine_tuning/jobs")
            client.post("/fine_tuning/jobs")
        assert len({headers["idempotency-key"] for _, _, headers in served.requests}) == 2

    def test_of_an_upload_is_not_repeated(self, served: Served, tmp_path: Any) -> None:
        served.answers = [None]
        file = tmp_path / "a.jsonl"
        file.write_text("{}\n")
        with served.client() as client, file.open("rb") as content, pytest.raises(Unreachable, match="doctor"):
            client.upload(content, filename=file.name)
        assert len(served.requests) == 1


class TestARefusal:
    def test_has_the_gateway_s_words(self, served: Served) -> None:
        served.answers = [refused(404, "There is no file file-a.", code="not_found")]
        with served.client() as client, pytest.raises(Refused, match="There is no file file-a") as caught:
            client.get("/files/file-a")
        assert (caught.value.status, caught.value.code) == (404, "not_found")

    def test_that_may_pass_is_repeated_after_the_asked_time(self, served: Served) -> None:
        served.answers = [
            refused(429, "slow", retry_after="0"),
            refused(503, "away", retry_after="0"),
            answer({"a": 1}),
        ]
        with served.client() as client:
            assert client.get("/files") == {"a": 1}

    def test_that_stays_is_not_repeated(self, served: Served) -> None:
        served.answers = [refused(429, "over the budget", x_should_retry="false")]
        with served.client() as client, pytest.raises(Refused, match="over the budget"):
            client.post("/fine_tuning/jobs")

    def test_with_a_long_pause_is_reported_at_once(self, served: Served) -> None:
        served.answers = [refused(429, "slow", retry_after="60")]
        with served.client() as client, pytest.raises(Refused, match="slow"):
            client.get("/files")

    def test_is_reported_after_the_last_attempt(self, served: Served) -> None:
        served.answers = [refused(503, "away", retry_after="0")] * MAX_ATTEMPTS
        with served.client() as client, pytest.raises(Refused, match="away"):
            client.get("/files")
        assert served.answers == []

    def test_of_a_report_that_is_pending_is_a_kind_of_its_own(self, served: Served) -> None:
        served.answers = [refused(409, "not ready", code="report_pending")]
        with served.client() as client, pytest.raises(ReportPending):
            client.post("/fine_tuning/quotes")

    def test_by_another_program_is_one_line(self, served: Served) -> None:
        served.answers = [(200, {}, b"<html>" + b"x" * 10_000)]
        with served.client() as client, pytest.raises(Refused, match="is not the API of a gateway") as caught:
            client.get("/files")
        assert len(str(caught.value)) < 400


class TestAList:
    def test_is_read_page_by_page(self, served: Served) -> None:
        served.answers = [
            answer({"data": [{"id": "c"}, {"id": "b"}], "has_more": True}),
            answer({"data": [{"id": "a"}], "has_more": False}),
        ]
        with served.client() as client:
            found = client.list("/files", order="desc")
        assert found.as_object() == {
            "object": "list",
            "data": [{"id": "c"}, {"id": "b"}, {"id": "a"}],
            "has_more": False,
        }
        assert [path for _, path, _ in served.requests][1] == "/v1/files?limit=100&after=b&order=desc"

    def test_continues_where_the_page_says(self, served: Served) -> None:
        served.answers = [
            answer({"data": [{"id": "b"}], "has_more": True, "next_after": "b:0.5:1.0"}),
            answer({"data": [{"id": "a"}], "has_more": False}),
        ]
        with served.client() as client:
            client.list("/fine_tuning/jobs", sort="train_loss")
        assert "after=b%3A0.5%3A1.0" in served.requests[1][1]

    def test_says_that_it_has_more_than_was_asked_for(self, served: Served) -> None:
        served.answers = [answer({"data": [{"id": "c"}, {"id": "b"}], "has_more": True})]
        with served.client() as client:
            assert client.list("/files", limit=2).has_more is True
        assert [path for _, path, _ in served.requests] == ["/v1/files?limit=2"]


def test_a_gateway_that_does_not_respond_is_one_line() -> None:
    with Client("http://127.0.0.1:9/v1", "k") as client, pytest.raises(Unreachable, match="cannot be reached"):
        client.delete("/files/a")
