"""Turns at a run: what an upstream cannot do now is done later, bounds hold, and each answer is posted once."""

import asyncio
import dataclasses
import datetime as dt
from collections import Counter
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from service.billing.abandoned_reservations import resolve_abandoned_reservations
from service.billing.ledger_batcher import resolve
from service.database.leases import LeaseLost
from service.database.tables import OpenInference, Run
from service.fair_places import FairPlaces
from service.runs.pacing import MAX_WAIT_SECONDS, ConcurrencyWindow, wait_seconds
from tests.runs.harness import RunHarness
from tests.runs.scripted import Call, Reply, plain
from workers.runs import advance, recording, time_slice


class TestPace:
    def test_a_window_is_halved_and_grows_again(self) -> None:
        window = ConcurrencyWindow(8)
        window.limited()
        assert window.size == 4
        for _ in range(4):
            window.answered()
        assert window.size == 4
        window.answered()
        assert window.size == 5
        for _ in range(100):
            window.answered()
        assert window.size == 8
        for _ in range(10):
            window.limited()
        assert window.size == 1

    def test_pauses_grow_with_the_silence_and_are_bounded(self) -> None:
        waits = [
            wait_seconds(since_answer_seconds=silence, retry_after_seconds=None) for silence in (0, 20, 100, 10_000)
        ]
        assert waits == [1.0, 5.0, 25.0, MAX_WAIT_SECONDS]
        assert wait_seconds(since_answer_seconds=10_000, retry_after_seconds=7) == 7


class TestUpstream:
    async def test_a_rate_limit_is_waited_for_and_burns_nothing(self, harness: RunHarness) -> None:
        limited = Counter[str]()

        def script(call: Call) -> Reply:
            limited[call.key] += 1
            if limited[call.key] <= 2 and call.item % 3 == 0:
                return Reply(status=429, retry_after="0.2", code="rate_limit_exceeded")
            return plain(call)

        harness.upstream.script = script
        made = await harness.generate()
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["progress"]["done"]) == ("succeeded", 10)
        assert max(limited.values()) == 3
        await harness.assert_books(made["id"])

    @pytest.mark.parametrize("status", [500, 502, 503, 401, 409])
    async def test_an_unavailable_upstream_is_called_again_later(self, harness: RunHarness, status: int) -> None:
        refused = iter([status] * 3)
        harness.upstream.script = lambda call: Reply(status=next(refused, 200), text=plain(call).text)
        made = await harness.generate(n_per_topic=1, concurrency=1)
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["progress"]["calls"]) == ("succeeded", 4)
        assert len(harness.upstream.log) == 7
        await harness.assert_books(made["id"])

    async def test_a_long_wait_is_shown_and_gives_the_place_to_others(self, harness: RunHarness) -> None:
        harness.upstream.script = lambda call: Reply(status=429, retry_after="600", code="rate_limit_exceeded")
        made = await harness.generate()
        waiting = await harness.step(made["id"])
        assert (waiting["status"], waiting["waiting_reason"]) == ("running", "Not now.")
        row = await harness.row(made["id"])
        assert row.leased_until is None
        async with harness.ctx.db.worker() as session:
            late = await session.scalar(
                select(Run.due_at - func.now() > dt.timedelta(seconds=500)).where(Run.id == row.id)
            )
        assert late
        assert [event["message"] for event in await harness.events(made["id"])][-1] == "Waiting: Not now."
        await harness.step(made["id"])
        assert len(await harness.events(made["id"])) == 3, "the same reason is told once"
        harness.upstream.script = plain
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["waiting_reason"]) == ("succeeded", None)

    async def test_a_run_without_an_answer_ends_after_a_day(self, harness: RunHarness) -> None:
        harness.upstream.script = lambda call: Reply(status=503)
        made = await harness.generate()
        async with harness.ctx.db.worker() as session:
            long_ago = func.now() - dt.timedelta(hours=25)
            await session.execute(update(Run).where(Run.id == made["id"]).values(last_answer_at=long_ago))
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "upstream_unavailable")
        assert await harness.assert_books(made["id"]) == 0

    async def test_one_that_refuses_everything_is_not_asked_everything(self, harness: RunHarness) -> None:
        harness.upstream.script = lambda call: Reply(status=400)
        made = await harness.generate(n_per_topic=50, concurrency=4)
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "upstream_refused")
        assert len(harness.upstream.log) <= time_slice.MAX_REFUSED + 4
        assert await harness.assert_books(made["id"]) == 0

    async def test_an_answer_of_nonsense_is_no_accident(self, harness: RunHarness) -> None:
        """Characters that no database holds, no content, half a pair of surrogates: asked again."""
        said = iter(["a\0b c?", None, "\0", "It is so.", "\ud800"])
        harness.upstream.script = lambda call: Reply(text=next(said, plain(call).text))
        made = await harness.generate(n_per_topic=2, concurrency=1)
        ended = await harness.until_end(made["id"])
        assert ended["status"] == "succeeded"
        questions = [row["messages"][0]["content"] for row in await harness.examples(ended["file"])]
        assert "ab c?" in questions

    async def test_no_more_at_once_than_is_wanted_or_allowed(self, harness: RunHarness) -> None:
        allowed = dataclasses.replace(harness.ctx.settings, run_concurrency=2)
        other = dataclasses.replace(harness, ctx=dataclasses.replace(harness.ctx, settings=allowed))
        for by, wanted, max in ((harness, 3, 3), (other, 200, 2)):
            harness.upstream.reset()
            harness.upstream.gate.clear()
            made = await harness.generate(n_per_topic=10, concurrency=wanted)
            ending = asyncio.create_task(by.until_end(made["id"]))
            await _until(partial(_asked, harness, max))
            harness.upstream.pace_seconds = 0.02
            harness.upstream.gate.set()
            await ending
            assert harness.upstream.max_at_once == max

    async def test_a_project_s_calls_in_flight_leave_places_to_others_also_after_a_cancellation(
        self, harness: RunHarness
    ) -> None:
        """An upstream that hangs: all runs of a project, cancelled ones too, have its share of the places together."""
        places = FairPlaces(6)
        settings = dataclasses.replace(harness.ctx.settings, lease_seconds=3.0)
        ctx = dataclasses.replace(harness.ctx, run_calls=places, settings=settings)
        hanging = dataclasses.replace(harness, ctx=ctx)
        harness.upstream.gate.clear()
        cancelled, other, later = [await harness.generate(n_per_topic=10, concurrency=4) for _ in range(3)]
        steps = [asyncio.create_task(hanging.step(each["id"])) for each in (cancelled, other)]
        try:
            await _until(lambda: len(harness.upstream.log) >= 3)
            async with harness.http() as http:
                await http.post(f"/dataset_generations/{cancelled['id']}/cancel")
            await asyncio.gather(steps[0], return_exceptions=True)
            steps.append(asyncio.create_task(hanging.step(later["id"])))
            await _until_async(partial(_has_reserved, harness, later["id"]))
            assert harness.upstream.max_at_once == places.occupied_by(harness.project_id) == 3
            assert places.take_at_once("another project")
        finally:
            harness.upstream.gate.set()
            await asyncio.gather(*steps, return_exceptions=True)
        assert harness.upstream.max_at_once == 3


class TestBounds:
    async def test_the_budget_holds_at_every_moment_and_what_was_made_is_kept(self, harness: RunHarness) -> None:
        quote = await _quote(harness, n_per_topic=20)
        budget = round(quote["price"]["expected"]["value"] / 4, 6)
        highest = 0

        def observe(call: Call) -> Reply:
            return Reply(text=plain(call).text, usage=(60, 40))

        harness.upstream.script = observe
        made = await harness.generate(n_per_topic=20, budget=budget, answer={"max_tokens": 100})
        claimed = await harness.claim(made["id"])
        assert claimed is not None
        turn = asyncio.create_task(advance.advance(harness.ctx, claimed))
        done = False
        while not done:
            done = turn.done()  # read before the last query, so that the query sees the end
            async with harness.ctx.db.worker() as session:
                used = await session.scalar(text(IN_USE), {"run": made["id"]})
            highest = max(highest, used or 0)
            await asyncio.sleep(0.002)
        await turn
        ended = await harness.until_end(made["id"])
        assert 0 < highest <= round(budget * 1e6)
        assert (ended["status"], ended["error"]["code"], ended["error"]["param"]) == (
            "failed",
            "budget_exceeded",
            "budget",
        )
        assert 0 < ended["outcome"]["examples"] < 40
        assert ended["outcome"]["examples"] + ended["outcome"]["missing"] == 40
        assert f"{ended['outcome']['examples']} of 40 examples are in {ended['file']}" in ended["error"]["message"]
        assert len(await harness.examples(ended["file"])) == ended["outcome"]["examples"]
        assert await harness.assert_books(made["id"]) <= round(budget * 1e6)

    async def test_a_budget_for_nothing_asks_nothing(self, harness: RunHarness) -> None:
        made = await harness.generate(budget=0.000001)
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["error"]["code"], ended["file"]) == ("failed", "budget_exceeded", None)
        assert harness.upstream.log == []
        assert await harness.assert_books(made["id"]) == 0

    async def test_the_project_s_own_limit_holds(self, harness: RunHarness) -> None:
        made = await harness.generate(n_per_topic=20)
        await harness.limit(3_000)
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "insufficient_quota")
        assert 0 < await harness.assert_books(made["id"]) <= 3_000

    async def test_answers_that_are_too_large_together_end_it_and_what_was_made_is_kept(
        self, harness: RunHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time_slice, "MAX_ANSWERS_BYTES", 3_000)
        made = await harness.generate(n_per_topic=50, concurrency=1)
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "answers_too_large")
        assert "MB" in ended["error"]["message"]
        assert len(harness.upstream.log) < 20
        assert ended["outcome"]["examples"] == len(await harness.examples(ended["file"])) > 0
        await harness.assert_books(made["id"])

    async def test_answers_of_an_earlier_time_slice_count(
        self, harness: RunHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A run that resumes makes at most one more round of calls."""
        harness.upstream.script = lambda call: (
            plain(call) if len(harness.upstream.log) < 10 else Reply(status=429, retry_after="600")
        )
        made = await harness.generate(n_per_topic=50, concurrency=1)
        await harness.step(made["id"])
        answered = len(harness.upstream.log)
        harness.upstream.script = plain
        monkeypatch.setattr(time_slice, "MAX_ANSWERS_BYTES", 1_000)
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "answers_too_large")
        assert len(harness.upstream.log) == answered + 1

    async def test_a_model_that_is_gone_ends_it(self, harness: RunHarness) -> None:
        made = await harness.generate()
        async with harness.ctx.db.worker() as session:
            gone = func.jsonb_set(Run.options, text("'{question,model}'"), text("""'"ft:gone"'"""))
            await session.execute(update(Run).where(Run.id == made["id"]).values(options=gone))
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "model_not_found")


class TestTakenAway:
    async def test_cancel_is_at_once_and_what_is_under_way_is_posted(self, harness: RunHarness) -> None:
        harness.upstream.gate.clear()
        made = await harness.generate(concurrency=4)
        claimed = await harness.claim(made["id"])
        assert claimed is not None
        turn = asyncio.create_task(advance.advance(harness.ctx, claimed))
        await _until(lambda: len(harness.upstream.log) == 4)
        async with harness.http() as http:
            cancelled = (await http.post(f"/dataset_generations/{made['id']}/cancel")).json()
            again = await http.post(f"/dataset_generations/{made['id']}/cancel")
        assert (cancelled["status"], cancelled["file"], again.status_code) == ("cancelled", None, 200)
        harness.upstream.gate.set()
        with pytest.raises(LeaseLost):
            await turn
        await _until_async(lambda: _nothing_open(harness))
        assert len(harness.upstream.log) == 4
        assert await harness.assert_books(made["id"]) > 0
        assert await harness.calls(made["id"]) == []
        assert await harness.claim(made["id"]) is None
        assert await harness.webhooks() == ["dataset_generation.cancelled"]

    async def test_a_run_that_is_taken_over_posts_each_call_once(self, harness: RunHarness) -> None:
        """The first worker stands still with its calls under way; the second adopts them, under the same keys."""
        harness.upstream.gate.clear()
        made = await harness.generate(n_per_topic=2, concurrency=4)
        first = await harness.claim(made["id"])
        assert first is not None
        standing = asyncio.create_task(advance.advance(harness.ctx, first))
        await _until(lambda: len(harness.upstream.log) == 4)
        reserved = len(await harness.entries())
        await harness.end_lease(made["id"])
        second = await harness.claim(made["id"])
        assert second is not None
        taking_over = asyncio.create_task(advance.advance(harness.ctx, second))
        await _until(lambda: len(harness.upstream.log) == 8)
        assert len(await harness.entries()) == reserved, "the reservations are adopted"
        harness.upstream.gate.set()
        with pytest.raises(LeaseLost):
            await standing
        await taking_over
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["progress"]["calls"]) == ("succeeded", 8)
        await _until_async(lambda: _nothing_open(harness))
        await harness.assert_books(made["id"])
        assert len(harness.upstream.charged) == 8

    async def test_one_that_nobody_goes_on_with_is_posted_in_full(self, harness: RunHarness) -> None:
        """What an orphan's call has reserved counts in its run too."""
        harness.upstream.gate.clear()
        made = await harness.generate(n_per_topic=1, concurrency=2)
        claimed = await harness.claim(made["id"])
        assert claimed is not None
        turn = asyncio.create_task(advance.advance(harness.ctx, claimed))
        await _until(lambda: len(harness.upstream.log) == 2)
        turn.cancel()
        await asyncio.gather(turn, return_exceptions=True)
        async with harness.ctx.db.worker() as session:
            mine = OpenInference.project_id == harness.project_id
            await session.execute(update(OpenInference).where(mine).values(expires_at=func.now()))
        assert await resolve_abandoned_reservations(harness.ctx.db) >= 2
        cost = await harness.assert_books(made["id"])
        assert cost > 0
        harness.upstream.gate.set()
        await harness.end_lease(made["id"])
        ended = await harness.until_end(made["id"])
        assert ended["status"] == "succeeded"
        assert await harness.assert_books(made["id"]) > cost

    async def test_a_worker_that_stops_gives_it_back(self, harness: RunHarness) -> None:
        harness.upstream.gate.clear()
        made = await harness.generate(concurrency=2)
        claimed = await harness.claim(made["id"])
        assert claimed is not None
        turn = asyncio.create_task(advance.advance(harness.ctx, claimed))
        await _until(lambda: len(harness.upstream.log) == 2)
        harness.ctx.stopping.set()
        harness.upstream.gate.set()
        await turn
        row = await harness.row(made["id"])
        assert (row.status, row.leased_until, row.calls, row.failures) == ("running", None, 2, 0)
        assert row.due_at is not None
        harness.ctx.stopping.clear()
        assert (await harness.until_end(made["id"]))["status"] == "succeeded"
        assert len(harness.upstream.log) == len(set(harness.upstream.keys()))

    async def test_one_that_ends_its_workers_again_and_again_ends(self, harness: RunHarness) -> None:
        """With what was made by then; and if that ends them too, without."""
        for failures, file in ((advance.MAX_CRASHES, True), (advance.MAX_CRASHES + 1, False)):
            harness.upstream.script = lambda call: (
                plain(call) if call.item == 0 else Reply(status=429, retry_after="60")
            )
            made = await harness.generate(concurrency=1)
            await harness.step(made["id"])
            async with harness.ctx.db.worker() as session:
                await session.execute(update(Run).where(Run.id == made["id"]).values(failures=failures))
            ended = await harness.step(made["id"])
            assert (ended["status"], ended["error"]["code"]) == ("failed", "run_crashed")
            assert (ended["file"] is not None) == file


class TestRecord:
    async def test_an_answer_is_recorded_when_the_database_is_back(
        self, harness: RunHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The connection breaks after the commit of some answers: they are written again, and nothing is doubled."""
        broken = iter([True, True])

        async def breaking(session: Any, actuals: Any) -> Any:
            settled = await resolve(session, actuals)
            if next(broken, False):
                await session.commit()
                raise ConnectionError("gone")
            return settled

        monkeypatch.setattr(recording, "resolve", breaking)
        made = await harness.generate(n_per_topic=2)
        ended = await harness.until_end(made["id"])
        assert (ended["status"], ended["progress"]["calls"]) == ("succeeded", 8)
        assert len(harness.upstream.log) == 8
        await harness.assert_books(made["id"])

    async def test_progress_is_reported_with_its_cost(self, harness: RunHarness) -> None:
        made = await harness.generate()
        await harness.until_end(made["id"])
        events = await harness.events(made["id"])
        assert events[0]["message"] == f"Created dataset_generation: {made['id']}"
        assert events[1]["message"] == "Started"
        progress = [event["data"] for event in events if event["type"] == "progress"]
        assert [each["done"] for each in progress] == sorted(each["done"] for each in progress)
        assert progress[-1]["done"] == progress[-1]["total"] == 10
        assert progress[-1]["cost"]["value"] == (await harness.shown(made["id"]))["cost"]["value"]
        assert await harness.webhooks() == ["dataset_generation.succeeded"]

    async def test_the_stream_tells_all_of_it_and_ends(self, harness: RunHarness) -> None:
        made = await harness.generate()
        await harness.until_end(made["id"])
        async with harness.http() as http:
            path = f"/dataset_generations/{made['id']}/events"
            reported = (await http.get(path, params={"stream": "true"})).text
            ids = [line.removeprefix("id: ") for line in reported.splitlines() if line.startswith("id: ")]
            assert ids == [event["id"] for event in await harness.events(made["id"])]
            assert "event: dataset_generation.event" in reported
            assert reported.endswith("data: [DONE]\n\n")
            rest = await http.get(path, params={"stream": "true"}, headers={"last-event-id": ids[-2]})
            assert rest.text.count("id: ") == 1


async def test_two_runs_of_one_project_share_its_books(harness: RunHarness) -> None:
    """At the same time, and to the micro-dollar."""
    made = [await harness.generate(seed=seed) for seed in (1, 2)]
    await asyncio.gather(*(harness.until_end(each["id"]) for each in made))
    costs = [(await harness.row(each["id"])).cost_micros for each in made]
    entries = await harness.entries()
    assert sum(costs) == sum(entry.spent_micros for entry in entries)
    assert await harness.open_calls() == []


IN_USE = """
    SELECT cost_micros + (
        SELECT coalesce(sum(e.reserved_micros), 0) FROM open_inferences o
        JOIN ledger_entries e ON e.subject = o.subject AND e.kind = 'reserve' WHERE o.run_id = runs.id
    ) FROM runs WHERE id = :run
"""


async def _quote(harness: RunHarness, **body: Any) -> dict[str, Any]:
    wanted = {"topics": ["rivers", "lakes"], "n_per_topic": 5, "model": "gpt-4o-mini", **body}
    async with harness.http() as http:
        answer = await http.post("/dataset_generations/quotes", json=wanted)
    assert answer.status_code == 200, answer.text
    quoted: dict[str, Any] = answer.json()
    return quoted


async def _nothing_open(harness: RunHarness) -> bool:
    return not await harness.open_calls()


async def _has_reserved(harness: RunHarness, run_id: str) -> bool:
    async with harness.ctx.db.worker() as session:
        reserved = select(func.count()).select_from(OpenInference).where(OpenInference.run_id == run_id)
        return bool(await session.scalar(reserved))


def _asked(harness: RunHarness, calls: int) -> bool:
    return len(harness.upstream.log) == calls


async def _until(condition: Any) -> None:
    await asyncio.wait_for(_checking(condition), 60)


async def _checking(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.01)


async def _until_async(condition: Any) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.05)
