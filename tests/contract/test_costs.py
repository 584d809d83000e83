"""Spending as the official SDK sees it: costs, usage, limits and alerts of the organisation's API."""

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx2
import openai
import pytest
from openai.types.admin.organization import UsageCompletionsResponse, UsageCostsResponse
from openai.types.admin.organization.organization_spend_alert import OrganizationSpendAlert
from openai.types.admin.organization.organization_spend_limit import OrganizationSpendLimit
from openai.types.admin.organization.projects.project_spend_alert import ProjectSpendAlert
from openai.types.admin.organization.projects.project_spend_limit import ProjectSpendLimit

from tests.contract.strict import strict_list, strictly
from tests.stack import DevStack
from tests.wire import Tenant, chat_rows, ended, jsonl, new_tenant, refusal, upload

DAY = 86_400
PRICE_MICROS = 3
"""Micro-dollars for a trained token of gpt-4o-mini."""

CHANNEL: Any = {"type": "email", "recipients": ["ops@example.com"], "subject_prefix": "Spend:"}
ALERT: dict[str, Any] = {"currency": "USD", "interval": "month", "notification_channel": CHANNEL}
LIMIT: dict[str, Any] = {"currency": "USD", "interval": "month"}


@dataclass(frozen=True, kw_only=True)
class Spender:
    """A project that has trained once and asked three times, and what that came to."""

    tenant: Tenant
    admin: openai.OpenAI
    started: int
    trained_tokens: int
    model: str
    asked: list[tuple[str, int, int]]

    @property
    def usage(self) -> Any:
        """The SDK's resource."""
        return self.admin.admin.organization.usage

    def costs(self, **query: Any) -> UsageCostsResponse:
        """Costs of this project, strictly read."""
        query = {"start_time": self.started, "project_ids": [self.tenant.project_id], **query}
        return strictly(UsageCostsResponse, self.usage.with_raw_response.costs(**query))

    def completions(self, **query: Any) -> UsageCompletionsResponse:
        """Usage of this project, strictly read."""
        query = {"start_time": self.started, "project_ids": [self.tenant.project_id], **query}
        return strictly(UsageCompletionsResponse, self.usage.with_raw_response.completions(**query))


@pytest.fixture(scope="module")
def spender(stack: DevStack) -> Spender:
    """It spends on the shared stack, in a project of its own."""
    ready = stack.ready()
    started = int(time.time())
    tenant = new_tenant(ready["base_url"], ready["database_url"])
    with tenant.http() as http:
        file = upload(http, jsonl(chat_rows(12)))
        wanted = {"model": "gpt-4o-mini", "training_file": file, "hyperparameters": {"n_epochs": 1}}
        job = ended(http, http.post("/fine_tuning/jobs", json=wanted).json()["id"])
    asked = []
    sdk = tenant.sdk()
    for model in (job["fine_tuned_model"], job["fine_tuned_model"], "gpt-4o-mini"):
        answer = sdk.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "How long is river 3?"}], max_tokens=20
        )
        assert answer.usage is not None
        asked.append((model, answer.usage.prompt_tokens, answer.usage.completion_tokens))
    return Spender(
        tenant=tenant,
        admin=stack.client(admin=True),
        started=started,
        trained_tokens=job["trained_tokens"],
        model=job["fine_tuned_model"],
        asked=asked,
    )


def results_of(page: UsageCostsResponse | UsageCompletionsResponse) -> list[Any]:
    """The results of all buckets. The SDK's types allow any kind of usage there."""
    return [result for bucket in page.data for result in bucket.results]


def asking_micros(asked: list[tuple[str, int, int]]) -> int:
    """What calls cost by the catalogue: gpt-4o-mini at 0.15 and 0.60 dollars a million, tuned at 0.30 and 1.20."""
    total = 0
    for model, read, written in asked:
        double = 2 if model.startswith("ft:") else 1
        total += (read * 150_000 * double + written * 600_000 * double + 500_000) // 1_000_000
    return total


def micros(amount: Any) -> int:
    """An amount in micro-dollars, which its decimal gives back exactly."""
    assert amount.currency == "usd"
    assert round(amount.value * 1_000_000) / 1_000_000 == amount.value
    whole: int = round(amount.value * 1_000_000)
    return whole


class TestCosts:
    def test_are_the_trained_tokens_and_the_usage_by_their_prices(self, spender: Spender) -> None:
        found: dict[str, tuple[int, float, str]] = {}
        for result in results_of(spender.costs(group_by=["line_item"])):  # twice of one where a day has ended meanwhile
            amount, quantity, _ = found.get(result.line_item, (0, 0.0, ""))
            amounts = (amount + micros(result.amount), quantity + result.quantity)
            found[result.line_item] = (*amounts, result.quantity_unit)
        tuned, base = spender.asked[:2], spender.asked[2:]
        assert found == {
            "training gpt-4o-mini": (spender.trained_tokens * PRICE_MICROS, float(spender.trained_tokens), "tokens"),
            f"inference {spender.model}": (asking_micros(tuned), float(sum(r + w for _, r, w in tuned)), "tokens"),
            "inference gpt-4o-mini": (asking_micros(base), float(sum(r + w for _, r, w in base)), "tokens"),
        }

    def test_are_one_sum_without_groups(self, spender: Spender) -> None:
        page = spender.costs()
        whole = spender.trained_tokens * PRICE_MICROS + asking_micros(spender.asked)
        assert sum(micros(total.amount) for total in results_of(page)) == whole
        assert max(len(bucket.results) for bucket in page.data) == 1
        for total in results_of(page):
            assert (total.project_id, total.line_item, total.api_key_id, total.quantity) == (None, None, None, None)

    def test_can_be_distinguished_by_project_and_key(self, spender: Spender) -> None:
        page = spender.costs(group_by=["project_id", "api_key_id"])
        assert {total.project_id for total in results_of(page)} == {spender.tenant.project_id}
        [key_id] = {total.api_key_id for total in results_of(page)}
        assert key_id is not None
        only = spender.costs(api_key_ids=[key_id])
        assert len(results_of(only)) == len(results_of(page)) >= 1
        none = spender.costs(api_key_ids=["key_other"])
        assert [bucket.results for bucket in none.data] == [[]] * len(none.data)

    def test_come_in_whole_days_with_the_empty_ones_and_in_pages(self, spender: Spender) -> None:
        end = spender.started // DAY * DAY + DAY
        first = spender.costs(start_time=end - 10 * DAY + 5, end_time=end, limit=4)
        assert [bucket.start_time for bucket in first.data] == [end - (10 - day) * DAY for day in range(4)]
        assert all(bucket.end_time == bucket.start_time + DAY for bucket in first.data)
        assert (first.has_more, first.next_page is None) == (True, False)
        days, page = list(first.data), first
        while page.has_more:
            page = spender.costs(start_time=end - 10 * DAY + 5, end_time=end, limit=4, page=page.next_page)
            days += page.data
        assert [bucket.start_time for bucket in days] == [end - (10 - day) * DAY for day in range(10)]
        assert page.next_page is None
        assert [len(bucket.results) for bucket in days[:9]] == [0] * 9

    def test_a_page_of_another_query_is_refused(self, spender: Spender) -> None:
        page = spender.costs(start_time=spender.started - 9 * DAY, limit=2)
        with pytest.raises(openai.BadRequestError) as refused:
            spender.costs(start_time=spender.started - 8 * DAY, limit=2, page=page.next_page)
        assert (refused.value.param, refused.value.code) == ("page", "invalid_cursor")


class TestUsage:
    @pytest.mark.parametrize("width", ["1m", "1h", "1d"])
    def test_is_what_the_answers_said(self, spender: Spender, width: Any) -> None:
        page = spender.completions(bucket_width=width, end_time=int(time.time()) + 1, limit=31)
        results = results_of(page)
        assert sum(result.input_tokens for result in results) == sum(read for _, read, _ in spender.asked)
        assert sum(result.output_tokens for result in results) == sum(written for _, _, written in spender.asked)
        assert sum(result.num_model_requests for result in results) == len(spender.asked)
        assert page.data[0].start_time == spender.started

    def test_by_model_project_and_key(self, spender: Spender) -> None:
        page = spender.completions(group_by=["model", "project_id", "api_key_id"])
        results = results_of(page)
        asked = Counter[str]()
        for result in results:
            asked[result.model] += result.num_model_requests
        assert asked == {spender.model: 2, "gpt-4o-mini": 1}
        assert {result.project_id for result in results} == {spender.tenant.project_id}
        assert all(result.api_key_id for result in results)

    def test_of_some_models(self, spender: Spender) -> None:
        for names in (["gpt-4o-mini"], ["gpt-4o-mini-2024-07-18"]):
            [result] = results_of(spender.completions(models=names))
            assert result.num_model_requests == 1


class TestRefusals:
    @pytest.mark.parametrize(
        "query",
        [
            "",
            "start_time=soon",
            "start_time=5&end_time=5",
            "start_time=5&group_by[]=user_id",
            "start_time=5&group_by=model",
            "start_time=5&user_ids[]=user-1",
            "start_time=5&batch=true",
            "start_time=5&bucket_width=1w",
            "start_time=5&limit=32",
            "start_time=5&limit=0",
            "start_time=5&page=page_x",
            "start_time=-1",
            "start_time=99999999999999",
        ],
    )
    def test_what_is_not_understood_is_refused(self, spender: Spender, query: str) -> None:
        answer = self.get(spender, f"/organization/usage/completions?{query}")
        assert answer.status_code == 400, answer.text
        assert refusal(answer)["param"]

    @pytest.mark.parametrize(
        "query", ["start_time=5&bucket_width=1h", "start_time=5&limit=181", "start_time=5&models[]=x"]
    )
    def test_of_costs(self, spender: Spender, query: str) -> None:
        assert self.get(spender, f"/organization/costs?start_time=5&{query}").status_code == 400

    def test_of_fine_tuning_counts_the_jobs_that_ended(self, spender: Spender) -> None:
        query = f"start_time={spender.started}&project_ids[]={spender.tenant.project_id}&group_by[]=project_id"
        answer = self.get(spender, f"/organization/usage/fine_tuning?{query}")
        assert answer.status_code == 200, answer.text
        [result] = [each for bucket in answer.json()["data"] for each in bucket["results"]]
        assert result["project_id"] == spender.tenant.project_id
        assert (result["trained_tokens"], result["num_jobs"]) == (spender.trained_tokens, 1)
        assert result["gpu_seconds"] >= 0

    @pytest.mark.parametrize("kind", ["embeddings", "images", "audio_speeches", "vector_stores"])
    def test_other_usage_is_said_not_to_be(self, spender: Spender, kind: str) -> None:
        answer = self.get(spender, f"/organization/usage/{kind}?start_time=5")
        assert answer.status_code in (400, 404)
        refusal(answer)

    def get(self, spender: Spender, path: str) -> httpx2.Response:
        key = spender.admin.admin_api_key
        return httpx2.get(f"{spender.tenant.base_url}{path}", headers={"authorization": f"Bearer {key}"}, timeout=90)


class TestLimits:
    def test_of_a_project_live(self, spender: Spender) -> None:
        limits = spender.admin.admin.organization.projects.spend_limit
        project = new_tenant(spender.tenant.base_url, spender.tenant.database_url).project_id
        with pytest.raises(openai.NotFoundError):
            limits.retrieve(project)
        set_to = strictly(ProjectSpendLimit, limits.with_raw_response.update(project, threshold_amount=500, **LIMIT))
        assert (set_to.threshold_amount, set_to.enforcement.status) == (500, "inactive")
        assert strictly(ProjectSpendLimit, limits.with_raw_response.retrieve(project)) == set_to
        assert limits.update(project, threshold_amount=0, **LIMIT).enforcement.status == "enforcing"
        assert limits.delete(project).deleted
        with pytest.raises(openai.NotFoundError):
            limits.delete(project)
        with pytest.raises(openai.NotFoundError) as unknown:
            limits.update("proj_none", threshold_amount=1, **LIMIT)
        assert unknown.value.code == "project_not_found"

    def test_below_what_was_spent_is_enforced_and_new_work_is_refused(self, spender: Spender) -> None:
        limits = spender.admin.admin.organization.projects.spend_limit
        project, sdk = spender.tenant.project_id, spender.tenant.sdk()
        try:
            assert limits.update(project, threshold_amount=0, **LIMIT).enforcement.status == "enforcing"
            with pytest.raises(openai.RateLimitError) as refused:
                sdk.chat.completions.create(model=spender.model, messages=[{"role": "user", "content": "?"}])
            assert refused.value.code == "insufficient_quota"
            assert refused.value.response.headers["x-should-retry"] == "false"
        finally:
            limits.delete(project)
        assert sdk.models.retrieve(spender.model).id == spender.model


class TestAlerts:
    def test_of_a_project_live(self, spender: Spender) -> None:
        alerts = spender.admin.admin.organization.projects.spend_alerts
        project = new_tenant(spender.tenant.base_url, spender.tenant.database_url).project_id
        made = strictly(ProjectSpendAlert, alerts.with_raw_response.create(project, threshold_amount=100, **ALERT))
        assert made.notification_channel.recipients == ["ops@example.com"]
        second = alerts.create(project, threshold_amount=200, **ALERT)
        assert strictly(ProjectSpendAlert, alerts.with_raw_response.retrieve(made.id, project_id=project)) == made
        listed = strict_list(ProjectSpendAlert, alerts.with_raw_response.list(project))
        assert [alert.id for alert in listed] == [second.id, made.id]
        assert [alert.id for alert in alerts.list(project, order="asc", limit=1)] == [made.id, second.id]
        assert [alert.id for alert in alerts.list(project, before=made.id)] == [second.id]
        changed = alerts.update(made.id, project_id=project, threshold_amount=300, **ALERT)
        assert changed.threshold_amount == 300
        assert alerts.delete(made.id, project_id=project).deleted
        with pytest.raises(openai.NotFoundError) as gone:
            alerts.retrieve(made.id, project_id=project)
        assert gone.value.code == "spend_alert_not_found"

    def test_another_project_does_not_have_it(self, spender: Spender) -> None:
        alerts = spender.admin.admin.organization.projects.spend_alerts
        one, other = (new_tenant(spender.tenant.base_url, spender.tenant.database_url).project_id for _ in range(2))
        made = alerts.create(one, threshold_amount=100, **ALERT)
        for call in (alerts.retrieve, alerts.delete):
            with pytest.raises(openai.NotFoundError):
                call(made.id, project_id=other)


def test_of_the_organisation_live(fresh_stack: DevStack) -> None:
    organization = fresh_stack.client(admin=True).admin.organization
    with pytest.raises(openai.NotFoundError):
        organization.spend_limit.retrieve()
    raw = organization.spend_limit.with_raw_response.update(threshold_amount=1_000, **LIMIT)
    limit = strictly(OrganizationSpendLimit, raw)
    assert (limit.threshold_amount, limit.enforcement.status) == (1_000, "inactive")
    made = strictly(
        OrganizationSpendAlert, organization.spend_alerts.with_raw_response.create(threshold_amount=5, **ALERT)
    )
    assert [alert.id for alert in organization.spend_alerts.list()] == [made.id]
    assert organization.spend_alerts.update(made.id, threshold_amount=6, **ALERT).threshold_amount == 6
    assert organization.spend_limit.update(threshold_amount=0, **LIMIT).enforcement.status == "enforcing"
    client = fresh_stack.client()
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "?"}])
    assert refused.value.code == "insufficient_quota"
    assert organization.spend_limit.delete().deleted
    client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "?"}])
    assert organization.spend_alerts.delete(made.id).deleted
