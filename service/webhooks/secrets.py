"""Encrypts an endpoint's signing secrets in its row; the row's id is the context of the encryption."""

import datetime as dt
from typing import Protocol

from service.database.encryption import Sealer


class Signing(Protocol):
    """The columns of an endpoint that sign its messages: of its row, or of a copy."""

    @property
    def id(self) -> str:
        """The endpoint's id."""

    @property
    def secret_encrypted(self) -> bytes:
        """The current secret."""

    @property
    def old_secret_encrypted(self) -> bytes | None:
        """The secret before the last rotation."""

    @property
    def old_secret_expires_at(self) -> dt.datetime | None:
        """When the old secret stops signing."""


def seal_secret(sealer: Sealer, endpoint_id: str, secret: str) -> bytes:
    """The encrypted secret, as it is stored."""
    return sealer.seal(secret.encode(), context=context_of(endpoint_id))


def active_secrets(sealer: Sealer, endpoint: Signing, *, now: dt.datetime) -> list[str]:
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
