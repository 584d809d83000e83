"""Long texts are counted in few threads, of which one project's texts occupy half."""

import asyncio
import threading
from collections import Counter
from collections.abc import Sequence

import pytest

from service.inference import token_counts
from service.inference.token_counts import COUNTING_THREADS, INLINE_CHARS, ThreadCounts

TEXTS = 3 * COUNTING_THREADS


async def test_one_project_leaves_threads_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: Counter[str] = Counter()
    may_end = threading.Event()

    def count(texts: Sequence[str], encoding: str) -> int:
        begun[texts[0][0]] += 1
        may_end.wait(60)
        return 1

    monkeypatch.setattr(token_counts, "count_tokens", count)
    counts = ThreadCounts()

    def counting(project: str) -> asyncio.Task[int]:
        return asyncio.create_task(counts.count([project * (INLINE_CHARS + 1)], "o200k_base", project_id=project))

    tasks = [counting("a") for _ in range(TEXTS)]
    try:
        async with asyncio.timeout(60):
            while begun["a"] < COUNTING_THREADS // 2:
                await asyncio.sleep(0.01)
            tasks.append(counting("b"))
            while not begun["b"]:
                await asyncio.sleep(0.01)
        assert begun["a"] == COUNTING_THREADS // 2
    finally:
        may_end.set()
        await asyncio.gather(*tasks)
    assert begun == {"a": TEXTS, "b": 1}
