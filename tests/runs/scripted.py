"""An upstream program that answers chat completions by a script, speaks HTTP, and keeps a log of what it was asked.

It honours `Idempotency-Key` as a good upstream does: a key that was answered gets the same answer again, and is charged
once. What it was asked under a key while the first such call was under way waits for that one.
"""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_WORDS = (
    "amber barley candle delta ember falcon garnet harbour indigo jasmine kelp lantern maple nectar orchid pepper "
    "quartz raven saffron timber umber velvet willow xenon yarrow zephyr anchor bramble copper dahlia"
)
WORDS = _WORDS.split()


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is answered: a message, or an error by its status."""

    text: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    finish_reason: str = "stop"
    usage: tuple[int, int] | None = None
    status: int = 200
    retry_after: str | None = None
    code: str | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call as it came: its idempotency key, without the run's id."""

    whole_key: str
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """Such as `answer/3/try-1`."""
        return self.whole_key.partition("/")[2]

    @property
    def kind(self) -> str:
        """`question` or `answer`."""
        return self.key.partition("/")[0]

    @property
    def item(self) -> int:
        """Which example."""
        return int(self.key.split("/")[1])

    @property
    def attempt(self) -> int:
        """Which try."""
        return int(self.key.rpartition("-")[2])

    @property
    def asked(self) -> str:
        """The last message."""
        return str(self.body["messages"][-1]["content"])


def words(about: str, count: int = 12) -> str:
    """Words that no other text has in this order."""
    digest = hashlib.sha256(about.encode()).digest()
    return " ".join(WORDS[digest[place] % len(WORDS)] for place in range(count))


def plain(call: Call) -> Reply:
    """Answers that are as they should be."""
    return Reply(text=f"{words(call.key).capitalize()}?" if call.kind == "question" else f"It is {words(call.key)}.")


@dataclass
class Scripted:
    """The running upstream."""

    base_url: str
    script: Callable[[Call], Reply] = plain
    pace_seconds: float = 0.0
    log: list[Call] = field(default_factory=list)
    charged: dict[str, tuple[int, int]] = field(default_factory=dict)
    replayed: int = 0
    max_at_once: int = 0
    gate: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    _locks: dict[str, threading.Lock] = field(default_factory=dict)
    _at_once: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    def reset(self) -> None:
        """Forget everything."""
        with self._lock:
            self.script, self.pace_seconds = plain, 0.0
            self.log, self.charged, self._answers, self._locks = [], {}, {}, {}
            self.replayed = self.max_at_once = 0
            self.gate.set()

    def keys(self) -> list[str]:
        """What was asked, in order."""
        return [call.key for call in self.log]

    def receive(self, call: Call) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Answer a call: status, body, headers."""
        with self._lock:
            self.log.append(call)
            turn = self._locks.setdefault(call.whole_key, threading.Lock())
            self._at_once += 1
            self.max_at_once = max(self.max_at_once, self._at_once)
        try:
            with turn:
                return self._answered(call)
        finally:
            with self._lock:
                self._at_once -= 1

    def _answered(self, call: Call) -> tuple[int, dict[str, Any], dict[str, str]]:
        if (known := self._answers.get(call.whole_key)) is not None:
            self.replayed += 1
            return 200, known, {}
        reply = self.script(call)
        time.sleep(self.pace_seconds)
        self.gate.wait(60)
        if reply.status != 200:
            error = {"message": reply.text or "Not now.", "type": "server_error", "param": None, "code": reply.code}
            return reply.status, {"error": error}, {"retry-after": reply.retry_after} if reply.retry_after else {}
        message: dict[str, Any] = {"role": "assistant", "content": reply.text}
        if reply.tool_calls is not None:
            message["tool_calls"] = reply.tool_calls
        read, written = reply.usage or (len(json.dumps(call.body)) // 4, len(reply.text or "") // 4 + 5)
        answer = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": call.body["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": reply.finish_reason, "logprobs": None}],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }
        with self._lock:
            assert call.whole_key not in self.charged, f"{call.whole_key} is charged twice"
            self._answers[call.whole_key] = answer
            self.charged[call.whole_key] = (read, written)
        return 200, answer, {}


@contextmanager
def scripted() -> Iterator[Scripted]:
    """Run it in threads of this process."""
    server = _Server(("127.0.0.1", 0), _Handler)
    running = Scripted(f"http://127.0.0.1:{server.server_address[1]}/v1")
    server.upstream = running
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    upstream: Scripted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side was killed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        call = Call(whole_key=self.headers.get("idempotency-key") or "", body=body)
        assert isinstance(self.server, _Server)
        status, answer, headers = self.server.upstream.receive(call)
        raw = json.dumps(answer).encode()
        try:
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
        except OSError:
            return  # the other side was killed
