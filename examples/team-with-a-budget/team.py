"""Creates a project with a budget, trains in it, and reads what it cost, with the official SDK alone.

Needs OPENAI_BASE_URL and OPENAI_ADMIN_KEY (`make run` prints both).
"""

import os
import time
from pathlib import Path

import openai
from openai import OpenAI

TRAINING_FILE = Path(__file__).parent.parent / "sarcastic-facts" / "train.jsonl"
MODEL = "gpt-4o-mini-2024-07-18"
DAY = 86_400


def main() -> None:
    admin_key = os.environ["OPENAI_ADMIN_KEY"]
    organization = OpenAI(api_key=admin_key, admin_api_key=admin_key).admin.organization

    project = organization.projects.create(name="Rivers")
    account = organization.projects.service_accounts.create(project.id, name="training")
    assert account.api_key is not None
    limit = organization.projects.spend_limit.update(
        project.id, currency="USD", interval="month", threshold_amount=2_00
    )
    organization.projects.spend_alerts.create(
        project.id,
        currency="USD",
        interval="month",
        threshold_amount=1_50,
        notification_channel={"type": "email", "recipients": ["rivers@example.com"]},
    )
    print(f"project {project.id} may spend ${limit.threshold_amount / 100:.2f} a month")

    team = OpenAI(api_key=account.api_key.value)
    file = team.files.create(file=TRAINING_FILE, purpose="fine-tune")
    team.files.wait_for_processing(file.id, poll_interval=0.5)
    try:
        team.fine_tuning.jobs.create(model="gpt-4.1", training_file=file.id, hyperparameters={"n_epochs": 50})
    except openai.RateLimitError as refused:
        print(f"refused before it cost anything: {refused.code}")
    job = team.fine_tuning.jobs.create(model=MODEL, training_file=file.id)
    while job.status not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.5)
        job = team.fine_tuning.jobs.retrieve(job.id)
    print(f"{job.id} {job.status}: {job.fine_tuned_model}, {job.trained_tokens} tokens")

    costs = organization.usage.costs(
        start_time=project.created_at // DAY * DAY, project_ids=[project.id], group_by=["project_id", "line_item"]
    )
    for bucket in costs.data:
        for result in bucket.results:
            print(f"{result.line_item}: ${float(result.amount.value):.6f}")


if __name__ == "__main__":
    main()
