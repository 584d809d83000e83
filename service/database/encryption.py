"""Encryption at rest: AES-256-GCM (NIST SP 800-38D) under the master key.

A sealed value is one version byte, a random 96-bit nonce, the ciphertext and its 128-bit tag. The context, which names
the row, is authenticated with it: a ciphertext copied into another row cannot be decrypted there. Former master keys
still decrypt values that were sealed under them, until `tunegate keys reseal` has encrypted everything again.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import TunegateError
from service.settings import Settings

VERSION = b"\x01"
KEY_BYTES = 32
NONCE_BYTES = 12


class DecryptionFailed(TunegateError):
    """A sealed value cannot be decrypted: another master key, another row, or changed bytes."""


class Sealer:
    """Encrypts small secrets with `key`, the 32-byte master key, and decrypts with it or an old key."""

    def __init__(self, key: bytes, *, old_keys: Sequence[bytes] = ()) -> None:
        for each in (key, *old_keys):
            if len(each) != KEY_BYTES:
                raise ValueError(f"A master key has {KEY_BYTES} bytes, not {len(each)}.")
        self._cipher = AESGCM(key)
        self._old_ciphers = [AESGCM(each) for each in old_keys]

    def seal(self, plain: bytes, *, context: str) -> bytes:
        """Encrypt `plain` for the row that `context` names, such as `webhook_endpoint:we_01k…`."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._cipher.encrypt(nonce, plain, _associated(context))

    def open(self, sealed: bytes, *, context: str) -> bytes:
        """Decrypt a value that `seal` encrypted for the same context. Raises `DecryptionFailed`."""
        for cipher in (self._cipher, *self._old_ciphers):
            plain = _decrypted(cipher, sealed, context)
            if plain is not None:
                return plain
        raise DecryptionFailed(
            f"The sealed value of {context} cannot be decrypted. Is the key that encrypted it TUNEGATE_MASTER_KEY, or "
            "among TUNEGATE_OLD_MASTER_KEYS?"
        )

    def is_current(self, sealed: bytes, *, context: str) -> bool:
        """Whether a value is encrypted with the current master key, not with an old one."""
        return _decrypted(self._cipher, sealed, context) is not None


def is_sealed(value: bytes) -> bool:
    """Whether bytes have the format of a sealed value, which plain JSON and text never have."""
    return value.startswith(VERSION)


def _decrypted(cipher: AESGCM, sealed: bytes, context: str) -> bytes | None:
    body = sealed[len(VERSION) :]
    if not sealed.startswith(VERSION) or len(body) < NONCE_BYTES:
        raise DecryptionFailed(f"The sealed value of {context} has an unknown format.")
    try:
        return cipher.decrypt(body[:NONCE_BYTES], body[NONCE_BYTES:], _associated(context))
    except InvalidTag:
        return None


def _associated(context: str) -> bytes:
    return VERSION + context.encode()


def sealer_of(settings: Settings) -> Sealer:
    """The sealer that the settings describe. Raises `SettingsError`."""
    return Sealer(settings.master_key_bytes(), old_keys=settings.old_master_keys_bytes())
