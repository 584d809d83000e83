"""Encrypts an endpoint's signing secrets in its row; the row's id is the context of the encryption."""

import datetime as dt

from service.database.encryption import Sealer
from service.database.tables import WebhookEndpoint


def seal_secret(sealer: Sealer, endpoint_id: str, secret: str) -> bytes:
    """The encrypted secret, as it is stored."""
    return sealer.seal(secret.encode(), context=context_of(endpoint_id))


def active_secrets(sealer: Sealer, endpoint: WebhookEndpoint, *, now: dt.datetime) -> list[str]:
    """The secrets that sign at `now`: the current one, and the old one until it expires.

    Raises `DecryptionFailed`.
    """
    sealed = [endpoint.secret_encrypted]
    old = endpoint.old_secret_encrypted
    if old is not None and endpoint.old_secret_expires_at is not None and now < endpoint.old_secret_expires_at:
        sealed.append(old)
    return [sealer.open(each, context=context_of(endpoint.id)).decode() for each in sealed]


def context_of(endpoint_id: str) -> str:
    """The encryption context of an endpoint's secrets."""
    return f"webhook_endpoint:{endpoint_id}"
