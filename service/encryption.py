"""Encryption at rest: AES-256-GCM (NIST SP 800-38D) under the master key.

A sealed value is one version byte, a random 96-bit nonce, the ciphertext and its 128-bit tag. The context, which names
the row, is authenticated with it: a ciphertext copied into another row does not open there.
"""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import TunegateError

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12


class SealBroken(TunegateError):
    """A sealed value does not open: another master key, another row, or changed bytes."""


class Sealer:
    """Seals and opens small secrets. `key` is the 32 bytes of the master key (`Settings.master_key_bytes`)."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"A master key has {KEY_BYTES} bytes, not {len(key)}.")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, *, context: str) -> bytes:
        """Encrypt `plain` for the place that `context` names, such as `webhook_endpoint:we_01k…`."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, plain, _associated(context))

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Decrypt what `seal` made for the same context. Raises `SealBroken`."""
        body = sealed[len(VERSION) :]
        if not sealed.startswith(VERSION) or len(body) < NONCE_BYTES:
            raise SealBroken(f"The sealed value of {context} has an unknown format.")
        try:
            return self._cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], _associated(context))
        except InvalidTag:
            raise SealBroken(
                f"The sealed value of {context} does not open. Is TUNEGATE_MASTER_KEY the one it was made with?"
            ) from None


def _associated(context: str) -> bytes:
    return VERSION + context.encode()
