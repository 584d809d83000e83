"""Refusals of upstreams with characters that no database holds are recorded without them."""

import pytest

from tests.runs.harness import RunHarness
from tests.runs.scripted import Call, Reply, plain


@pytest.mark.parametrize("text", ["No\0t this.", "Not \ud83d this."])
async def test_a_refusal_with_characters_that_no_database_holds(harness: RunHarness, text: str) -> None:
    def script(call: Call) -> Reply:
        return Reply(status=400, text=text) if call.key.startswith("question/0/") else plain(call)

    harness.upstream.script = script
    made = await harness.generate(n_per_topic=2, concurrency=1)
    assert (await harness.until_end(made["id"]))["status"] == "succeeded"
    await harness.assert_books(made["id"])


@pytest.mark.parametrize("status", [429, 503])
async def test_a_wait_with_characters_that_no_database_holds(harness: RunHarness, status: int) -> None:
    said = iter([1])
    harness.upstream.script = lambda call: (
        Reply(status=status, text="No\0t now", retry_after="600") if next(said, None) else plain(call)
    )
    made = await harness.generate(n_per_topic=2, concurrency=1)
    assert (await harness.until_end(made["id"]))["status"] == "succeeded"
