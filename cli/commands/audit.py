"""`tunegate audit`: proves the balances."""

import os
from dataclasses import replace
from pathlib import Path

from cli.options import AsJson
from service.settings import Settings


def audit(
    *,
    as_json: AsJson = False,
    ready_file: Path | None = None,
) -> int:
    """Prove the balances from the ledger, while the service runs.

    Exits with 0 if the books balance, 1 if anything drifts. The database is that of DATABASE_URL, or of --ready-file.

    Parameters
    ----------
    as_json
        Print nothing but the proof as JSON.
    ready_file
        The ready file of a running `tunegate dev`.
    """
    from cli.audit import audit
    from cli.database import on_schema
    from cli.gateway import ready_file_field

    settings = Settings.from_env(os.environ)
    if ready_file is not None:
        settings = replace(settings, database_url=ready_file_field(ready_file, "database_url"))
    return on_schema(settings, lambda: audit(settings.database_url, as_json=as_json))
