"""Standard Webhooks signatures (https://www.standardwebhooks.com, "Signature scheme"; the library signs).

The signed content is `id.timestamp.body`. During a rotation the header has one signature for each secret, so that a
receiver may use either.
"""

import base64
import datetime as dt
import os
from collections.abc import Sequence

from standardwebhooks import Webhook

SECRET_PREFIX = "whsec_"  # noqa: S105  (the specification's prefix)
SECRET_BYTES = 32
_HINT_CHARACTERS = 4


def new_secret() -> str:
    """A new secret: `whsec_` and 32 random bytes in base64 (the specification asks for 24 to 64)."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def secret_hint(secret: str) -> str:
    """The part of a secret that is shown after its creation: its last characters."""
    return f"{SECRET_PREFIX}...{secret[-_HINT_CHARACTERS:]}"


def signed_headers(*, message_id: str, now: dt.datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of a delivery. `now` is the attempt's time; `message_id` is the same for all attempts."""
    at = now.astimezone(dt.UTC).replace(microsecond=0)
    text = body.decode()
    signatures = [Webhook(secret).sign(msg_id=message_id, timestamp=at, data=text) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
