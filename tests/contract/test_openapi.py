"""Whatever fits the OpenAPI document, or nearly does, is answered in our shapes and never by a defect."""

import json
import re
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as bounds
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.result import Ok

from service.app import create_litestar
from service.http.openapi import document
from service.settings import Settings
from tests.wire import MODEL, Tenant, chat_rows, ended, jsonl, new_tenant, upload

EXAMPLES = 15
SCHEMA = schemathesis.openapi.from_dict(document(create_litestar(Settings())))
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
OUTSIDE = re.compile(r"GET /(livez|readyz|metrics|openapi\.yaml|docs)")


@dataclass(frozen=True, kw_only=True)
class Known:
    """A project and the ids that exist in it, by their names in paths."""

    tenant: Tenant
    ids: dict[str, str]


@pytest.fixture(scope="module")
def known(tenant: Tenant) -> list[Known]:
    """Two projects, each with a file and a job that has ended."""
    made = []
    for who in (tenant, new_tenant(tenant.base_url, tenant.database_url)):
        with who.http() as http:
            file_id = upload(http, jsonl(chat_rows(10)))
            job_id = http.post("/fine_tuning/jobs", json={"model": MODEL, "training_file": file_id}).json()["id"]
            http.post(f"/fine_tuning/jobs/{job_id}/cancel")
            ended(http, job_id)
        made.append(Known(tenant=who, ids={"file_id": file_id, "job_id": job_id, "name": MODEL}))
    return made


@pytest.mark.parametrize("label", OPERATIONS)
def test_operation(known: list[Known], label: str) -> None:
    """Valid and invalid requests, with own, foreign and made-up ids, by two projects."""
    operation = OPERATIONS[label]
    root = known[0].tenant.base_url.removesuffix("/v1")

    @bounds(
        max_examples=5 if OUTSIDE.fullmatch(label) else EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def probe(data: st.DataObject) -> None:
        mode = data.draw(st.sampled_from([GenerationMode.POSITIVE, GenerationMode.NEGATIVE]))
        case: Any = data.draw(operation.as_strategy(generation_mode=mode))
        caller, owner = data.draw(st.sampled_from(known)), data.draw(st.sampled_from([None, *known]))
        for name in case.path_parameters or ():
            if owner is not None and name in owner.ids:
                case.path_parameters[name] = owner.ids[name]
        headers = {"authorization": f"Bearer {caller.tenant.key}"}
        answer = case.call(base_url=root, headers=headers, timeout=None if "stream" not in (case.query or {}) else 10)
        assert answer.status_code < 500, (answer.status_code, answer.text[:500])
        if answer.status_code >= 400 and "x-request-id" in answer.headers:
            error = json.loads(answer.content)["error"]
            assert set(error) == {"message", "type", "param", "code"}
        else:
            # uvicorn's own refusal of what is no HTTP is the only answer without an id
            assert "x-request-id" in answer.headers or answer.status_code == 400
        if owner is not None and owner is not caller and {"file_id", "job_id"} & set(case.path_parameters or ()):
            assert answer.status_code in (400, 401, 404, 405)  # 401: it makes up keys too

    probe()
