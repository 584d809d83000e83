"""The types of audit log entries: the official SDK's where one fits, else Tunegate's own. Pure."""

from collections.abc import Mapping
from typing import Any

_SDK_TYPES = """
api_key.created api_key.updated api_key.deleted certificate.created certificate.updated certificate.deleted
certificates.activated certificates.deactivated checkpoint.permission.created checkpoint.permission.deleted
external_key.registered external_key.removed external_storage.registered external_storage.removed
group.created group.updated group.deleted invite.sent invite.accepted invite.deleted ip_allowlist.created
ip_allowlist.updated ip_allowlist.deleted ip_allowlist.config.activated ip_allowlist.config.deactivated
login.succeeded login.failed logout.succeeded logout.failed organization.updated project.created
project.updated project.archived project.deleted rate_limit.updated rate_limit.deleted resource.deleted
tunnel.created tunnel.updated tunnel.deleted workload_identity_provider.created
workload_identity_provider.updated workload_identity_provider.deleted
workload_identity_provider_mapping.created workload_identity_provider_mapping.updated
workload_identity_provider_mapping.deleted role.created role.updated role.deleted role.assignment.created
role.assignment.deleted role.bound_to_resource role.unbound_from_resource scim.enabled scim.disabled
service_account.created service_account.updated service_account.deleted user.added user.updated user.deleted
tenant.metadata.updated tenant.microsoft_entra_mapping.upserted tenant.microsoft_entra_mapping.deleted
tenant.workload_identity.provider.created tenant.workload_identity.provider.updated
tenant.workload_identity.provider.archived tenant.workload_identity.mapping.created
tenant.workload_identity.mapping.updated tenant.workload_identity.mapping.archived
tenant.workload_identity.binding.created tenant.workload_identity.principal.provisioned
tenant.workload_identity.access_token.issued tenant.admin_api_key.created tenant.admin_api_key.updated
tenant.admin_api_key.deleted tenant.project_api_key.created
tenant.trusted_access.business_verification.started tenant.trusted_access.application.submitted
tenant.chatgpt_access_token.revoked tenant.migration.completed tenant.sso.migrated tenant.domains.migrated
tenant.sso_connection.created tenant.sso_connection.updated tenant.sso_connection.deleted
tenant.sso_connection.setup.started tenant.policy.created tenant.policy.updated tenant.policy.deleted
tenant.policy.attached tenant.policy.detached tenant.principal_authentication_policy.resolved
tenant.scim.setup.started tenant.scim.deletion.requested tenant.scim.directory.created
tenant.product_access_policy.updated tenant.resource_share_grant.created tenant.resource_share_grant.updated
tenant.resource_share_grant.accepted tenant.resource_share_grant.declined
tenant.resource_share_grant.revoked tenant.resource_share_grant.deleted tenant.service_account.updated
tenant.service_account.deleted tenant.service_account.token.revoked tenant.billing.overage_limit.updated
tenant.billing.alerts.updated tenant.billing.info.updated tenant.usage_limit.workspace.updated
tenant.usage_limit.group.updated tenant.usage_limit.user.updated tenant.usage_limit.increase_request.updated
tenant.usage_limit.increase_request.resolved tenant.group.created tenant.group.updated tenant.group.deleted
tenant.group.member.added tenant.group.member.removed tenant.migration_rollout.status.updated
tenant.migration_rollout.tier.updated tenant.role.metadata.updated tenant.custom_role.created
tenant.custom_role.updated tenant.custom_role.deleted tenant.role_assignment.created
tenant.role_assignment.deleted tenant.resource_role_assignment.created
tenant.resource_role_assignment.deleted tenant.resource_access.updated tenant.resource_access.deleted
tenant.ads_account.onboarding.redemption tenant.session_policy.created tenant.session_policy.updated
tenant.session_policy.deleted tenant.session_revocation.started tenant.third_party_app_policy.updated
tenant.user.added tenant.user.updated tenant.user.removed tenant.user.looked_up tenant.user.invited
tenant.membership.revoked tenant.api_organization_invite.upserted tenant.api_organization_invite.deleted
tenant.chatgpt_workspace_invite.upserted tenant.membership.accepted tenant.membership.declined
tenant.workspace_invite_email_settings.updated
"""

SDK_TYPES = frozenset(_SDK_TYPES.split())
"""The closed set of openai 3.x (`AuditLogListResponse.type`); most never occur here; all are accepted as filters."""

OWN_TYPES: dict[str, str] = {
    "webhook_endpoint.created": "A webhook endpoint was created.",
    "webhook_endpoint.updated": "A webhook endpoint was changed.",
    "webhook_endpoint.secret_rotated": "A webhook endpoint got a new signing secret.",
    "price.updated": "A training price was set.",
    "spend_limit.updated": "A spend limit was set.",
    "spend_limit.deleted": "A spend limit was removed.",
    "spend_alert.created": "A spend alert was created.",
    "spend_alert.updated": "A spend alert was changed.",
    "spend_alert.deleted": "A spend alert was deleted.",
    "deletion.retried": "An operator retried a failed upstream deletion.",
    "deletion.accepted": "An operator accepted a failed upstream deletion as done.",
    "project_retention.updated": "A project's retention period was set.",
    "project_limits.updated": "A project's limits were changed.",
    "upstream_account.created": "An upstream account was added.",
    "upstream_account.updated": "An upstream account was changed, drained, or had its cool-down set or lifted.",
    "upstream_account.credential_rotated": "An upstream account got another credential.",
    "upstream_account.deleted": "An upstream account was removed.",
    "experiment.created": "An experiment was created.",
    "experiment.cancelled": "A caller requested the cancel of an experiment.",
    "job.resolved": "An operator retried, failed or adopted a job.",
    "model_alias.created": "A model alias was created.",
    "model_alias.updated": "A model alias was changed.",
    "model_alias.promoted": "A model alias points at another model.",
    "model_alias.rolled_back": "A model alias points at an earlier model again.",
    "model_alias.deleted": "A model alias was deleted.",
}
"""Tunegate's own types, each with its meaning. A new type is a line here."""

EVENT_TYPES = SDK_TYPES | frozenset(OWN_TYPES)


def detail_of(type: str, *, resource_id: str | None, data: Mapping[str, Any]) -> dict[str, Any]:
    """The details that an entry shows under its type: the id, and `data` where the SDK has it for that kind of type.

    >>> detail_of("project.created", resource_id="proj_1", data={"name": "geo"})
    {'id': 'proj_1', 'data': {'name': 'geo'}}
    """
    shown: dict[str, Any] = {} if resource_id is None else {"id": resource_id}
    match type.rpartition(".")[2]:
        case _ if not data:
            return shown
        case "created":
            return shown | {"data": dict(data)}
        case "updated":
            return shown | {"changes_requested": dict(data)}
        case _:
            return shown | dict(data)
