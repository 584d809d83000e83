"""`client.admin.organization` of the official SDK: projects, service accounts, keys, admin keys and audit logs."""

import openai
import pytest
from openai.types.admin.organization import (
    AdminAPIKey,
    AdminAPIKeyCreateResponse,
    AdminAPIKeyDeleteResponse,
    AuditLogListResponse,
    Project,
)
from openai.types.admin.organization.projects import (
    APIKeyDeleteResponse,
    ProjectAPIKey,
    ProjectServiceAccount,
    ServiceAccountCreateResponse,
    ServiceAccountDeleteResponse,
)
from openai.types.admin.organization.projects.service_accounts import APIKeyCreateResponse

from tests.contract.strict import strict_list, strictly, walked
from tests.stack import DevStack
from tests.wire import eventually


@pytest.fixture(scope="module")
def admin(stack: DevStack) -> openai.OpenAI:
    """The SDK with the admin key."""
    return stack.client(admin=True)


@pytest.fixture
def project(admin: openai.OpenAI) -> str:
    """A fresh project."""
    return admin.admin.organization.projects.create(name="geo").id


class TestProjects:
    def test_a_project_from_its_making_to_its_archive(self, admin: openai.OpenAI) -> None:
        projects = admin.admin.organization.projects
        made = strictly(Project, projects.with_raw_response.create(name="Rivers", residency=None, geography=None))
        assert (made.name, made.status, made.archived_at) == ("Rivers", "active", None)
        assert made.id.startswith("proj_")
        assert strictly(Project, projects.with_raw_response.retrieve(made.id)) == made
        renamed = strictly(Project, projects.with_raw_response.update(made.id, name="Lakes", external_key_id=None))
        assert renamed == made.model_copy(update={"name": "Lakes"})
        archived = strictly(Project, projects.with_raw_response.archive(made.id))
        assert archived.status == "archived"
        assert (archived.archived_at or 0) >= made.created_at
        assert strictly(Project, projects.with_raw_response.archive(made.id)) == archived
        assert strictly(Project, projects.with_raw_response.retrieve(made.id)) == archived
        with pytest.raises(openai.BadRequestError) as refused:
            projects.update(made.id, name="Seas")
        assert refused.value.code == "project_archived"

    def test_lists_page_and_leave_archived_ones_out(self, admin: openai.OpenAI) -> None:
        projects = admin.admin.organization.projects
        ids = [projects.create(name=f"p{number}").id for number in range(3)]
        projects.archive(ids[1])
        page = strict_list(Project, projects.with_raw_response.list(limit=1))
        assert len(page) == 1
        active = walked(lambda: projects.list(limit=2))
        every = walked(lambda: projects.list(limit=2, include_archived=True))
        assert [each for each in active if each in ids] == [ids[2], ids[0]]
        assert [each for each in every if each in ids] == ids[::-1]

    @pytest.mark.parametrize(
        "field", [{"residency": "EU_STORAGE_PROCESSING"}, {"geography": "EU"}, {"external_key_id": "key_1"}]
    )
    def test_where_data_lies_cannot_be_chosen(self, admin: openai.OpenAI, field: dict[str, str]) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            admin.admin.organization.projects.create(name="x", **field)  # type: ignore[arg-type]
        assert (refused.value.code, refused.value.param) == ("unsupported_parameter", next(iter(field)))

    @pytest.mark.parametrize("name", ["", "x" * 257])
    def test_a_name_has_a_length(self, admin: openai.OpenAI, name: str) -> None:
        with pytest.raises(openai.BadRequestError) as refused:
            admin.admin.organization.projects.create(name=name)
        assert refused.value.param == "name"

    def test_a_new_project_is_used_and_then_archived(self, stack: DevStack, admin: openai.OpenAI, project: str) -> None:
        accounts = admin.admin.organization.projects.service_accounts
        key = accounts.create(project, name="ci").api_key
        assert key is not None
        base_url = stack.ready()["base_url"]
        client = openai.OpenAI(base_url=base_url, api_key=key.value, max_retries=0)
        file = client.files.create(file=("a.txt", b"x"), purpose="user_data")
        assert [each.id for each in client.files.list()] == [file.id]
        admin.admin.organization.projects.archive(project)

        def refused() -> bool:
            try:
                client.files.list()
            except openai.AuthenticationError:
                return True
            return False

        eventually(refused)
        with pytest.raises(openai.BadRequestError) as archived:
            accounts.create(project, name="another")
        assert archived.value.code == "project_archived"


class TestServiceAccounts:
    def test_a_service_account_from_its_making_to_its_end(self, admin: openai.OpenAI, project: str) -> None:
        accounts = admin.admin.organization.projects.service_accounts
        answer = accounts.with_raw_response.create(project, name="ci", expires_in_seconds=3600)
        made = strictly(ServiceAccountCreateResponse, answer)
        assert (made.name, made.role) == ("ci", "member")
        assert made.api_key is not None
        assert made.api_key.value.startswith("tg_live_")
        assert made.api_key.expires_at == made.api_key.created_at + 3600
        shown = strictly(ProjectServiceAccount, accounts.with_raw_response.retrieve(made.id, project_id=project))
        assert (shown.id, shown.name, shown.role, shown.created_at) == (made.id, "ci", "member", made.created_at)
        changed = strictly(
            ProjectServiceAccount,
            accounts.with_raw_response.update(made.id, project_id=project, name="cd", role="owner"),
        )
        assert (changed.name, changed.role) == ("cd", "owner")
        listed = strict_list(ProjectServiceAccount, accounts.with_raw_response.list(project))
        assert listed == [changed]
        gone = strictly(ServiceAccountDeleteResponse, accounts.with_raw_response.delete(made.id, project_id=project))
        assert (gone.id, gone.deleted) == (made.id, True)
        for call in (accounts.retrieve, accounts.delete, accounts.update):
            with pytest.raises(openai.NotFoundError) as refused:
                call(made.id, project_id=project)
            assert refused.value.code == "service_account_not_found"
        assert list(admin.admin.organization.projects.api_keys.list(project)) == []

    def test_an_account_alone_has_no_key_and_no_role(self, admin: openai.OpenAI, project: str) -> None:
        accounts = admin.admin.organization.projects.service_accounts
        answer = accounts.with_raw_response.create(project, name="later", create_service_account_only=True)
        made = strictly(ServiceAccountCreateResponse, answer)
        assert (made.role, made.api_key) == ("none", None)
        with pytest.raises(openai.BadRequestError) as refused:
            accounts.create(project, name="x", create_service_account_only=True, expires_in_seconds=60)
        assert refused.value.param == "expires_in_seconds"

    def test_lists_page(self, admin: openai.OpenAI, project: str) -> None:
        accounts = admin.admin.organization.projects.service_accounts
        ids = [accounts.create(project, name=f"a{number}").id for number in range(5)]
        assert walked(lambda: accounts.list(project, limit=2)) == ids[::-1]

    def test_more_keys(self, stack: DevStack, admin: openai.OpenAI, project: str) -> None:
        accounts = admin.admin.organization.projects.service_accounts
        account = accounts.create(project, name="ci").id
        answer = accounts.api_keys.with_raw_response.create(
            account, project_id=project, name="reader", scopes=["api.all.read"], expires_in_seconds=60
        )
        made = strictly(APIKeyCreateResponse, answer)
        assert (made.name, made.expires_at) == ("reader", made.created_at + 60)
        reader = openai.OpenAI(base_url=stack.ready()["base_url"], api_key=made.value, max_retries=0)
        assert reader.models.list().data
        with pytest.raises(openai.PermissionDeniedError) as refused:
            reader.files.create(file=("a", b"x"), purpose="user_data")
        assert refused.value.code == "insufficient_permissions"
        with pytest.raises(openai.PermissionDeniedError):
            reader.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "x"}])


class TestKeys:
    def test_a_key_is_shown_changed_and_deleted(self, admin: openai.OpenAI, project: str) -> None:
        account = admin.admin.organization.projects.service_accounts.create(project, name="ci")
        assert account.api_key is not None
        keys = admin.admin.organization.projects.api_keys
        listed = strict_list(ProjectAPIKey, keys.with_raw_response.list(project))
        shown = strictly(ProjectAPIKey, keys.with_raw_response.retrieve(account.api_key.id, project_id=project))
        assert listed == [shown]
        assert (shown.name, shown.expires_at, shown.last_used_at) == ("ci", None, None)
        assert shown.owner.type == "service_account"
        assert shown.owner.service_account is not None
        assert (shown.owner.service_account.id, shown.owner.service_account.role) == (account.id, "member")
        assert shown.owner_project_access == "active"
        assert account.api_key.value not in shown.to_json()
        assert shown.redacted_value.endswith(account.api_key.value[-4:])
        assert len(shown.redacted_value) < len(account.api_key.value) / 2
        changed = strictly(
            ProjectAPIKey,
            keys.with_raw_response.update(shown.id, project_id=project, expires_in_seconds=60, scopes=["api.all.read"]),
        )
        assert changed.expires_at is not None
        assert changed.to_dict()["scopes"] == ["api.all.read"]
        same = strictly(ProjectAPIKey, keys.with_raw_response.update(shown.id, project_id=project))
        assert same == changed
        gone = strictly(APIKeyDeleteResponse, keys.with_raw_response.delete(shown.id, project_id=project))
        assert (gone.id, gone.deleted) == (shown.id, True)
        for call in (keys.retrieve, keys.update, keys.delete):
            with pytest.raises(openai.NotFoundError) as refused:
                call(shown.id, project_id=project)
            assert refused.value.code == "api_key_not_found"

    def test_an_expired_key_stays_expired(self, admin: openai.OpenAI, project: str) -> None:
        account = admin.admin.organization.projects.service_accounts.create(project, name="ci", expires_in_seconds=1)
        assert account.api_key is not None
        keys = admin.admin.organization.projects.api_keys

        def refusal() -> str | None:
            try:
                keys.update(account.api_key.id, project_id=project, scopes=[])  # type: ignore[union-attr]
            except openai.BadRequestError as error:
                return str(error.code)
            return None

        assert eventually(refusal) == "api_key_expired"
        assert keys.retrieve(account.api_key.id, project_id=project).expires_at is not None

    def test_lists_by_the_owner_s_access(self, admin: openai.OpenAI, project: str) -> None:
        accounts, keys = admin.admin.organization.projects.service_accounts, admin.admin.organization.projects.api_keys
        member = accounts.create(project, name="member").api_key
        alone = accounts.create(project, name="none", create_service_account_only=True)
        without = accounts.api_keys.create(alone.id, project_id=project)
        assert member is not None
        found = {
            access: [key.id for key in keys.list(project, owner_project_access=access)]
            for access in ("active", "inactive", "any")
        }
        assert found == {"active": [member.id], "inactive": [without.id], "any": [without.id, member.id]}
        assert [key.id for key in keys.list(project)] == found["any"]
        assert walked(lambda: keys.list(project, limit=1)) == found["any"]


class TestAdminKeys:
    def test_an_admin_key_from_its_making_to_its_end(self, stack: DevStack, admin: openai.OpenAI) -> None:
        keys = admin.admin.organization.admin_api_keys
        made = strictly(AdminAPIKeyCreateResponse, keys.with_raw_response.create(name="deputy", expires_in_seconds=600))
        assert made.value.startswith("tg_admin_")
        assert made.expires_at == made.created_at + 600
        shown = strictly(AdminAPIKey, keys.with_raw_response.retrieve(made.id))
        assert made.value not in shown.to_json()
        base_url = stack.ready()["base_url"]
        deputy = openai.OpenAI(base_url=base_url, api_key="none", admin_api_key=made.value, max_retries=0)
        assert deputy.admin.organization.projects.list().data
        assert (strictly(AdminAPIKey, keys.with_raw_response.retrieve(made.id)).last_used_at or 0) >= made.created_at
        gone = strictly(AdminAPIKeyDeleteResponse, keys.with_raw_response.delete(made.id))
        assert (gone.id, gone.deleted) == (made.id, True)
        with pytest.raises(openai.NotFoundError):
            keys.retrieve(made.id)

    def test_lists_in_either_order(self, admin: openai.OpenAI) -> None:
        keys = admin.admin.organization.admin_api_keys
        ids = [keys.create(name=f"k{number}").id for number in range(3)]
        assert strict_list(AdminAPIKey, keys.with_raw_response.list(limit=1, after=None))
        assert [each for each in walked(lambda: keys.list(limit=2)) if each in ids] == ids
        assert [each for each in walked(lambda: keys.list(limit=2, order="desc")) if each in ids] == ids[::-1]
        for key_id in ids:
            keys.delete(key_id)

    def test_one_that_only_reads(self, stack: DevStack, admin: openai.OpenAI) -> None:
        made = admin.admin.organization.admin_api_keys.create(name="r", extra_body={"scopes": ["api.all.read"]})
        base_url = stack.ready()["base_url"]
        reader = openai.OpenAI(base_url=base_url, api_key="none", admin_api_key=made.value, max_retries=0)
        assert reader.admin.organization.audit_logs.list().data
        with pytest.raises(openai.PermissionDeniedError):
            reader.admin.organization.projects.create(name="x")


class TestAuditLogs:
    def test_what_was_done_is_found(self, admin: openai.OpenAI, project: str) -> None:
        logs = admin.admin.organization.audit_logs
        account = admin.admin.organization.projects.service_accounts.create(project, name="ci")
        entries = strict_list(AuditLogListResponse, logs.with_raw_response.list(project_ids=[project]))
        assert [entry.type for entry in entries] == ["api_key.created", "service_account.created", "project.created"]
        key, service_account, made = entries
        assert account.api_key is not None
        assert key.api_key_created is not None
        assert key.api_key_created.data is not None
        assert (key.api_key_created.id, key.api_key_created.data.scopes) == (account.api_key.id, [])
        assert service_account.service_account_created is not None
        assert service_account.service_account_created.id == account.id
        assert made.project_created is not None
        assert made.project_created.data is not None
        assert (made.project_created.id, made.project_created.data.name) == (project, "geo")
        for entry in entries:
            assert entry.actor is not None
            assert entry.actor.type == "api_key"
            assert entry.actor.session is not None
            assert entry.actor.session.ip_address == "127.0.0.1"
            assert entry.project is not None
            assert (entry.project.id, entry.project.name) == (project, "geo")
        walk = walked(lambda: logs.list(project_ids=[project], limit=1))
        assert walk == [entry.id for entry in entries]
        assert [
            entry.id
            for entry in logs.list(
                project_ids=[project],
                event_types=["service_account.created", "project.created"],
                resource_ids=[account.id],
                effective_at={"gte": made.effective_at},
            )
        ] == [service_account.id]
        assert not logs.list(project_ids=[project], effective_at={"gt": key.effective_at + 60}).data

    def test_a_refusal_is_a_failed_login(self, stack: DevStack, admin: openai.OpenAI, project: str) -> None:
        key = admin.admin.organization.projects.service_accounts.create(project, name="ci").api_key
        assert key is not None
        base_url = stack.ready()["base_url"]
        wrong = openai.OpenAI(base_url=base_url, api_key="none", admin_api_key=key.value, max_retries=0)
        with pytest.raises(openai.PermissionDeniedError):
            wrong.admin.organization.projects.list()
        (entry,) = admin.admin.organization.audit_logs.list(event_types=["login.failed"], actor_ids=[key.id]).data
        assert entry.login_failed is not None
        assert entry.login_failed.error_code == "insufficient_permissions"
        assert entry.login_failed.to_dict()["reason"] == "wrong_kind_of_key"
