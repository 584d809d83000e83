"""Every line on standard error is a JSON object: the service's, those of libraries, and uncaught exceptions."""

import json
import subprocess
import sys

PROGRAM = """
import asyncio, gc, logging, threading, warnings
import structlog
from service.logs import configure

configure("info", "json")
structlog.get_logger().info("thing.done", n=1)
logging.getLogger("uvicorn.error").error("Exception in ASGI application\\n", exc_info=ValueError("two\\nlines"))
logging.getLogger("asyncio").warning("slow %s", "callback")
warnings.warn("an old thing")

async def main():
    async def lost():
        raise RuntimeError("lost")
    task = asyncio.create_task(lost())
    await asyncio.sleep(0)
    del task
    gc.collect()

asyncio.run(main())
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
raise SystemError("uncaught")
"""


def test_lines_of_libraries_and_of_uncaught_exceptions() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert ended.returncode == 1
    assert [line["level"] for line in lines] == ["info", "error", "warning", "warning", "error", "critical", "critical"]
    assert all(line["timestamp"] for line in lines)
    assert [line.get("logger") for line in lines][1:5] == ["uvicorn.error", "asyncio", "py.warnings", "asyncio"]
    assert "two\nlines" in lines[1]["exception"]
    assert "ZeroDivisionError" in lines[5]["exception"]
    assert "SystemError: uncaught" in lines[6]["exception"]
