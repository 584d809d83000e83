"""examples/deploy_on_ready, run as its README says, on a running stack with a real job."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from cli.embedded import free_port
from service.ids import new_id
from service.webhooks.signing import signed_headers
from tests.stack import ROOT, DevStack
from tests.wire import MODEL, Tenant, chat_rows, checked, ended, eventually, jsonl, new_tenant, upload

ALIAS = "support-bot"


@dataclass(frozen=True, kw_only=True)
class Service:
    """The example, running for a project that has it registered."""

    tenant: Tenant
    url: str
    secret: str
    endpoint_id: str
    log: Path

    def said(self, text: str) -> bool:
        """Whether it has said so."""
        return text in self.log.read_text(encoding="utf-8")

    def receive(self, data: dict[str, Any], *, created_at: int, event_id: str | None = None, **headers: str) -> int:
        """Hand it a signed delivery: its answer's status."""
        event_id = event_id or new_id("evt_")
        event = {"object": "event", "id": event_id, "type": "fine_tuning.job.succeeded", "created_at": created_at}
        body = json.dumps({**event, "data": data}).encode()
        signed = signed_headers(message_id=event_id, now=dt.datetime.now(dt.UTC), body=body, secrets=[self.secret])
        return httpx2.post(self.url, content=body, headers=signed | headers, timeout=90).status_code


@pytest.fixture(scope="module")
def service(stack: DevStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The example on a free port. Its secret is known once it is registered, so its port is chosen before."""
    folder = tmp_path_factory.mktemp("deploy")
    tenant = new_tenant(stack.ready()["base_url"], stack.ready()["database_url"])
    port = free_port()
    url, log = f"http://127.0.0.1:{port}/", folder / "log"
    endpoint = tenant.sdk().webhooks.create(name="deploy", url=url, event_types=["fine_tuning.job.succeeded"])
    environment = {
        "OPENAI_BASE_URL": tenant.base_url,
        "OPENAI_API_KEY": tenant.key,
        "OPENAI_WEBHOOK_SECRET": endpoint.signing_secret,
        "DEPLOY_ALIAS": ALIAS,
        "DEPLOY_QUESTION": "How long is river 3?",
        "DEPLOY_SEEN": str(folder / "seen.sqlite"),
        "PORT": str(port),
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "examples/deploy_on_ready/deploy.py"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]} | environment,
            stdout=output,
            stderr=output,
        )
    try:
        made = Service(tenant=tenant, url=url, secret=endpoint.signing_secret, endpoint_id=endpoint.id, log=log)
        eventually(lambda: made.said("receiving on"))
        yield made
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def deployed(service: Service) -> str:
    """A real job's model, which the service has deployed."""
    with service.tenant.http() as http:
        file_id = upload(http, jsonl(chat_rows(12)))
        checked(http, file_id)
        body = {"model": MODEL, "training_file": file_id, "hyperparameters": {"n_epochs": 2}}
        job = ended(http, http.post("/fine_tuning/jobs", json=body).json()["id"])
        assert job["status"] == "succeeded", job
        model: str = job["fine_tuned_model"]
        eventually(lambda: http.get(f"/model_aliases/{ALIAS}").json().get("model") == model or None)
    return model


def test_a_real_job_s_model_serves_under_the_alias(service: Service, deployed: str) -> None:
    answer = service.tenant.sdk().chat.completions.create(
        model=ALIAS, messages=[{"role": "user", "content": "How long is river 3?"}]
    )
    assert answer.model == deployed
    eventually(lambda: service.said(f"made {ALIAS} for {deployed}"))  # it says so once the gateway has answered it


def test_a_redelivery_changes_nothing(service: Service, deployed: str) -> None:
    with service.tenant.http() as http:
        (delivery,) = http.get(f"/webhook_endpoints/{service.endpoint_id}/deliveries").json()["data"]
        assert http.post(f"/webhook_deliveries/{delivery['id']}/redeliver").status_code == 200
        eventually(lambda: service.said(f"processed {delivery['event_id']} before"))
        assert len(http.get(f"/model_aliases/{ALIAS}/history").json()["data"]) == 1


def test_what_is_not_signed_for_it_is_refused(service: Service, deployed: str) -> None:
    now = int(dt.datetime.now(dt.UTC).timestamp())
    forged = {"webhook-signature": "v1,Zm9yZ2Vk"}
    assert service.receive({"id": "ftjob-x", "fine_tuned_model": MODEL}, created_at=now, **forged) == 400


def test_a_model_that_fails_its_test_is_not_deployed(service: Service, deployed: str) -> None:
    """The sample's model does not exist: the gateway says so, and the alias stays."""
    result = service.tenant.sdk().webhooks.test(service.endpoint_id, event_type="fine_tuning.job.succeeded")
    assert result.status_code == 204
    assert service.said("it failed")
    with service.tenant.http() as http:
        assert http.get(f"/model_aliases/{ALIAS}").json()["model"] == deployed


def test_an_event_that_was_overtaken_does_not_bring_an_old_model_back(service: Service, deployed: str) -> None:
    assert service.receive({"id": "ftjob-old", "fine_tuned_model": MODEL}, created_at=1) == 204
    assert service.said(f"left {ALIAS} at {deployed}, which is newer than {MODEL}")


def test_the_next_model_is_promoted_from_the_one_that_was_expected(service: Service, deployed: str) -> None:
    with service.tenant.http() as http:
        later = http.get(f"/model_aliases/{ALIAS}").json()["updated_at"] + 1
        assert service.receive({"id": "ftjob-next", "fine_tuned_model": MODEL}, created_at=later) == 204
        newest, *_ = http.get(f"/model_aliases/{ALIAS}/history").json()["data"]
        assert (newest["model"], newest["action"]) == (MODEL, "promoted")
        assert http.post(f"/model_aliases/{ALIAS}/rollback").json()["model"] == deployed


def test_its_client_is_the_sdk_s_and_its_code_is_short() -> None:
    code = (ROOT / "examples/deploy_on_ready/deploy.py").read_text(encoding="utf-8")
    assert len(code.splitlines()) < 100
    assert openai.__name__ in code
    assert "service" not in [line.split()[1].split(".")[0] for line in code.splitlines() if line.startswith("from ")]
