"""The keys and passwords of a dev stack: generated at its first start, in a file that only its owner can read."""

import base64
import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from service.identity.bootstrap import new_admin_key, new_project_key


def new_master_key() -> str:
    """A random key for `TUNEGATE_MASTER_KEY`: 32 bytes in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _password() -> str:
    return secrets.token_urlsafe(24)


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """The secrets of one data folder."""

    api_key: str = field(default_factory=new_project_key, repr=False)
    admin_key: str = field(default_factory=new_admin_key, repr=False)
    master_key: str = field(default_factory=new_master_key, repr=False)
    trainer_key: str = field(default_factory=_password, repr=False)
    postgres_password: str = field(default_factory=_password, repr=False)
    owner_password: str = field(default_factory=_password, repr=False)
    service_password: str = field(default_factory=_password, repr=False)
    redis_password: str = field(default_factory=_password, repr=False)


def load_or_create(path: Path) -> Credentials:
    """The credentials in `path`. A missing file is created atomically, with mode 0600."""
    if path.exists():
        return Credentials(**json.loads(path.read_text()))
    created = Credentials()
    write_private(path, json.dumps(asdict(created), indent=2))
    return created


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 atomically."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)
