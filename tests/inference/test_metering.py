"""Inference in the ledger: what is reserved before a call, and what is posted after whatever becomes of it."""

import asyncio
import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, update

from service.billing.abandoned_reservations import resolve_abandoned_reservations
from service.database.tables import LedgerEntry, OpenInference, UpstreamAccount
from tests.inference.completions_upstream import PIECES
from tests.inference.conftest import MeteringHarness
from tests.wire import refusal
from tests.workers.harness import DEADLINE_SECONDS, eventually

INPUT_MICROS, OUTPUT_MICROS = 150_000, 600_000
"""gpt-4o-mini, micro-dollars per million tokens."""


def cost(read: int, written: int) -> int:
    """What a call of gpt-4o-mini costs."""
    return (read * INPUT_MICROS + written * OUTPUT_MICROS + 500_000) // 1_000_000


async def events(harness: MeteringHarness, what: str, **more: Any) -> list[Any]:
    """The chunks of a streamed answer, read to their end."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": what}], "stream": True, **more}
    async with harness.http() as http, http.stream("POST", "/chat/completions", json=body) as answer:
        assert answer.status_code == 200, await answer.aread()
        lines = [line.removeprefix("data: ") async for line in answer.aiter_lines() if line.startswith("data: ")]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


class TestWhole:
    async def test_reserves_its_longest_answer_and_posts_its_usage(self, harness: MeteringHarness) -> None:
        answer = await harness.ask("usage=1000,500", max_tokens=800)
        assert answer.status_code == 200
        reserve, post = await harness.entries()
        assert cost(3, 800) <= reserve.reserved_micros <= cost(40, 800)
        assert (post.kind, post.basis, post.input_tokens, post.output_tokens) == ("post", "usage", 1000, 500)
        assert (post.spent_micros, post.quantity) == (cost(1000, 500), 1500)
        assert (post.line_item, post.model) == ("inference gpt-4o-mini", "gpt-4o-mini")
        assert post.api_key_id == reserve.api_key_id is not None
        assert await harness.balance() == (0, cost(1000, 500), 0)
        assert await harness.open_calls() == []

    async def test_without_a_limit_of_its_own_it_reserves_the_model_s_longest_answer(
        self, harness: MeteringHarness
    ) -> None:
        await harness.ask("hello")
        [reserve, _] = await harness.entries()
        assert cost(3, 16_384) <= reserve.reserved_micros <= cost(40, 16_384)

    @pytest.mark.parametrize(("more", "choices"), [({"n": 3}, 3), ({"max_completion_tokens": 30}, 3)])
    async def test_reserves_for_every_choice_and_the_longer_limit(
        self, harness: MeteringHarness, more: dict[str, Any], choices: int
    ) -> None:
        await harness.ask("hello", max_tokens=10, **more)
        [reserve, _] = await harness.entries()
        assert cost(3, 10 * choices) <= reserve.reserved_micros <= cost(40, 10 * choices)

    async def test_without_usage_what_was_said_is_counted(self, harness: MeteringHarness) -> None:
        await harness.ask("none")
        post = (await harness.entries())[-1]
        assert (post.basis, post.output_tokens) == ("estimate", 9)
        assert post.input_tokens is not None
        assert 5 <= post.input_tokens <= 20

    @pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
    async def test_a_refusal_is_voided(self, harness: MeteringHarness, status: int) -> None:
        answer = await harness.ask(f"status={status}")
        assert answer.status_code >= 400
        assert [entry.kind for entry in await harness.entries()] == ["reserve", "void"]
        assert await harness.balance() == (0, 0, 0)
        assert await harness.open_calls() == []

    async def test_more_than_was_reserved_is_posted_too(self, harness: MeteringHarness) -> None:
        await harness.limit(cost(100, 100))
        await harness.ask("usage=5000,5000", max_tokens=1)
        assert await harness.balance() == (0, cost(100, 100), cost(5000, 5000) - cost(100, 100))

    @pytest.mark.parametrize(
        ("field", "value", "code"),
        [
            ("max_tokens", "many", "invalid_type"),
            ("max_tokens", 0, "invalid_value"),
            ("max_completion_tokens", 10**30, "invalid_value"),
            ("n", -1, "invalid_value"),
            ("n", True, "invalid_type"),
            ("stream_options", "usage", "invalid_type"),
        ],
    )
    async def test_limits_of_no_sense_are_refused_before_anything_is_reserved(
        self, harness: MeteringHarness, field: str, value: Any, code: str
    ) -> None:
        error = refusal(await harness.ask("hello", **{field: value}))
        assert (error["param"], error["code"]) == (field, code)
        assert await harness.entries() == []

    async def test_legacy_completions_count_every_prompt(self, harness: MeteringHarness) -> None:
        async with harness.http() as http:
            answer = await http.post(
                "/completions", json={"model": "davinci-002", "prompt": ["usage=9,9", "b"], "n": 2}
            )
        assert answer.status_code == 200
        reserve, post = await harness.entries()
        assert 2 * 16 * 2 * 2 <= reserve.reserved_micros <= (2 * 16 * 2 + 15) * 2
        assert post.spent_micros == 18 * 2


class TestLimit:
    async def test_over_it_nothing_is_sent(self, harness: MeteringHarness) -> None:
        await harness.limit(cost(0, 100))
        answer = await harness.ask("hello", max_tokens=100)
        assert answer.status_code == 429
        assert answer.headers["x-should-retry"] == "false"
        assert refusal(answer)["code"] == "insufficient_quota"
        assert harness.upstream.asked == []
        assert await harness.balance() == (0, 0, 0)
        assert (await harness.ask("hello", max_tokens=50)).status_code == 200

    async def test_calls_at_once_get_exactly_what_there_is_room_for(self, harness: MeteringHarness) -> None:
        one = await self.reserved_by_one(harness)
        spent = (await harness.balance())[1]
        await harness.limit(spent + 7 * one + one - 1)
        tasks = [asyncio.create_task(events(harness, "slow usage=1,1", max_tokens=50)) for _ in range(25)]
        await eventually(lambda: sum(task.done() for task in tasks) == 18, about="18 of 25 are refused")
        assert len(await harness.open_calls()) == 7
        assert (await harness.balance())[0] == 7 * one
        harness.upstream.let_go.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert sum(isinstance(each, AssertionError) for each in outcomes) == 18
        assert await harness.balance() == (0, spent + 7 * cost(1, 1), 0)

    async def reserved_by_one(self, harness: MeteringHarness) -> int:
        await harness.ask("slow usage=1,1", max_tokens=50)
        return (await harness.entries())[0].reserved_micros


class TestStream:
    async def test_usage_is_asked_for_and_hidden_from_who_did_not(self, harness: MeteringHarness) -> None:
        chunks = await events(harness, "usage=20,30")
        assert harness.upstream.asked[-1]["stream_options"] == {"include_usage": True}
        assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == "".join(PIECES)
        assert all("usage" not in chunk for chunk in chunks)
        assert await harness.balance() == (0, cost(20, 30), 0)

    async def test_who_asked_for_it_gets_it(self, harness: MeteringHarness) -> None:
        chunks = await events(
            harness, "usage=20,30", stream_options={"include_usage": True, "include_obfuscation": False}
        )
        assert chunks[-1]["usage"]["prompt_tokens"] == 20
        assert harness.upstream.asked[-1]["stream_options"] == {"include_usage": True, "include_obfuscation": False}

    async def test_an_upstream_that_does_not_know_it_is_asked_without(self, harness: MeteringHarness) -> None:
        assert len(await events(harness, "strict")) == len(PIECES)
        assert (await harness.entries())[-1].basis == "estimate"

    async def test_a_caller_that_hangs_up_is_counted_and_the_upstream_let_go(self, harness: MeteringHarness) -> None:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "slow"}], "stream": True}
        async with harness.http() as http, http.stream("POST", "/chat/completions", json=body) as answer:
            await anext(answer.aiter_lines())
        await self.posted(harness, basis="estimate")
        post = (await harness.entries())[-1]
        assert (post.output_tokens, post.kind) == (2, "post")
        await eventually(harness.upstream.hung_up.is_set, about="the upstream is hung up on")

    async def test_a_caller_that_reads_nothing_at_all_is_counted(self, harness: MeteringHarness) -> None:
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "slow"}], "stream": True}
        async with harness.http() as http:
            request = http.build_request("POST", "/chat/completions", json=body)
            answer = await http.send(request, stream=True)
            await answer.aclose()
        await self.posted(harness, basis="estimate")

    async def test_a_stream_that_breaks_is_said_and_counted(self, harness: MeteringHarness) -> None:
        chunks = await events(harness, "cut")
        assert (await harness.entries())[-1].output_tokens in (4, 5)
        assert len(chunks) >= 3

    async def test_a_refused_one_is_voided(self, harness: MeteringHarness) -> None:
        answer = await harness.ask("status=503", stream=True)
        assert answer.status_code == 503
        assert [entry.kind for entry in await harness.entries()] == ["reserve", "void"]

    async def posted(self, harness: MeteringHarness, *, basis: str) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(entries := await harness.entries()) < 2:
                await asyncio.sleep(0.05)
        assert entries[-1].basis == basis
        assert await harness.open_calls() == []


class TestOrphans:
    async def test_what_a_dead_process_has_reserved_is_posted_in_full_once(self, harness: MeteringHarness) -> None:
        task = asyncio.create_task(events(harness, "slow usage=1,1", max_tokens=50))
        await eventually(lambda: len(harness.upstream.asked) == 1)
        [reserve] = await harness.entries()
        assert await resolve_abandoned_reservations(harness.db) == 0, "it has time still"
        async with harness.db.worker() as session:
            await session.execute(
                update(OpenInference)
                .where(OpenInference.project_id == harness.project_id)
                .values(expires_at=func.now())
            )
        assert await asyncio.gather(*(resolve_abandoned_reservations(harness.db) for _ in range(3))) in (
            [1, 0, 0],
            [0, 1, 0],
            [0, 0, 1],
        )
        post = (await harness.entries())[-1]
        assert (post.basis, post.spent_micros) == ("reservation", reserve.reserved_micros)
        assert post.output_tokens == 50
        harness.upstream.let_go.set()
        await task
        assert len(await harness.entries()) == 2, "the process was not dead, but came too late"
        assert await harness.balance() == (0, reserve.reserved_micros, 0)


async def test_what_an_account_does_not_bill_is_counted_and_costs_nothing(harness: MeteringHarness) -> None:
    async def ask_until(billed: bool) -> LedgerEntry:
        """The posting of the first call since the API has read this setting of its accounts."""
        async with harness.db.admin() as session:
            await session.execute(update(UpstreamAccount).values(billed=billed))
        async with asyncio.timeout(30):
            while True:
                await harness.ask("usage=1000,1000")
                post = (await harness.entries())[-1]
                if (post.spent_micros > 0) == billed:
                    return post

    try:
        post = await ask_until(billed=False)
        assert (post.spent_micros, post.quantity, post.model) == (0, 2000, "gpt-4o-mini")
        spent = sum(entry.spent_micros for entry in await harness.entries())
        assert await harness.balance() == (0, spent, 0)
    finally:
        assert (await ask_until(billed=True)).spent_micros > 0


async def test_a_price_that_is_set_holds_within_a_second(harness: MeteringHarness) -> None:
    from service.identity.bootstrap import create_key

    key = await create_key(harness.settings, kind="admin", name="prices")
    price = {
        "kind": "inference",
        "model": "babbage-002",
        "effective_from": "2026-01-01",
        "dollars_per_million_input_tokens": 2,
        "dollars_per_million_output_tokens": 5,
        "source": "contract 17",
    }
    headers = {"authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(base_url=harness.tenant.base_url, headers=headers, timeout=90) as admin:
        assert (await admin.post("/organization/prices", json=price)).json()["origin"] == "override"
        listed = (await admin.get("/organization/prices", params={"kind": "inference"})).json()["data"]
        for bad in ({"dollars_per_million_tokens": 1}, {"dollars_per_million_input_tokens": None}):
            assert (await admin.post("/organization/prices", json={**price, **bad})).status_code == 400
    assert [row["per_million_output_tokens"]["value"] for row in listed if row["model"] == "babbage-002"] == [5.0, 0.4]
    await asyncio.sleep(1)
    async with harness.http() as http:
        await http.post("/completions", json={"model": "babbage-002", "prompt": "usage=1000000,1000000"})
    assert (await harness.entries())[-1].spent_micros == 7_000_000
