"""The secrets of attempts: a training process shows the token of its own attempt, and nobody else can make one."""

import hashlib
import hmac
import os
import secrets
from pathlib import Path


class AttemptTokens:
    """Derives the tokens from a secret in the data directory, so that processes outlive a restart of the server."""

    def __init__(self, data_dir: Path) -> None:
        self._secret = _secret(data_dir / "secret")

    def token(self, job_id: str, attempt: int) -> str:
        """The token of an attempt."""
        return hmac.new(self._secret, f"{job_id}:{attempt}".encode(), hashlib.sha256).hexdigest()

    def is_valid(self, job_id: str, attempt: int, token: str) -> bool:
        """Whether a token is that of the attempt; takes the same time for any wrong one."""
        return hmac.compare_digest(self.token(job_id, attempt).encode(), token.encode("utf-8", "replace"))


def _secret(path: Path) -> bytes:
    if not path.exists():
        partial = path.with_name("secret.part")
        partial.unlink(missing_ok=True)
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
            out.write(secrets.token_bytes(32))
        partial.replace(path)
    return path.read_bytes()
