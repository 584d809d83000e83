"""A team's script, written against OpenAI years ago, with nothing changed but base URL and key."""

import json
import time
from pathlib import Path

from tests.wire import WAIT_SECONDS, Tenant

QUESTIONS = [f"What colour is thing {number}?" for number in range(12)]


def test_generate_upload_train_poll_and_ask(tenant: Tenant, tmp_path: Path) -> None:
    """The seeds' way, call for call."""
    deadline = time.monotonic() + WAIT_SECONDS
    client = tenant.sdk()

    rows = []
    for question in QUESTIONS:
        answer = client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": question}], temperature=1, max_tokens=30
        )
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": f"{answer.choices[0].message.content or ''} (answered)"},
                ]
            }
        )
    path = tmp_path / "training.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    with path.open("rb") as stream:
        file = client.files.create(file=stream, purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        training_file=file.id, model="gpt-3.5-turbo", hyperparameters={"n_epochs": 3}, suffix="seed"
    )
    seen = set()
    while job.status not in ("succeeded", "failed", "cancelled"):
        assert time.monotonic() < deadline
        time.sleep(1)
        job = client.fine_tuning.jobs.retrieve(job.id)
        seen.add(job.status)
    assert job.status == "succeeded", job.error
    assert seen <= {"validating_files", "queued", "running", "succeeded"}

    events = client.fine_tuning.jobs.list_events(job.id, limit=10)
    assert len(events.data) == 10
    assert job.fine_tuned_model is not None
    reported = client.chat.completions.create(
        model=job.fine_tuned_model, messages=[{"role": "user", "content": QUESTIONS[0]}]
    )
    assert reported.choices[0].message.content
    assert job.trained_tokens
