"""Callers as they are: most use the SDK and its retries, some send a key, some just try again."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import openai

from tests.faults.harness import FaultHarness
from tests.wire import MODEL, Tenant, chat_rows, jsonl

PATIENCE_SECONDS = 20.0
SDK_RETRIES = 12
FRESH_FILE_EVERY = 12
"""One job in so many trains on a file of its own, the others on those that the project has already."""

CANCELLED_SHARE, PAUSED_SHARE = 0.06, 0.04


@dataclass(slots=True)
class CallLog:
    """The responses that callers got. `once` are the labels of requests that must not make two jobs."""

    accepted: dict[str, str] = field(default_factory=dict)
    once: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0


class Caller:
    """A project's caller; which way it calls is decided by `chance`."""

    def __init__(self, harness: FaultHarness, tenant: Tenant, call_log: CallLog) -> None:
        self._tenant = tenant
        self._call_log = call_log
        self._files: list[str] = []
        self._http = httpx2.AsyncClient(
            base_url=harness.base_url,
            headers={"authorization": f"Bearer {tenant.key}"},
            timeout=PATIENCE_SECONDS,
            event_hooks={"response": [self._note]},
        )
        self._sdk = openai.AsyncOpenAI(
            base_url=harness.base_url,
            api_key=tenant.key,
            max_retries=SDK_RETRIES,
            timeout=PATIENCE_SECONDS,
            http_client=openai.DefaultAsyncHttpxClient(event_hooks={"response": [self._note]}),
        )

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()
        await self._sdk.close()

    async def new_file(self, salt: str) -> str:
        """Upload a small dataset, as often as it takes."""
        content = jsonl(chat_rows(10, salt=f"{self._tenant.project_id}{salt}"))
        file = await until_answered(
            lambda: self._sdk.files.create(file=(f"{salt}.jsonl", content), purpose="fine-tune"), self._call_log
        )
        file_id: str = file.id
        self._files.append(file_id)
        return file_id

    async def submit(self, number: int, chance: random.Random) -> None:
        """Ask for one job, and perhaps for its cancel or a pause."""
        fresh = number % FRESH_FILE_EVERY == 0
        style = chance.choice(("sdk", "sdk", "sdk", "key", "careless"))
        choice, known = chance.random(), chance.choice(self._files)
        label = f"{number}"
        body = {
            "model": MODEL,
            "training_file": await self.new_file(f"fresh{number}") if fresh else known,
            "metadata": {"mark": label},
        }
        job_id: str | None
        if style == "careless":
            job_id = await self._careless(body)
        else:
            self._call_log.once.add(label)
            headers = {"idempotency-key": f"mark-{label}"} if style == "key" else None
            job_id = await self._patient(body, headers)
        if job_id is None:
            return
        self._call_log.accepted[job_id] = self._tenant.project_id
        if choice < CANCELLED_SHARE:
            await self._ask(f"/fine_tuning/jobs/{job_id}/cancel")
        elif choice < CANCELLED_SHARE + PAUSED_SHARE:
            await self._ask(f"/fine_tuning/jobs/{job_id}/pause")
            await asyncio.sleep(2)
            await self._ask(f"/fine_tuning/jobs/{job_id}/resume")

    async def listed(self) -> set[str]:
        """Every job that this caller's project shows."""
        found = set()
        async for job in self._sdk.fine_tuning.jobs.list(limit=100):
            found.add(job.id)
        return found

    async def _patient(self, body: dict[str, Any], headers: dict[str, str] | None) -> str | None:
        async def create() -> Any:
            return await self._sdk.fine_tuning.jobs.create(**body, extra_headers=headers)

        if headers is not None:
            job = await until_answered(create, self._call_log)
            return str(job.id)
        try:
            return str((await create()).id)
        except (openai.APIConnectionError, openai.InternalServerError):
            self._call_log.unanswered += 1  # the SDK has given up, and so does its caller
            return None

    async def _careless(self, body: dict[str, Any]) -> str:
        async def create() -> Any:
            answer = await self._http.post("/fine_tuning/jobs", json=body)
            return answer.raise_for_status().json()

        job = await until_answered(create, self._call_log)
        return str(job["id"])

    async def _ask(self, path: str) -> None:
        """Repeat until there is an answer; a refusal by a job that has ended meanwhile is an answer too."""

        async def ask() -> None:
            answer = await self._http.post(path)
            if answer.status_code >= 500:
                answer.raise_for_status()

        await until_answered(ask, self._call_log)

    async def _note(self, response: Any) -> None:
        self._call_log.statuses[response.status_code] += 1


async def until_answered(act: Callable[[], Any], call_log: CallLog) -> Any:
    """The answer, however often it takes: connections cut and answers of 5xx and 429 are tried again."""
    while True:
        try:
            return await act()
        except (openai.APIConnectionError, httpx2.TransportError):
            call_log.unanswered += 1
        except openai.APIStatusError as error:
            if error.status_code < 500 and error.status_code not in (409, 429):
                raise
        except httpx2.HTTPStatusError as error:
            if error.response.status_code < 500 and error.response.status_code not in (409, 429):
                raise
        await asyncio.sleep(0.5)
