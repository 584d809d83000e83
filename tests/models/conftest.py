"""The API of `tests/http`, with tuned models to point aliases at."""

from collections.abc import Awaitable, Callable

import pytest

from service.database.tables import Job, Model, UpstreamAccount
from service.ids import new_id
from tests.http.fixtures import Api
from tests.wire import chat_rows, jsonl

BASE = "gpt-4o-mini-2024-07-18"


@pytest.fixture
def tuned(api: Api) -> Callable[..., Awaitable[list[str]]]:
    """Makes tuned models of the first project, as a job that has ended leaves them, and gives their names."""

    async def make(count: int = 2, *, base: str = BASE) -> list[str]:
        async with api.http() as http:
            file = await http.post(
                "/files", data={"purpose": "fine-tune"}, files={"file": ("a.jsonl", jsonl(chat_rows(10)))}
            )
            job = await http.post("/fine_tuning/jobs", json={"model": BASE, "training_file": file.json()["id"]})
        account, job_id = new_id("account-"), job.json()["id"]
        names = [f"ft:{base}:tunegate::{new_id('')}" for _ in range(count)]
        async with api.db.admin() as session:
            assert await session.get(Job, job_id) is not None
            session.add(UpstreamAccount(id=account, kind="openai", base_url=f"http://127.0.0.1:1/{account}"))
            await session.flush()
            session.add_all(
                Model(
                    name=name,
                    project_id=api.one.project_id,
                    job_id=job_id,
                    kind="model",
                    base_model=base,
                    account_id=account,
                    upstream_name=f"up-{name}",
                )
                for name in names
            )
        return names

    return make
