"""Inference calls within a process's limits: places that projects share, and answers that are too large."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from service.settings import Settings
from tests.http.fixtures import serving
from tests.inference.completions_upstream import FLOOD_BYTES, Answering
from tests.inference.conftest import MODEL, MeteringHarness
from tests.inference.test_metering import cost, events
from tests.wire import Tenant, make_tenant, refusal
from tests.workers.harness import eventually

PLACES = 4
SHARE = 2
OUTPUT_TOKENS = 50


@pytest.fixture(scope="module")
def strict(counter: tuple[Settings, str], answers: Answering) -> Iterator[str]:
    """An API with four places, and whose upstreams may answer half of a flood."""
    settings = dataclasses.replace(
        counter[0],
        upstream_base_url=answers.base_url,
        max_inference_calls=PLACES,
        max_answer_bytes=FLOOD_BYTES // 8,
    )
    with serving(settings) as base_url:
        yield base_url


@asynccontextmanager
async def client(tenant: Tenant) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a project."""
    headers = {"authorization": f"Bearer {tenant.key}"}
    async with httpx2.AsyncClient(base_url=tenant.base_url, headers=headers, timeout=90) as http:
        yield http


def call(what: str, **more: Any) -> dict[str, Any]:
    """A call's body."""
    return {"model": MODEL, "messages": [{"role": "user", "content": what}], "max_tokens": OUTPUT_TOKENS, **more}


class TestPlaces:
    async def test_one_project_occupies_its_share(self, harness: MeteringHarness, strict: str) -> None:
        """Its upstream hangs; the next call is refused at once, and another project's is answered."""
        one, other = [await make_tenant(strict, harness.settings.database_url) for _ in range(2)]
        async with client(one) as http, client(other) as theirs:
            hanging = [asyncio.create_task(http.post("/chat/completions", json=call("hang"))) for _ in range(SHARE)]
            try:
                await eventually(lambda: len(harness.upstream.asked) == SHARE, about="the calls are not sent")
                refused = await http.post("/chat/completions", json=call("hello"))
                assert (refused.status_code, refusal(refused)["code"]) == (429, "concurrency_limit_exceeded")
                assert "TUNEGATE_MAX_INFERENCE_CALLS" in refusal(refused)["message"]
                assert refused.headers["retry-after"] == "1"
                assert (await theirs.post("/chat/completions", json=call("hello"))).status_code == 200
            finally:
                harness.upstream.let_go.set()
            assert [each.status_code for each in await asyncio.gather(*hanging)] == [200] * SHARE
            assert (await http.post("/chat/completions", json=call("hello"))).status_code == 200


class TestTooLarge:
    @pytest.fixture
    def limited(self, harness: MeteringHarness, strict: str) -> MeteringHarness:
        """The project at that API."""
        return dataclasses.replace(harness, tenant=dataclasses.replace(harness.tenant, base_url=strict))

    async def test_an_answer_that_is_cut_off_costs_its_longest(self, limited: MeteringHarness) -> None:
        """How many tokens the upstream has billed is unknown, and it reports no usage in what was read."""
        answer = await limited.ask("flood", max_tokens=OUTPUT_TOKENS)
        assert (answer.status_code, refusal(answer)["code"]) == (502, "upstream_answer_too_large")
        assert "TUNEGATE_MAX_ANSWER_BYTES" in refusal(answer)["message"]
        reserve, post = await limited.entries()
        assert (post.kind, post.basis, post.spent_micros) == ("post", "estimate", reserve.reserved_micros)
        assert cost(3, OUTPUT_TOKENS) <= post.spent_micros
        assert await limited.open_calls() == []

    async def test_a_stream_that_is_cut_off_costs_what_has_come(self, limited: MeteringHarness) -> None:
        *_, last = await events(limited, "flood", max_tokens=OUTPUT_TOKENS)
        assert last["error"]["code"] == "upstream_answer_too_large"
        _, post = await limited.entries()
        assert (post.kind, post.basis) == ("post", "estimate")
        assert post.output_tokens
        assert await limited.open_calls() == []
