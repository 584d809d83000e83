"""Attacks on places that projects share: streams, deliveries, comparisons, reports, calls, connections."""

import asyncio
from typing import Any

from tests.neighbours.attacker import Attacker
from tests.neighbours.exchange import Answer, connected, file_request, json_request, request
from tests.wire import MODEL, chat_rows, jsonl

EVENT = "model_alias.promoted"
HANGING_CALL = {"model": MODEL, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}


async def event_streams(attacker: Attacker) -> None:
    """300 streams of the events of a job that does not end."""
    account = await attacker.account("endless")
    wanted = {"model": MODEL, "training_file": await attacker.file(), "upstream_account": account}
    job = (await attacker.post("/v1/fine_tuning/jobs", wanted)).json()
    paths = (f"/v1/fine_tuning/jobs/{job['id']}/events?stream=true", "/v1/webhook_events?stream=true")
    await _keep_open(attacker, [request("GET", path, key=attacker.key) for path in paths], at_once=300)


async def late_receivers(attacker: Attacker) -> None:
    """100 endpoints of two projects that answer 200 after 18 seconds."""
    await _deliver(attacker, "late")


async def failing_receivers(attacker: Attacker) -> None:
    """100 endpoints of two projects that answer 500."""
    await _deliver(attacker, "fails")


async def silent_receivers(attacker: Attacker) -> None:
    """100 endpoints of two projects that do not answer."""
    await _deliver(attacker, "silent")


async def unresolvable_names(attacker: Attacker) -> None:
    """100 endpoints of two projects at names for which no name server answers."""
    for index, key in enumerate(attacker.keys):
        for number in range(attacker.many(50)):
            url = f"https://h{number}.p{index}.blackhole.example.com/x"
            wanted = {"name": f"n{number}", "url": url, "event_types": [EVENT]}
            await attacker.post("/v1/webhook_endpoints", wanted, key=key)
    await _events(attacker)


async def hanging_deployments(attacker: Attacker) -> None:
    """Twenty jobs that succeed and whose comparisons hang."""
    account, file = await attacker.account("hangs"), await attacker.file()
    comparison = {"file": file, "graders": [{"type": "exact"}], "must_beat": None, "least_score": 0.5}

    async def create(number: int) -> Answer:
        deploy = {"alias": f"h{number}", "comparison": {**comparison, "max_examples": 1, "max_tokens": 4}}
        wanted = {"model": MODEL, "training_file": file, "upstream_account": account, "deploy": deploy}
        return await attacker.post("/v1/fine_tuning/jobs", wanted)

    await attacker.repeat(create, at_once=4, pause_seconds=0.5)


async def hanging_comparisons(attacker: Attacker) -> None:
    """Comparisons at an upstream that hangs, each with as many concurrent calls as a run may have."""
    await attacker.account("hangs")
    prepared = attacker.comparison(await attacker.file(rows=40), {"type": "exact"}, max_examples=32, concurrency=16)
    await _flood(attacker, prepared, at_once=8, pause_seconds=0.3)


async def hanging_calls(attacker: Attacker) -> None:
    """200 calls of a model that hang."""
    await attacker.account("hangs")
    prepared = json_request("/v1/chat/completions", HANGING_CALL, key=attacker.key)
    await _keep_open(attacker, [prepared], at_once=200)


async def reports(attacker: Attacker) -> None:
    """Files that take a second to check, as many as may come."""
    rows = jsonl(chat_rows(4000 if attacker.scale == 1 else 1500))

    async def upload(number: int) -> Answer:
        return await attacker.send(file_request(rows + jsonl(chat_rows(12, salt=f"{number}")), key=attacker.key))

    await attacker.repeat(upload, at_once=6, pause_seconds=0.1)


async def preparations(attacker: Attacker) -> None:
    """Preparations of files of some MB, as many as may come."""
    table = b"question,answer\n" + b"".join(b"How long is river %d?,%d km\n" % (n, n) for n in range(20_000))
    file = await attacker.upload(table, name="a.csv", purpose="user_data")
    await _flood(attacker, json_request("/v1/dataset_preparations", {"file": file}, key=attacker.key), at_once=6)


async def uploads(attacker: Attacker) -> None:
    """A hundred uploads that go on for ever."""
    whole = file_request(b"x" * 100_000_000, key=attacker.key)
    await _keep_open(attacker, [whole[:200_000]], at_once=100)


async def bursts_of_lists(attacker: Attacker) -> None:
    """300 lists at once, again and again."""
    prepared = request("GET", "/v1/fine_tuning/jobs?limit=100", key=attacker.key)

    async def burst(_: int) -> None:
        answers = await asyncio.gather(*(attacker.send(prepared) for _ in range(attacker.many(300))))
        attacker.answers.update(answer.status for answer in answers)

    await attacker.repeat(burst, pause_seconds=1.0)


async def _flood(attacker: Attacker, prepared: bytes, *, at_once: int, pause_seconds: float = 0.1) -> None:
    async def send(_: int) -> Answer:
        return await attacker.send(prepared)

    await attacker.repeat(send, at_once=at_once, pause_seconds=pause_seconds)


async def _keep_open(attacker: Attacker, prepared: list[bytes], *, at_once: int) -> None:
    """Send a request and leave its connection open, and begin anew when the service closes it."""

    async def send(number: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with connected(attacker.address) as opened:
                await loop.sock_sendall(opened, prepared[number % len(prepared)])
                first = await loop.sock_recv(opened, 1 << 16)
                attacker.answers[int(first[9:12] or 0)] += 1
                while await loop.sock_recv(opened, 1 << 16):
                    pass
        except OSError:
            attacker.answers[0] += 1

    await attacker.repeat(send, at_once=at_once, pause_seconds=0.5)


async def _deliver(attacker: Attacker, behaviour: str) -> None:
    await attacker.endpoints(behaviour, EVENT)
    await _events(attacker)


async def _events(attacker: Attacker) -> None:
    prepared = [json_request("/v1/webhook_events", {"event_type": EVENT}, key=key) for key in attacker.keys]

    async def send(number: int) -> Any:
        return await attacker.send(prepared[number % len(prepared)])

    await attacker.repeat(send, at_once=2, pause_seconds=0.3)


ATTACKS = (
    event_streams,
    late_receivers,
    failing_receivers,
    silent_receivers,
    unresolvable_names,
    hanging_deployments,
    hanging_comparisons,
    hanging_calls,
    reports,
    preparations,
    uploads,
    bursts_of_lists,
)
SHORT = (unresolvable_names,)
