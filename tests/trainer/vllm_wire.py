"""A program that speaks vLLM's wire: `/v1/models`, completions, its errors, and the filesystem resolver of adapters.

It follows vLLM's `entrypoints/openai` and `plugins/lora_resolvers/filesystem_resolver.py` of 2026: an unknown name is
looked for in the resolver's folder, loaded once if `adapter_config.json` names the base exactly as the program was
started with, and known from then on. An answer is the name of what answered and the last words it read.

Faults are requested at `POST /_fault` for the next completion: `hang`, `500`, `cut` (in a stream, after two chunks),
`silence` (the same, but the connection stays open), `error` (an error event in a stream), `not-json`. `GET /_seen` is
what arrived, with the number of requests whose caller hung up.
"""

import argparse
import json
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, arguments: argparse.Namespace) -> None:
        super().__init__(("127.0.0.1", arguments.port), _Handler)
        self.arguments = arguments
        self.adapters: dict[str, str] = {}
        self.fault = ""
        self.seen: list[dict[str, Any]] = []
        self.hung_up = 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/_seen":
            self._json(200, {"seen": self.server.seen, "hung_up": self.server.hung_up})
        elif not self._refused():
            self._json(200, {"object": "list", "data": self._cards()})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path == "/_fault":
            self.server.fault = body["kind"]
            self._json(200, {})
        elif self._refused():
            return
        elif self.path == "/v1/unload_lora_adapter":
            self._unload(body["lora_name"])
        else:
            self._complete(body)

    def _refused(self) -> bool:
        key = self.server.arguments.api_key
        if key and self.headers.get("authorization") != f"Bearer {key}":
            self._json(401, {"error": "Unauthorized"})
            return True
        return False

    def _cards(self) -> list[dict[str, Any]]:
        given = self.server.arguments
        base = {"id": given.served, "object": "model", "created": 1, "owned_by": "vllm", "root": given.root}
        cards = [base | {"parent": None, "max_model_len": given.context}]
        return cards + [
            {"id": name, "object": "model", "created": 1, "owned_by": "vllm", "root": path, "parent": given.served}
            for name, path in self.server.adapters.items()
        ]

    def _unload(self, name: str) -> None:
        if self.server.adapters.pop(name, None) is None:
            self._error(404, f"The lora adapter '{name}' cannot be found.", "NotFoundError")
        else:
            self._json(200, f"Success: LoRA adapter '{name}' removed successfully.")

    def _complete(self, body: dict[str, Any]) -> None:
        fault, self.server.fault = self.server.fault, ""
        self.server.seen.append({"path": self.path, "body": body})
        if not self._known(body["model"]):
            self._error(404, f"The model `{body['model']}` does not exist.", "NotFoundError", param="model")
            return
        chat = self.path == "/v1/chat/completions"
        words = (body["messages"][-1]["content"] if chat else body["prompt"]).split()
        context = self.server.arguments.context
        if len(words) >= context:
            message = f"This model's maximum context length is {context} tokens. However, your request has {len(words)}"
            self._error(
                400, f"{message} input tokens. Please reduce the length of the input messages.", "BadRequestError"
            )
        elif fault == "hang":
            self._wait_for_hang_up()
        elif fault == "500":
            self._error(500, "EngineCore encountered an issue.", "InternalServerError")
        elif fault == "not-json":
            self._raw(200, b"<html>a proxy's page</html>")
        elif body.get("stream"):
            self._stream(body, [body["model"], *words], chat=chat, fault=fault)
        else:
            text = " ".join([body["model"], *words])
            said: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
            choice = {"index": 0, "finish_reason": "stop", "logprobs": None, **said}
            usage = {
                "prompt_tokens": len(words),
                "completion_tokens": len(words) + 1,
                "total_tokens": 2 * len(words) + 1,
            }
            kind = "chat.completion" if chat else "text_completion"
            head = {"id": "cmpl-1", "object": kind, "created": 1, "model": body["model"]}
            self._json(200, head | {"choices": [choice], "usage": usage})

    def _known(self, name: str) -> bool:
        given = self.server.arguments
        if name == given.served or name in self.server.adapters:
            return True
        folder = Path(given.adapters) / name
        config = folder / "adapter_config.json"
        if given.no_resolver or not config.exists():
            return False
        content = json.loads(config.read_text())
        if content["peft_type"] != "LORA" or content["base_model_name_or_path"] != given.root:
            return False
        assert (folder / "adapter_model.safetensors").exists(), "an adapter that is half written"
        self.server.adapters[name] = str(folder)
        return True

    def _stream(self, body: dict[str, Any], words: list[str], *, chat: bool, fault: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        kind = "chat.completion.chunk" if chat else "text_completion"
        head = {"id": "cmpl-1", "object": kind, "created": 1, "model": body["model"]}
        try:
            for place, word in enumerate(words):
                if place == 2 and fault == "cut":
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                    return
                if place == 2 and fault == "silence":
                    self._wait_for_hang_up()
                    return
                if place == 2 and fault == "error":
                    self._event(
                        {"error": {"message": "Internal server error", "type": "InternalServerError", "code": 500}}
                    )
                    break
                text = f"{word} "
                choice = {"index": 0, "delta": {"content": text}} if chat else {"index": 0, "text": text}
                self._event(head | {"choices": [choice | {"finish_reason": None, "logprobs": None}]})
                time.sleep(self.server.arguments.pace)
            self._chunk(b"data: [DONE]\n\n")
            self._chunk(b"")
        except OSError:
            self.server.hung_up += 1

    def _event(self, content: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(content).encode() + b"\n\n")

    def _chunk(self, content: bytes) -> None:
        self.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")

    def _wait_for_hang_up(self) -> None:
        self.connection.settimeout(60)
        if self.connection.recv(1) == b"":
            self.server.hung_up += 1
        self.close_connection = True

    def _error(self, status: int, message: str, kind: str, *, param: str | None = None) -> None:
        self._json(status, {"error": {"message": message, "type": kind, "param": param, "code": status}})

    def _json(self, status: int, content: Any) -> None:
        self._raw(status, json.dumps(content).encode())

    def _raw(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        print(format % args, file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--adapters", required=True)
    parser.add_argument("--served", required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--context", type=int, default=50)
    parser.add_argument("--pace", type=float, default=0)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--no-resolver", action="store_true")
    _Server(parser.parse_args()).serve_forever()
