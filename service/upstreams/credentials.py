"""Encrypts an account's credential in its row; the row's id is the context of the encryption."""

from service.database.encryption import Sealer
from service.database.tables import UpstreamAccount


def seal_credential(sealer: Sealer, account_id: str, credential: str) -> bytes:
    """The encrypted credential, as it is stored."""
    return sealer.seal(credential.encode(), context=context_of(account_id))


def open_credential(sealer: Sealer, account: UpstreamAccount) -> str | None:
    """The decrypted credential of a row, or None when it has none. Raises `DecryptionFailed`."""
    if account.credential_sealed is None:
        return None
    return sealer.open(account.credential_sealed, context=context_of(account.id)).decode()


def context_of(account_id: str) -> str:
    """The encryption context of an account's credential."""
    return f"upstream_account:{account_id}"
