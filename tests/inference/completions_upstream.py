"""An upstream that answers completions, on a port: with or without usage, whole or in pieces, well or not.

What it does stands in the question: `usage=7,3` reports that usage, `none` reports none, `status=503` refuses, `cut`
breaks the answer off, `slow` waits at every piece until it is let go, `hang` before a whole answer, `strict` knows no
`stream_options`, `flood` answers with some megabytes.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PIECES = ["River ", "three ", "is ", "103 ", "kilometres ", "long."]
WAIT_SECONDS = 90.0
FLOOD_BYTES = 2 * 1024 * 1024


class Answering:
    """The running upstream: what it was asked, and what holds it back."""

    def __init__(self, port: int) -> None:
        self.base_url = f"http://127.0.0.1:{port}/v1"
        self.asked: list[dict[str, Any]] = []
        self.let_go = threading.Event()
        self.hung_up = threading.Event()

    def reset(self) -> None:
        """Forget everything."""
        self.asked.clear()
        self.let_go.clear()
        self.hung_up.clear()


@contextmanager
def answering() -> Iterator[Answering]:
    """Run it in threads of this process."""
    server = _Server(("127.0.0.1", 0), _Handler)
    running = Answering(server.server_address[1])
    _Handler.upstream = running
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.let_go.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


class _Handler(BaseHTTPRequestHandler):
    upstream: Answering
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.upstream.asked.append(body)
        said = json.dumps(body.get("messages") or body.get("prompt"))
        if found := re.search(r"status=(\d+)", said):
            self._json(int(found.group(1)), {"error": {"message": "No.", "type": "server_error", "code": None}})
        elif "strict" in said and "stream_options" in body:
            self._json(400, {"error": {"message": "Unknown parameter: 'stream_options'.", "type": "x", "code": None}})
        elif body.get("stream"):
            self._stream(body, said)
        else:
            self._whole(body, said)

    def _usage(self, said: str) -> dict[str, int] | None:
        if "none" in said:
            return None
        found = re.search(r"usage=(\d+),(\d+)", said)
        read, written = (int(found.group(1)), int(found.group(2))) if found else (11, 7)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}

    def _whole(self, body: dict[str, Any], said: str) -> None:
        if "hang" in said:
            self.upstream.let_go.wait(WAIT_SECONDS)
        content = "x" * FLOOD_BYTES if "flood" in said else "".join(PIECES)
        message = {"role": "assistant", "content": content}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        answer = {"id": "c", "object": "chat.completion", "created": 1, "model": body["model"], "choices": [choice]}
        usage = self._usage(said)
        self._json(200, answer | ({"usage": usage} if usage else {}))

    def _stream(self, body: dict[str, Any], said: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        wants_usage = (body.get("stream_options") or {}).get("include_usage", False)
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}
        extra = {"usage": None} if wants_usage else {}
        try:
            pieces = PIECES + ["river "] * (FLOOD_BYTES // 100) if "flood" in said else PIECES
            for place, piece in enumerate(pieces):
                if "slow" in said and place > 0:
                    self._wait()
                if "cut" in said and place == 3:
                    return
                choice = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
                self._event(head | {"choices": [choice]} | extra)
            usage = self._usage(said)
            if wants_usage and usage:
                self._event(head | {"choices": [], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            self.upstream.hung_up.set()

    def _wait(self) -> None:
        """Until it is let go, or the other side has gone."""
        for _ in range(int(WAIT_SECONDS / 0.05)):
            if self.upstream.let_go.wait(0.05):
                return
            self.wfile.write(b": still here\n\n")
            self.wfile.flush()

    def _event(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def _json(self, status: int, body: dict[str, Any]) -> None:
        try:
            self._send_json(status, body)
        except OSError:
            self.upstream.hung_up.set()

    def _send_json(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)
