"""The signing secret of `tunegate listen`: one for each gateway and project, in a file that only its owner can read.

It is made on this machine and stays there, so the program that receives needs it in its environment only once.
"""

import hashlib
import stat
from pathlib import Path

from cli.credentials import write_private
from service.errors import SettingsError
from service.webhooks.signing import SECRET_PREFIX, new_secret


def secret_file(folder: Path, base_url: str, project_id: str) -> Path:
    """Where the secret for the events of a gateway's project is stored, below the command line's folder."""
    gateway = hashlib.sha256(base_url.encode()).hexdigest()[:16]
    return folder / "listen" / f"{gateway}-{project_id}.secret"


def load_or_create(file: Path, *, new: bool = False) -> str:
    """The secret in the file. If there is none, or with `new`, a new one is written first, with mode 0600.

    Raises `SettingsError` if others than its owner may read the file, and if it cannot be read or written.
    """
    try:
        if new or not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(file, new_secret())
        if file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SettingsError(f"{file} has a secret, and others may read it. Run: chmod 600 {file}")
        secret = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The signing secret cannot be stored in {file}: {error}") from None
    if not secret.startswith(SECRET_PREFIX):
        raise SettingsError(f"{file} has no signing secret. `tunegate listen --new-secret` writes one.")
    return secret
