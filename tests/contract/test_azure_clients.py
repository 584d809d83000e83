"""The SDK's client for Azure, and the official one at Azure's URLs, call for call against the gateway."""

from collections.abc import Callable

import httpx2
import openai
import pytest

from tests.contract.conftest import Trained
from tests.stack import DevStack
from tests.wire import MODEL, Tenant, chat_rows, checked, jsonl, refusal

VERSION = "2024-10-21"
ASKED: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "How long is river 3?"}]


def address(tenant: Tenant) -> str:
    """The gateway's address without `/v1`."""
    return tenant.base_url.removesuffix("/v1")


def by_endpoint(tenant: Tenant) -> openai.OpenAI:
    """Requests to `/openai/…` and `/openai/deployments/{model}/…`."""
    return openai.AzureOpenAI(
        azure_endpoint=address(tenant), api_key=tenant.key, api_version=VERSION, max_retries=0, timeout=90
    )


def by_deployment(tenant: Tenant) -> openai.OpenAI:
    """The same with a deployment that the client names once."""
    return openai.AzureOpenAI(
        azure_endpoint=f"{address(tenant)}/",
        azure_deployment=MODEL,
        api_key=tenant.key,
        api_version=VERSION,
        max_retries=0,
        timeout=90,
    )


def by_new_api(tenant: Tenant) -> openai.OpenAI:
    """Requests to `/openai/v1/…?api-version=preview`."""
    return openai.AzureOpenAI(
        base_url=f"{address(tenant)}/openai/v1/",
        api_key=tenant.key,
        api_version="preview",
        max_retries=0,
        timeout=90,
    )


def by_own_base_url(tenant: Tenant) -> openai.OpenAI:
    """Azure's client with the base URL of the official one: `/v1/deployments/{model}/…`."""
    return openai.AzureOpenAI(
        base_url=tenant.base_url, api_key=tenant.key, api_version=VERSION, max_retries=0, timeout=90
    )


def by_token(tenant: Tenant) -> openai.OpenAI:
    """A key in the place of an identity provider's token, which the client sends as a bearer."""
    return openai.AzureOpenAI(
        azure_endpoint=address(tenant), azure_ad_token=tenant.key, api_version=VERSION, max_retries=0, timeout=90
    )


def official(tenant: Tenant) -> openai.OpenAI:
    """The official client at `/openai/v1`."""
    return openai.OpenAI(base_url=f"{address(tenant)}/openai/v1", api_key=tenant.key, max_retries=0, timeout=90)


CLIENTS = [by_endpoint, by_deployment, by_new_api, by_own_base_url, by_token, official]
Make = Callable[[Tenant], openai.OpenAI]


@pytest.mark.parametrize("make", CLIENTS)
class TestCalls:
    def test_models_and_inference(self, tenant: Tenant, make: Make) -> None:
        client = make(tenant)
        assert MODEL in {model.id for model in client.models.list()}
        answer = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=5)
        assert answer.choices[0].message.content
        streamed = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=5, stream=True)
        assert list(streamed)[-1].choices[0].finish_reason
        legacy = client.completions.create(model="babbage-002", prompt="River", max_tokens=5)
        assert legacy.object == "text_completion"

    def test_files(self, tenant: Tenant, make: Make) -> None:
        client = make(tenant)
        content = jsonl(chat_rows(2))
        file = client.files.create(file=("größen.jsonl", content), purpose="user_data")
        assert (file.filename, file.bytes) == ("größen.jsonl", len(content))
        assert file.id in {each.id for each in client.files.list(purpose="user_data", limit=100)}
        assert client.files.retrieve(file.id).id == file.id
        assert client.files.content(file.id).content == content
        assert client.files.delete(file.id).deleted

    def test_jobs(self, trained: Trained, make: Make) -> None:
        client = make(trained.tenant)
        jobs = client.fine_tuning.jobs
        assert trained.job_id in {job.id for job in jobs.list(limit=2)}
        assert jobs.retrieve(trained.job_id).fine_tuned_model == trained.model
        assert len(jobs.list_events(trained.job_id, limit=2).data) == 2
        assert jobs.checkpoints.list(trained.job_id, limit=1).data
        created = jobs.create(model=MODEL, training_file=trained.training_file)
        assert jobs.cancel(created.id).id == created.id
        answer = client.chat.completions.create(model=trained.model, messages=ASKED, max_tokens=5)
        assert answer.choices[0].message.content


def test_the_deployment_of_the_url_decides_as_at_azure(tenant: Tenant) -> None:
    with tenant.http() as client:
        url = f"{address(tenant)}/openai/deployments/{{}}/chat/completions?api-version={VERSION}"
        answer = client.post(url.format(MODEL), json={"model": "another", "messages": ASKED, "max_tokens": 5})
        assert answer.status_code == 200, answer.text
        without = client.post(url.format(MODEL), json={"messages": ASKED, "max_tokens": 5})
        assert without.status_code == 200, without.text
        unknown = client.post(url.format("a%2Fb"), json={"messages": ASKED})
        assert "The model 'a/b' does not exist" in refusal(unknown)["message"]


@pytest.mark.parametrize(
    "path",
    [
        "/openai/v1/organization/projects",
        "/openai//organization/projects",
        "/openai/organization/projects",
        "//openai/v1//organization/projects",
        "/openai/fine_tuning//checkpoints/a/permissions",
    ],
)
def test_the_organisation_s_api_is_at_one_address_only(stack: DevStack, tenant: Tenant, path: str) -> None:
    """A proxy that forbids `/v1/organization` has forbidden all of it."""
    admin = {"authorization": f"Bearer {stack.ready()['admin_key']}"}
    answer = httpx2.get(f"{address(tenant)}{path}", headers=admin)
    assert (answer.status_code, refusal(answer)["code"]) == (404, "unknown_url")


def test_logs_and_metrics_have_the_one_url_and_no_key(stack: DevStack, tenant: Tenant) -> None:
    client = by_endpoint(tenant)
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve("file-of-azure")
    with pytest.raises(openai.AuthenticationError):
        client.copy(api_key=tenant.key[:-1]).files.list()
    logs = "".join(path.read_text() for path in (stack.data / "logs").iterdir())
    assert '"path": "/v1/files/file-of-azure"' in logs
    assert "/openai/files" not in logs
    assert tenant.key[:-1] not in logs
    metrics = httpx2.get(stack.ready()["metrics_urls"]["api"]).text
    assert 'route="/v1/files/{file_id:str}"' in metrics or 'route="/v1/files/{file_id}"' in metrics
    assert 'route="/openai' not in metrics


def test_a_job_is_created_once_at_whichever_url(trained: Trained) -> None:
    body = {"model": MODEL, "training_file": trained.training_file}
    with trained.tenant.http() as client:
        checked(client, trained.training_file)
        urls = (f"{trained.tenant.base_url}/fine_tuning/jobs", f"{address(trained.tenant)}/openai/fine_tuning/jobs")
        answers = [client.post(url, json=body, headers={"idempotency-key": "azure"}) for url in urls]
        assert answers[0].json()["id"] == answers[1].json()["id"], answers
        client.post(f"/fine_tuning/jobs/{answers[0].json()['id']}/cancel")
