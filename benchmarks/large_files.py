"""`python -m benchmarks.large_files [--megabytes 512]`: large training files by `POST /v1/files` and by `/v1/uploads`.

Runs a `tunegate dev` of its own. First a file of 100 lines is sent twenty times, from upload to report, and a model of
each encoding is asked before. While each large file comes in, is joined and is validated, `/livez` is asked fifty times
a second; memory is what the kernel says was resident at most (VmHWM, reset before each run). The data is made on the
fly: chat examples whose texts do not repeat.
"""

import argparse
import hashlib
import io
import math
import multiprocessing
import random
import re
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai

from tests.stack import DevStack

MEGABYTE = 1_000_000
MAX_PART_BYTES = 64 * 1024 * 1024
SENDERS = 4
SMALL_FILES = 20
POLL_EVERY_SECONDS = 0.01
ASK_EVERY_SECONDS = 0.02
SAMPLE_EVERY_SECONDS = 0.25
CHECK_SECONDS = 1800.0
MAX_ROW_BYTES = 4096
WORDS, SENTENCES, SENTENCES_A_TEXT = 4000, 5000, 6
BOUNDARY = "large"

Way = Literal["files", "uploads"]
WAYS: tuple[Way, ...] = ("files", "uploads")


@dataclass(kw_only=True)
class Measured:
    """One file on its way in, and what else happened meanwhile. Peaks in MB (of a million bytes), waits in seconds."""

    way: Way
    size_bytes: int
    sending_seconds: float = 0.0
    joining_seconds: float = 0.0
    checking_seconds: float = 0.0
    api_peak_mb: float = 0.0
    validator_peak_mb: float = 0.0
    livez_seconds: list[float] = field(default_factory=list)
    progress: list[float] = field(default_factory=list)
    status: str = ""

    def livez_ms(self, share: float) -> float:
        """The wait for `/livez` below which this share of all waits lies, in milliseconds."""
        ordered = sorted(self.livez_seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


def training_data(size_bytes: int) -> Iterator[bytes]:
    """Exactly so many bytes of chat examples, about a megabyte at a time; spaces fill the end. The same every time."""
    rows, piece, left_bytes = _rows(), bytearray(), size_bytes
    while left_bytes > MAX_ROW_BYTES:
        row = next(rows)
        left_bytes -= len(row)
        piece += row
        if len(piece) >= MEGABYTE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece) + b" " * left_bytes


def measure(stack: DevStack, way: Way, size_bytes: int) -> Measured:
    """Send one file of training data and wait for its report. Raises `AssertionError` when any call is refused."""
    ready = stack.ready()
    base_url, key = ready["base_url"], ready["api_key"]
    measured = Measured(way=way, size_bytes=size_bytes)
    api, validators = stack.pid("api"), _validators(stack.pid("worker"))
    for pid in (api, *validators):
        _forget_peak(pid)
    with _asking(base_url.removesuffix("/v1") + "/livez", measured.livez_seconds):
        client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=600)
        file_id = (_by_files if way == "files" else _by_uploads)(client, measured)
        _wait_for_report(base_url, key, file_id, measured)
    measured.api_peak_mb = _peak_mb(api)
    measured.validator_peak_mb = max(_peak_mb(pid) for pid in _validators(stack.pid("worker")))
    return measured


def table(rows: list[Measured]) -> str:
    """The measurements for people."""
    head = (
        "way",
        "MB",
        "sent s",
        "MB/s",
        "joined s",
        "checked s",
        "MB/s",
        "API MB",
        "validator MB",
        "p50 ms",
        "p99 ms",
    )
    lines = [
        (
            row.way,
            f"{row.size_bytes / MEGABYTE:.0f}",
            f"{row.sending_seconds:.1f}",
            f"{row.size_bytes / MEGABYTE / row.sending_seconds:.0f}",
            f"{row.joining_seconds:.1f}",
            f"{row.checking_seconds:.1f}",
            f"{row.size_bytes / MEGABYTE / row.checking_seconds:.1f}",
            f"{row.api_peak_mb:.0f}",
            f"{row.validator_peak_mb:.0f}",
            f"{row.livez_ms(0.5):.1f}",
            f"{row.livez_ms(0.99):.1f}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *lines]) for column in range(len(head))]
    shown = [[cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in [head, *lines]]
    return "\n".join("  ".join(cells) for cells in shown)


def _rows() -> Iterator[bytes]:
    choice = random.Random(7)
    words = ["".join(choice.choices("abcdefghijklmnopqrstuvwxyz", k=choice.randint(2, 9))) for _ in range(WORDS)]
    sentences = [" ".join(choice.choices(words, k=choice.randint(6, 18))).capitalize() + "." for _ in range(SENTENCES)]
    while True:
        question, answer = (" ".join(choice.choices(sentences, k=SENTENCES_A_TEXT)) for _ in range(2))
        yield (
            f'{{"messages": [{{"role": "user", "content": "{question}"}}, '
            f'{{"role": "assistant", "content": "{answer}"}}]}}\n'
        ).encode()


def _by_files(client: openai.OpenAI, measured: Measured) -> str:
    def form() -> Iterator[bytes]:
        yield (
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n'
            f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="file"; filename="large.jsonl"\r\n\r\n'
        ).encode()
        yield from training_data(measured.size_bytes)
        yield f"\r\n--{BOUNDARY}--\r\n".encode()

    started = time.monotonic()
    answer = httpx2.post(
        f"{client.base_url}files",
        content=form(),
        headers={
            "authorization": f"Bearer {client.api_key}",
            "content-type": f"multipart/form-data; boundary={BOUNDARY}",
        },
        timeout=600,
    )
    measured.sending_seconds = time.monotonic() - started
    assert answer.status_code == 200, answer.text
    file_id: str = answer.json()["id"]
    return file_id


def _by_uploads(client: openai.OpenAI, measured: Measured) -> str:
    """Several parts at a time, as many as there are senders."""
    started = time.monotonic()
    md5 = hashlib.md5()
    upload = client.uploads.create(
        bytes=measured.size_bytes, filename="large.jsonl", mime_type="application/jsonl", purpose="fine-tune"
    )

    def send(data: bytes) -> str:
        return client.uploads.parts.create(upload.id, data=data).id

    with ThreadPoolExecutor(SENDERS) as senders:
        part_bytes = min(MAX_PART_BYTES, measured.size_bytes // SENDERS)
        sending = []
        for data in _parts(measured.size_bytes, part_bytes):
            md5.update(data)
            sending.append(senders.submit(send, data))
            if len(sending) > SENDERS:
                sending[-SENDERS - 1].result()
        part_ids = [part.result() for part in sending]
    measured.sending_seconds = time.monotonic() - started
    started = time.monotonic()
    done = client.uploads.complete(upload.id, part_ids=part_ids, md5=md5.hexdigest())
    measured.joining_seconds = time.monotonic() - started
    assert done.file is not None
    assert done.file.bytes == measured.size_bytes
    return done.file.id


def _parts(size_bytes: int, part_bytes: int) -> Iterator[bytes]:
    pieces, held = training_data(size_bytes), io.BytesIO()
    for piece in pieces:
        held.write(piece)
        if held.tell() >= part_bytes:
            data = held.getvalue()
            yield data[:part_bytes]
            held = io.BytesIO()
            held.write(data[part_bytes:])
    if held.tell():
        yield held.getvalue()


def _wait_for_report(base_url: str, key: str, file_id: str, measured: Measured) -> None:
    started = time.monotonic()
    with httpx2.Client(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=60) as http:
        while (report := http.get(f"/files/{file_id}/report").json())["status"] == "pending":
            measured.progress.append(report["progress"])
            assert time.monotonic() < started + CHECK_SECONDS, report
            time.sleep(SAMPLE_EVERY_SECONDS)
        measured.status = http.get(f"/files/{file_id}").json()["status"]
    measured.checking_seconds = time.monotonic() - started
    assert report["bytes"] == measured.size_bytes, report


@contextmanager
def _asking(url: str, waits: list[float]) -> Iterator[None]:
    """Ask `url` again and again while the body runs, from a process that does nothing else."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    asking = spawn.Process(target=_ask, args=(url, there), daemon=True)
    asking.start()
    here.recv()
    try:
        yield
    finally:
        here.send("enough")
        waits.extend(here.recv())
        asking.join()


def _ask(url: str, control: "Connection[Any, Any]") -> None:
    """Measure the wait for each response until `control` receives a message. A refusal counts as an infinite wait."""
    waits = []
    with httpx2.Client(timeout=60) as http:
        http.get(url)
        control.send("ready")
        while not control.poll(ASK_EVERY_SECONDS):
            asked = time.monotonic()
            status = http.get(url).status_code
            waits.append(time.monotonic() - asked if status == 200 else math.inf)
    control.send(waits)


def _validators(worker: int) -> list[int]:
    """The pids of the worker's children: it has none but the processes that validate."""
    folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [int(folder.name) for folder in folders if _status(folder, "PPid") == worker]


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _peak_mb(pid: int) -> float:
    return (_status(Path(f"/proc/{pid}"), "VmHWM") or 0) * 1024 / MEGABYTE


def _status(folder: Path, name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s+(\d+)", (folder / "status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) if found else None


def small_files(stack: DevStack) -> list[float]:
    """Seconds from upload to report of a file of 100 lines, ascending."""
    ready, rows = stack.ready(), _rows()
    seconds = []
    with httpx2.Client(base_url=ready["base_url"], headers={"authorization": f"Bearer {ready['api_key']}"}) as http:
        for _ in range(SMALL_FILES):
            data = b"".join(next(rows) for _ in range(100))
            started = time.monotonic()
            sent = http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("small.jsonl", data)}).json()
            while http.get(f"/files/{sent['id']}/report").json()["status"] == "pending":
                time.sleep(POLL_EVERY_SECONDS)
            seconds.append(time.monotonic() - started)
    return sorted(seconds)


def _ask_models(stack: DevStack) -> None:
    """Inference by a model of each encoding."""
    ready = stack.ready()
    client = openai.OpenAI(base_url=ready["base_url"], api_key=ready["api_key"])
    for model in ("gpt-4o-mini", "gpt-3.5-turbo"):
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello."}], max_tokens=1)


def main() -> None:
    """Measure small files and both ways of large ones, and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--megabytes", type=int, default=512)
    size_bytes = parser.parse_args().megabytes * MEGABYTE
    with tempfile.TemporaryDirectory(prefix="tunegate-large-") as folder:
        stack = DevStack(Path(folder)).start()
        try:
            _ask_models(stack)
            small = small_files(stack)
            print(f"100 lines, upload to report: {small[len(small) // 2]:.3f} s median, {small[-1]:.3f} s at most")
            print(table([measure(stack, way, size_bytes) for way in WAYS]))
        finally:
            stack.stop()


if __name__ == "__main__":
    main()
