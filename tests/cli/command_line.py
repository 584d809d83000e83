"""`tunegate` in this process, which saves the half second of CPU that a process of its own costs."""

import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from cli.main import main
from tests.wire import Tenant


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, and what it printed."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        """Its output, which is nothing but JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """The command with the environment of one project's user, and no terminal."""

    base_url: str
    key: str
    admin_key: str = ""

    @classmethod
    def of(cls, tenant: Tenant) -> "CommandLine":
        """As a member of a project calls it."""
        return cls(tenant.base_url, tenant.key)

    def __call__(self, *arguments: str, stdin: str = "") -> Ended:
        """Run a command to its end."""
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with self.environment(), patch("sys.stdin", io.StringIO(stdin)), redirect_stdout(out), redirect_stderr(err):
            try:
                main(list(arguments))
            except SystemExit as ended:
                status = ended.code
        assert isinstance(status, int)
        return Ended(status, *(stream.buffer.getvalue().decode() for stream in (out, err)))

    @contextmanager
    def environment(self) -> Iterator[None]:
        """The variables that the SDK reads too, and a folder without profiles."""
        own = {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": self.key, "OPENAI_ADMIN_KEY": self.admin_key}
        with patch.dict(os.environ, own | {"COLUMNS": "200", "XDG_CONFIG_HOME": os.devnull}):
            yield

    def process_environment(self) -> dict[str, str]:
        """The same for a process of its own."""
        with self.environment():
            return dict(os.environ) | {"PYTHONUNBUFFERED": "1"}

    @staticmethod
    def program() -> list[str]:
        """The command as a process."""
        return [sys.executable, "-m", "cli"]
