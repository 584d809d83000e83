"""Creating once, however often the request arrives: over HTTP, against committed rows."""

import asyncio
import datetime as dt
import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import func, select, text, update

from service.database.tables import File, Job, RememberedRequest
from tests.http.fixtures import Api
from tests.wire import Tenant, chat_rows, jsonl, refusal

JOBS = "/fine_tuning/jobs"


async def job_body(api: Api, tenant: Tenant | None = None) -> dict[str, Any]:
    """A create that is accepted: the report is pending, for no worker runs."""
    async with api.http(tenant) as http:
        answer = await http.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", jsonl(chat_rows(10)))}
        )
    return {"model": "gpt-4o-mini", "training_file": answer.json()["id"]}


async def count(api: Api, table: type[Job | File | RememberedRequest]) -> int:
    """How many rows there are."""
    async with api.rows() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


class TestKey:
    async def test_same_key_and_body_gives_the_same_answer(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:
            answers = [await http.post(JOBS, json=body, headers={"idempotency-key": "k"}) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert answers[0].content == answers[1].content == answers[2].content
        assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]
        assert len({answer.headers["x-request-id"] for answer in answers}) == 3
        assert await count(api, Job) == 1

    async def test_another_body_is_refused(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:
            await http.post(JOBS, json=body, headers={"idempotency-key": "k"})
            other = await http.post(JOBS, json={**body, "seed": 1}, headers={"idempotency-key": "k"})
        assert (other.status_code, refusal(other)["code"]) == (422, "idempotency_key_reused")
        assert other.headers["x-should-retry"] == "false"
        assert await count(api, Job) == 1

    async def test_another_key_creates_another(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:
            for key in (b"a", b"b", b"\xe9"):
                await http.post(JOBS, json=body, headers={b"idempotency-key": key})
        assert await count(api, Job) == 3

    @pytest.mark.parametrize("key", ["", "k" * 256])
    async def test_length(self, api: Api, key: str) -> None:
        body = await job_body(api)
        async with api.http() as http:
            answer = await http.post(JOBS, json=body, headers={"idempotency-key": key})
            longest = await http.post(JOBS, json=body, headers={"idempotency-key": "k" * 255})
        assert (answer.status_code, refusal(answer)["code"]) == (400, "invalid_idempotency_key")
        assert longest.status_code == 200

    async def test_belongs_to_a_project_and_a_route(self, api: Api) -> None:
        mine, theirs = await job_body(api), await job_body(api, api.other)
        headers = {"idempotency-key": "k"}
        async with api.http() as http, api.http(api.other) as other:
            first = await http.post(JOBS, json=mine, headers=headers)
            second = await other.post(JOBS, json=theirs, headers=headers)
            file = await http.post("/files", data={"purpose": "vision"}, files={"file": ("a", b"x")}, headers=headers)
        assert [first.status_code, second.status_code, file.status_code] == [200, 200, 200]
        assert first.json()["id"] != second.json()["id"]

    async def test_is_forgotten_after_24_hours(self, api: Api) -> None:
        body = await job_body(api)
        headers = {"idempotency-key": "k"}
        async with api.http() as http:
            first = await http.post(JOBS, json=body, headers=headers)
            await self._age(api, dt.timedelta(hours=23, minutes=59))
            again = await http.post(JOBS, json=body, headers=headers)
            await self._age(api, dt.timedelta(minutes=2))
            fresh = await http.post(JOBS, json={**body, "seed": 5}, headers=headers)
        assert again.content == first.content
        assert fresh.status_code == 200
        assert fresh.json()["id"] != first.json()["id"]

    async def test_refusals_are_not_kept(self, api: Api) -> None:
        body = await job_body(api)
        headers = {"idempotency-key": "k"}
        async with api.http() as http:
            refused = await http.post(JOBS, json={**body, "training_file": "file-none"}, headers=headers)
            accepted = await http.post(JOBS, json=body, headers=headers)
        assert (refused.status_code, accepted.status_code) == (400, 200)

    async def test_twenty_at_once_make_one_job(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:

            async def create() -> httpx2.Response:
                """As the SDK does: a request that is in flight is sent again."""
                while (answer := await http.post(JOBS, json=body, headers={"idempotency-key": "k"})).status_code == 409:
                    assert answer.headers["x-should-retry"] == "true"
                return answer

            answers = await asyncio.gather(*(create() for _ in range(20)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        assert await count(api, Job) == 1

    async def test_a_first_that_takes_long_is_waited_for_and_then_not(self, api: Api) -> None:
        body = await job_body(api)
        headers = {"idempotency-key": "k"}
        async with api.http() as http, api.db.admin() as session:
            # the queue's lock, which every create takes after its turn: the first stands in the middle of its action
            await session.execute(
                text("SELECT pg_advisory_xact_lock(hashtextextended(:project, 1))"), {"project": api.one.project_id}
            )
            first = asyncio.create_task(http.post(JOBS, json=body, headers=headers))
            await self._until_waiting(api)
            second = await http.post(JOBS, json=body, headers=headers)
            assert (second.status_code, refusal(second)["code"]) == (409, "request_in_flight")
            assert second.headers["x-should-retry"] == "true"
            third = asyncio.create_task(http.post(JOBS, json=body, headers=headers))
            await self._until_waiting(api, 2)
            await session.commit()
            answers = [await first, await third]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].content == answers[1].content
        assert await count(api, Job) == 1

    async def _age(self, api: Api, by: dt.timedelta) -> None:
        async with api.rows() as session:
            await session.execute(
                update(RememberedRequest)
                .where(RememberedRequest.idempotency_key == "k")
                .values(created_at=RememberedRequest.created_at - by)
            )

    async def _until_waiting(self, api: Api, many: int = 1) -> None:
        query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = "
                     "(SELECT oid FROM pg_database WHERE datname = current_database())")  # fmt: skip
        async with asyncio.timeout(60):
            while True:
                async with api.rows() as session:
                    if (await session.scalar(query) or 0) >= many:
                        return
                await asyncio.sleep(0.02)


class TestRetriesOfTheSdk:
    """Without a key: `x-stainless-retry-count` says that the SDK did not get the answer to the same body before."""

    async def ask(self, http: httpx2.AsyncClient, body: dict[str, Any], attempts: int) -> str:
        answer = await http.post(JOBS, json=body, headers={"x-stainless-retry-count": str(attempts)})
        assert answer.status_code == 200
        job_id: str = answer.json()["id"]
        return job_id

    async def test_a_retry_gets_the_first_answer(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:
            first = await self.ask(http, body, 0)
            assert await self.ask(http, body, 1) == first
            assert await self.ask(http, body, 2) == first
        assert await count(api, Job) == 1

    async def test_each_retry_claims_one_original_once(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:
            originals = [await self.ask(http, body, 0) for _ in range(2)]
            assert len(set(originals)) == 2
            assert [await self.ask(http, body, 1) for _ in range(2)] == originals
            assert await self.ask(http, body, 1) not in originals

    async def test_another_body_or_no_retry_makes_a_new_one(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:
            first = await self.ask(http, body, 0)
            made = {first, await self.ask(http, body, 0), await self.ask(http, {**body, "seed": 1}, 1)}
        assert len(made) == 3

    async def test_another_key_s_request_is_another(self, api: Api) -> None:
        mine, theirs = await job_body(api), await job_body(api, api.other)
        async with api.http() as http, api.http(api.other) as other:
            first = await self.ask(http, mine, 0)
            assert await self.ask(other, theirs, 1) != first

    async def test_after_ten_minutes_it_is_a_new_request(self, api: Api) -> None:
        body = await job_body(api)
        async with api.http() as http:
            first = await self.ask(http, body, 0)
            async with api.rows() as session:
                await session.execute(
                    update(RememberedRequest).values(created_at=RememberedRequest.created_at - dt.timedelta(minutes=11))
                )
            assert await self.ask(http, body, 1) != first

    @pytest.mark.parametrize("attempts", ["-1", "x", "", "1.5", "9" * 50, "²"])
    async def test_what_is_no_count_counts_as_none(self, api: Api, attempts: str) -> None:
        body = await job_body(api)
        async with api.http() as http:
            for _ in range(2):
                answer = await http.post(
                    JOBS,
                    content=json.dumps(body),
                    headers=[(b"content-type", b"application/json"), (b"x-stainless-retry-count", attempts.encode())],
                )
                assert answer.status_code == 200
        assert await count(api, Job) == 2

    async def test_a_dropped_answer_costs_one_job_with_the_real_sdk(self, api: Api) -> None:
        """The SDK's own retry, after an answer that was lost on the way."""
        import openai

        body = await job_body(api)
        lost = 0

        class Losing(httpx2.AsyncHTTPTransport):
            async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
                nonlocal lost
                answer = await super().handle_async_request(request)
                if lost < 2:
                    lost += 1
                    await answer.aread()
                    raise httpx2.ReadError("the answer was lost", request=request)
                return answer

        async with httpx2.AsyncClient(transport=Losing()) as transport:
            sdk = openai.AsyncOpenAI(base_url=api.one.base_url, api_key=api.one.key, http_client=transport)
            job = await sdk.fine_tuning.jobs.create(**body)
        assert lost == 2
        async with api.rows() as session:
            assert (await session.scalars(select(Job.id))).all() == [job.id]


class TestUploads:
    def form(self, boundary: str, content: bytes = b"x", name: str = "a", purpose: str = "vision") -> bytes:
        return (
            (
                f'--{boundary}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
                f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
            ).encode()
            + content
            + f"\r\n--{boundary}--\r\n".encode()
        )

    async def send(self, api: Api, body: bytes, boundary: str, **headers: str) -> httpx2.Response:
        async with api.http() as http:
            return await http.post(
                "/files",
                content=body,
                headers={"content-type": f"multipart/form-data; boundary={boundary}", **headers},
            )

    async def test_are_compared_by_fields_and_content_not_by_boundary(self, api: Api) -> None:
        key = {"idempotency-key": "u"}
        first = await self.send(api, self.form("one"), "one", **key)
        again = await self.send(api, self.form("two"), "two", **key)
        assert (first.status_code, again.content) == (200, first.content)
        for other in (self.form("x", b"y"), self.form("x", name="b"), self.form("x", purpose="batch")):
            assert (await self.send(api, other, "x", **key)).status_code == 422
        assert await count(api, File) == 1
        assert len(api.objects()) == 1

    async def test_a_retry_of_the_sdk_makes_one_file(self, api: Api) -> None:
        first = await self.send(api, self.form("one"), "one", **{"x-stainless-retry-count": "0"})
        again = await self.send(api, self.form("two"), "two", **{"x-stainless-retry-count": "1"})
        fresh = await self.send(api, self.form("two"), "two", **{"x-stainless-retry-count": "0"})
        assert again.content == first.content
        assert fresh.json()["id"] != first.json()["id"]
        assert len(api.objects()) == await count(api, File) == 2
