"""What an attack has at hand: projects of its own with keys, the addresses, and a way to repeat a step many times."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tests.neighbours.counterparts import Counterparts
from tests.neighbours.exchange import Address, Answer, exchange, file_request, json_request, request
from tests.wire import MODEL, chat_rows, jsonl

PAUSE_SECONDS = 0.05
"""What a connection waits between two steps, so that the attacker leaves processor time to the service."""


@dataclass(slots=True)
class Attacker:
    """One attack's projects. `scale` is 1 at full tilt and less in the short form; `answers` counts what came back."""

    address: Address
    internal_addresses: tuple[Address, ...]
    keys: list[str]
    project_ids: list[str]
    counterparts: Counterparts
    scale: float
    answers: Counter[int] = field(default_factory=Counter)
    under_way: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        """The first project's key."""
        return self.keys[0]

    def many(self, count: int) -> int:
        """So many at full tilt, fewer in the short form."""
        return max(1, round(count * self.scale))

    async def repeat(
        self,
        step: Callable[[int], Awaitable[Answer | None]],
        *,
        at_once: int = 1,
        pause_seconds: float = 0.0,
        ramp_seconds: float = 1.0,
    ) -> None:
        """Repeat a step until the attack is cancelled, `at_once` of them concurrently; each gets its number.

        They begin within `ramp_seconds`, one after the other.
        """
        self.under_way.set()
        numbers, count = iter(range(1 << 60)), self.many(at_once)

        async def again(place: int) -> None:
            await asyncio.sleep(ramp_seconds * place / count)
            while True:
                answer = await step(next(numbers))
                if answer is not None:
                    self.answers[answer.status] += 1
                await asyncio.sleep(max(pause_seconds, PAUSE_SECONDS))

        async with asyncio.TaskGroup() as group:
            for place in range(count):
                group.create_task(again(place))

    async def send(self, prepared: bytes) -> Answer:
        """Send prepared bytes."""
        return await exchange(self.address, prepared)

    async def post(self, path: str, content: Any, *, key: str = "") -> Answer:
        """Post JSON."""
        return await self.send(json_request(path, content, key=key or self.key))

    async def get(self, path: str) -> Answer:
        """Read."""
        return await self.send(request("GET", path, key=self.key))

    async def account(self, behaviour: str, *, models: tuple[str, ...] = ("gpt-4*",)) -> str:
        """An upstream account at a counterpart: its id."""
        base_url = self.counterparts.upstream(behaviour)
        wanted = {
            "name": behaviour,
            "kind": "openai",
            "base_url": base_url,
            "credential": "sk-own-upstream",
            "models": models,
        }
        return await self._made("/v1/upstreams", wanted)

    async def file(self, *, rows: int = 12) -> str:
        """A good training file: its id."""
        return await self.upload(jsonl(chat_rows(rows)))

    async def upload(self, content: bytes, *, name: str = "rivers.jsonl", purpose: str = "fine-tune") -> str:
        """Upload a file: its id."""
        answer = await self.send(file_request(content, key=self.key, name=name, purpose=purpose))
        assert answer.status == 200, answer
        return str(answer.json()["id"])

    async def endpoints(self, behaviour: str, event: str, *, at_most: int = 50) -> None:
        """As many webhook endpoints at a counterpart as each project may have."""
        for key in self.keys:
            for number in range(self.many(at_most)):
                url = self.counterparts.receiver(behaviour, f"{number}")
                wanted = {"name": f"{behaviour}{number}", "url": url, "event_types": [event]}
                await self._made("/v1/webhook_endpoints", wanted, key=key)

    def comparison(self, file_id: str, grader: dict[str, Any], **options: Any) -> bytes:
        """The request of a comparison with one grader."""
        wanted = {"models": [MODEL], "file": file_id, "graders": [grader], "max_examples": 1, "max_tokens": 16}
        return json_request("/v1/model_comparisons", {**wanted, **options}, key=self.key)

    async def _made(self, path: str, wanted: Any, *, key: str = "") -> str:
        answer = await self.post(path, wanted, key=key)
        assert answer.status == 200, answer
        return str(answer.json()["id"])
