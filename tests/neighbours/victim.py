"""The victim: a team that reads, calls a model, gets reports and comparisons, and receives webhooks, all at once."""

import asyncio
import itertools
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from tests.faults.receiver import Receiver
from tests.neighbours.exchange import Address, Answer, exchange, file_request, json_request, request
from tests.wire import MODEL, chat_rows, jsonl

EVENT = "model_alias.promoted"
PATIENCE_SECONDS = 30.0
"""How long one operation may take; one that takes longer has failed."""

POLL_SECONDS = 0.05
PAUSE_SECONDS = {"read": 0.03, "first use of a key": 0.2, "call of a model": 0.08}
"""Between two operations of a kind; 0.1 where none is given."""


class OperationFailed(Exception):
    """An operation was refused or did not end in time."""


@dataclass(slots=True)
class Measured:
    """The seconds that operations took, by kind, and what went wrong."""

    seconds: dict[str, list[float]]
    failures: list[str] = field(default_factory=list)

    def p99(self, operation: str) -> float:
        """The nearest-rank percentile; with fewer than a hundred samples that is the slowest."""
        ordered = sorted(self.seconds[operation])
        return ordered[math.ceil(0.99 * len(ordered)) - 1]


@dataclass(slots=True)
class Victim:
    """A project with `keys`, of which all but the first are not used yet, and an endpoint at the receiver."""

    address: Address
    receiver: Receiver
    keys: list[str]
    file_id: str = ""
    _numbers: Any = field(default_factory=itertools.count)

    @property
    def key(self) -> str:
        """The key of everything but first uses."""
        return self.keys[0]

    async def prepare(self, upstream_url: str) -> None:
        """Create its upstream account, its endpoint and the file that it compares models with."""
        account = {"name": "own", "kind": "openai", "base_url": upstream_url, "credential": "sk-own-upstream"}
        await self._post("/v1/upstreams", {**account, "models": ["gpt-4*"]})
        url = self.receiver.url("/victim")
        await self._post("/v1/webhook_endpoints", {"name": "own", "url": url, "event_types": [EVENT]})
        self.file_id = await self._upload()

    async def live(self, seconds: float) -> Measured:
        """Do everything for this time, and until what was begun has ended."""
        operations: dict[str, Callable[[], Awaitable[object]]] = {
            "read": self._read,
            "first use of a key": self._first_use,
            "call of a model": self._call,
            "report": self._report,
            "comparison": self._compare,
            "delivery": self._deliver,
        }
        measured = Measured({name: [] for name in operations})
        ends_at = perf_counter() + seconds
        await asyncio.gather(*(_repeat(name, act, ends_at, measured) for name, act in operations.items()))
        return measured

    async def _read(self) -> None:
        path = ("/v1/files?limit=5", "/v1/fine_tuning/jobs?limit=5", "/v1/models")[next(self._numbers) % 3]
        await self._get(path)

    async def _first_use(self) -> None:
        key = self.keys.pop() if len(self.keys) > 1 else self.key
        _good(await exchange(self.address, request("GET", "/v1/files?limit=1", key=key)))

    async def _call(self) -> None:
        messages = [{"role": "user", "content": "How long is the river?"}]
        await self._post("/v1/chat/completions", {"model": MODEL, "messages": messages, "max_tokens": 16})

    async def _report(self) -> None:
        await self._upload()

    async def _compare(self) -> None:
        wanted = {
            "models": [MODEL],
            "file": self.file_id,
            "graders": [{"type": "exact"}],
            "max_examples": 2,
            "max_tokens": 16,
        }
        begun = await self._post("/v1/model_comparisons", wanted)
        await self._ended(f"/v1/model_comparisons/{begun['id']}", ("succeeded",), ("failed", "cancelled"))

    async def _deliver(self) -> None:
        event = await self._post("/v1/webhook_events", {"event_type": EVENT})
        while event["id"] not in self.receiver.received["/victim"]:
            await asyncio.sleep(0.01)

    async def _upload(self) -> str:
        content = jsonl(chat_rows(12, salt=f"{id(self)}-{next(self._numbers)}-"))
        file = _good(await exchange(self.address, file_request(content, key=self.key))).json()
        await self._ended(f"/v1/files/{file['id']}", ("processed",), ("error",))
        return str(file["id"])

    async def _ended(self, path: str, well: tuple[str, ...], badly: tuple[str, ...]) -> None:
        while (shown := await self._get(path))["status"] not in well:
            if shown["status"] in badly:
                raise OperationFailed(json.dumps(shown)[:300])
            await asyncio.sleep(POLL_SECONDS)

    async def _get(self, path: str) -> Any:
        return _good(await exchange(self.address, request("GET", path, key=self.key))).json()

    async def _post(self, path: str, content: Any) -> Any:
        return _good(await exchange(self.address, json_request(path, content, key=self.key))).json()


async def _repeat(name: str, act: Callable[[], Awaitable[object]], ends_at: float, measured: Measured) -> None:
    while perf_counter() < ends_at:
        begun = perf_counter()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await act()
        except OperationFailed as error:
            measured.failures.append(f"{name}: {error}")
        except TimeoutError:
            measured.failures.append(f"{name}: not within {PATIENCE_SECONDS:.0f} s")
        measured.seconds[name].append(perf_counter() - begun)
        await asyncio.sleep(PAUSE_SECONDS.get(name, 0.1))


def _good(answer: Answer) -> Answer:
    if answer.status != 200:
        raise OperationFailed(f"{answer.status} {answer.body[:200].decode(errors='replace')}")
    return answer
