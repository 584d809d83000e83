"""`tunegate dev`: the whole stack on this machine."""

import os
from pathlib import Path

from service.settings import Settings


def dev(*, port: int | None = None, data_dir: Path = Path(".tunegate"), ready_file: Path | None = None) -> int:
    """Run the whole stack on this machine with embedded services, until Ctrl-C.

    DATABASE_URL, REDIS_URL, and OPENAI_BASE_URL with OPENAI_API_KEY, if set, replace the embedded parts.

    Parameters
    ----------
    port
        The API's port; 0 picks a free one. Default: TUNEGATE_PORT, else 8080.
    data_dir
        The folder for the data; a stack that is started on it again continues with its data.
    ready_file
        A JSON file to write when the stack serves, with URLs, keys and pids.
    """
    from cli.dev import run_dev

    chosen = Settings.from_env(os.environ).port if port is None else port
    return run_dev(port=chosen, data_dir=data_dir, ready_file=ready_file)
