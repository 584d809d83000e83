"""Setting a price through the organisation's API, and what quotes and finished jobs make of it."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.stack import DevStack
from tests.wire import chat_rows, eventually, jsonl

pytestmark = pytest.mark.xdist_group("organization prices")


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStack]:
    """A stack for these tests only: prices are the whole organisation's. Each test sets those of another model."""
    stack = DevStack(tmp_path_factory.mktemp("prices"))
    try:
        yield stack.start()
    finally:
        stack.stop()


def test_a_price_that_is_set_holds_for_quotes_and_a_finished_job_calibrates_the_next_one(own_stack: DevStack) -> None:
    ready = own_stack.ready()
    headers = {"authorization": f"Bearer {ready['admin_key']}"}
    admin = httpx2.Client(base_url=ready["base_url"], headers=headers, timeout=90)
    client = own_stack.client()
    file = client.files.create(file=("train.jsonl", jsonl(chat_rows(12))), purpose="fine-tune")
    client.files.wait_for_processing(file.id, poll_interval=0.1)

    def quote() -> Any:
        body = {"model": "gpt-4o-mini", "training_file": file.id, "hyperparameters": {"n_epochs": 1}}
        return client.post("/fine_tuning/quotes", body=body, cast_to=object)

    shipped = quote()
    assert shipped["calibration"] is None
    answer = admin.post(
        "/organization/prices",
        json={
            "model": "gpt-4o-mini",
            "effective_from": "2026-01-01",
            "dollars_per_million_tokens": 6,
            "source": "contract 17",
        },
    )
    assert answer.status_code == 200
    assert answer.json()["per_million_tokens"] == {"value": 6.0, "currency": "usd"}
    assert quote()["price"]["expected"]["value"] == 2 * shipped["price"]["expected"]["value"]
    listed = admin.get("/organization/prices").json()["data"]
    assert [(row["effective_from"], row["origin"]) for row in listed if row["model"].startswith("gpt-4o-mini")] == [
        ("2026-01-01", "override"),
        ("2024-07-23", "catalogue"),
    ]

    job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id, hyperparameters={"n_epochs": 1})
    eventually(lambda: client.fine_tuning.jobs.retrieve(job.id).status == "succeeded" or None)
    trained = client.fine_tuning.jobs.retrieve(job.id).trained_tokens or 0
    calibration = quote()["calibration"]
    assert calibration["jobs"] == 1
    assert calibration["actual_to_estimate"] == round(trained / shipped["tokens"]["billable"], 4)


def test_only_an_admin_key_sets_prices(own_stack: DevStack) -> None:
    ready = own_stack.ready()
    for key, status in ((ready["api_key"], 403), ("nonsense", 401), (ready["admin_key"], 400)):
        answer = httpx2.post(
            f"{ready['base_url']}/organization/prices",
            headers={"authorization": f"Bearer {key}"},
            json={"model": "no-such", "effective_from": "2026-01-01", "dollars_per_million_tokens": 1, "source": "x"},
            timeout=90,
        )
        assert answer.status_code == status, answer.text


def test_a_report_that_stands_shows_the_prices_of_today(own_stack: DevStack) -> None:
    ready = own_stack.ready()
    headers = {"authorization": f"Bearer {ready['admin_key']}"}
    admin = httpx2.Client(base_url=ready["base_url"], headers=headers, timeout=90)
    client = own_stack.client()
    file = client.files.create(file=("train.jsonl", jsonl(chat_rows(12))), purpose="fine-tune")
    client.files.wait_for_processing(file.id, poll_interval=0.1)

    def prices() -> dict[str, float]:
        report: Any = client.get(f"/files/{file.id}/report", cast_to=object)
        return {line["model"]: line["price"]["value"] for line in report["prices"]}

    before = prices()
    body = {"model": "gpt-4.1-mini", "effective_from": "2026-01-01", "dollars_per_million_tokens": 15, "source": "x"}
    assert admin.post("/organization/prices", json=body).status_code == 200
    changed = "gpt-4.1-mini-2025-04-14"
    assert prices() == {**before, changed: round(before[changed] * 3, 6)}
