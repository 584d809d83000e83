"""`client.fine_tuning.checkpoints.permissions` of the official SDK: a model of one project, used in another."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from openai.types.fine_tuning.checkpoints import (
    PermissionCreateResponse,
    PermissionDeleteResponse,
    PermissionListResponse,
    PermissionRetrieveResponse,
)

from tests.contract.conftest import Trained
from tests.contract.strict import strict_list, strictly, walked
from tests.stack import DevStack
from tests.wire import new_tenant


@pytest.fixture(scope="module")
def admin(stack: DevStack) -> openai.OpenAI:
    """The SDK with the admin key, which these calls send as the plain key."""
    return stack.client(admin=True)


def test_a_granted_model_is_seen_and_asked_until_it_is_taken_back(
    stack: DevStack, admin: openai.OpenAI, trained: Trained
) -> None:
    ready = stack.ready()
    other, third = (new_tenant(ready["base_url"], ready["database_url"]) for _ in range(2))
    permissions, sdk = admin.fine_tuning.checkpoints.permissions, other.sdk()

    def ask() -> str | None:
        return sdk.chat.completions.create(
            model=trained.model, messages=[{"role": "user", "content": "How long is river 3?"}], max_tokens=8
        ).model

    assert _refused(ask) == _refused(lambda: sdk.models.retrieve(trained.model)) == "model_not_found"
    granted = strict_list(
        PermissionCreateResponse,
        permissions.with_raw_response.create(trained.model, project_ids=[other.project_id, third.project_id]),
    )
    assert [each.project_id for each in granted] == [other.project_id, third.project_id]
    again = permissions.create(trained.model, project_ids=[other.project_id]).data
    assert [each.id for each in again] == [granted[0].id]

    assert trained.model in [model.id for model in sdk.models.list()]
    assert sdk.models.retrieve(trained.model).id == trained.model
    assert ask() == trained.model
    assert _refused(lambda: sdk.models.delete(trained.model)) == "model_not_found"
    assert _refused(lambda: sdk.fine_tuning.jobs.retrieve(trained.job_id)) == "fine_tune_not_found"

    listed = strict_list(PermissionListResponse, permissions.with_raw_response.list(trained.model))
    assert [each.id for each in listed] == [granted[1].id, granted[0].id]
    assert walked(lambda: permissions.list(trained.model, limit=1, order="ascending")) == [each.id for each in granted]
    only = permissions.list(trained.model, project_id=third.project_id).data
    assert [each.id for each in only] == [granted[1].id]
    with pytest.warns(DeprecationWarning, match="list"):
        page = permissions.with_raw_response.retrieve(trained.model)
    assert len(strictly(PermissionRetrieveResponse, page).data) == 2

    answer = permissions.with_raw_response.delete(granted[0].id, fine_tuned_model_checkpoint=trained.model)
    gone = strictly(PermissionDeleteResponse, answer)
    assert (gone.id, gone.deleted) == (granted[0].id, True)
    assert _refused(ask) == "model_not_found"
    assert trained.model not in [model.id for model in sdk.models.list()]
    assert trained.model in [model.id for model in third.sdk().models.list()]
    assert trained.model in [model.id for model in trained.tenant.sdk().models.list()]
    permissions.delete(granted[1].id, fine_tuned_model_checkpoint=trained.model)


def test_what_cannot_be_granted(admin: openai.OpenAI, trained: Trained) -> None:
    permissions = admin.fine_tuning.checkpoints.permissions
    own = trained.tenant.project_id
    for model in ("gpt-4o-mini", "ft:gpt-4o-mini:tunegate::none"):
        assert _refused(lambda: permissions.create(model, project_ids=[own])) == "model_not_found"  # noqa: B023
    assert _refused(lambda: permissions.create(trained.model, project_ids=["proj_none"])) == "project_not_found"
    gone = "checkpoint_permission_not_found"
    assert _refused(lambda: permissions.delete("cp_none", fine_tuned_model_checkpoint=trained.model)) == gone
    with pytest.raises(openai.BadRequestError):
        permissions.create(trained.model, project_ids=[])
    with pytest.raises(openai.PermissionDeniedError):
        trained.tenant.sdk().fine_tuning.checkpoints.permissions.list(trained.model)


def _refused(call: Callable[[], Any]) -> str | None:
    with pytest.raises(openai.NotFoundError) as refused:
        call()
    return refused.value.code
