"""A large file comes in while the API keeps answering, in bounded memory."""

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2

from tests.stack import DevStack
from tests.wire import Tenant

SIZE_BYTES = 224 * 1024 * 1024
PIECE = b"0123456789abcdef" * 65_536
PIECES = SIZE_BYTES // len(PIECE)
MAX_MEGABYTES_MORE = 100
HEAD = (
    b'--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
    b'--b\r\ncontent-disposition: form-data; name="file"; filename="large.bin"\r\n\r\n'
)


def body() -> Iterator[bytes]:
    """The form, a mebibyte at a time."""
    yield HEAD
    for _ in range(PIECES):
        yield PIECE
    yield b"\r\n--b--\r\n"


def megabytes(pid: int, what: str) -> float:
    """Resident memory: `VmRSS` now, `VmHWM` the most since it was last forgotten."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


def test_streams_to_storage_while_others_are_answered(stack: DevStack, tenant: Tenant) -> None:
    """Memory does not grow with the file, and nobody waits for its end."""
    pid = stack.pid("api")
    before = megabytes(pid, "VmRSS")
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # forgets the peak of earlier tests
    live = tenant.base_url.removesuffix("/v1") + "/livez"
    answered, counts = 0, []
    done = threading.Event()

    def ask_again_and_again() -> None:
        nonlocal answered
        with httpx2.Client(timeout=90) as client:
            while not done.is_set():
                assert client.get(live).status_code == 200
                answered += 1
                time.sleep(0.02)

    def counted() -> Iterator[bytes]:
        """The form, with a mark of how many were answered at its begin, in its middle and at its end."""
        for number, piece in enumerate(body()):
            if number in (0, PIECES // 2):
                counts.append(answered)
            yield piece
        counts.append(answered)

    asking = threading.Thread(target=ask_again_and_again)
    asking.start()
    try:
        with tenant.http() as http:
            answer = http.post(
                "/files", content=counted(), headers={"content-type": "multipart/form-data; boundary=b"}, timeout=150
            )
    finally:
        done.set()
        asking.join()
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert file["bytes"] == SIZE_BYTES
    assert stack.pid("api") == pid
    assert megabytes(pid, "VmHWM") - before < MAX_MEGABYTES_MORE
    begin, middle, end = counts
    assert begin + 1 < middle < end - 1, "others are answered while it comes in; how fast, the benchmark says"
    with tenant.http() as http, http.stream("GET", f"/files/{file['id']}/content") as content:
        assert sum(len(chunk) for chunk in content.iter_raw()) == SIZE_BYTES
        assert megabytes(pid, "VmHWM") - before < MAX_MEGABYTES_MORE
    with tenant.http() as http:
        assert http.delete(f"/files/{file['id']}").status_code == 200
