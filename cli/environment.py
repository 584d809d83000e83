"""What the processes of a dev stack find in their environment: a list made on purpose, not what happens to be around.

A caller's shell is full of variables that the openai SDK and libpq read by themselves (`OPENAI_ORG_ID`,
`OPENAI_CUSTOM_HEADERS`, `PGSERVICE`, ...). None of them may reach a service that talks to other people's accounts.
"""

from collections.abc import Mapping
from pathlib import Path

KEPT = frozenset(
    [
        *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
    ]
)
KEPT_PREFIXES = ("LC_", "PYTHON", "COVERAGE_")
SERVICE_PREFIXES = ("TUNEGATE_", "AWS_", "AZURE_", "GOOGLE_", "OTEL_")
"""Settings, and what object stores and telemetry read."""

DEV_DEFAULTS = {
    "TUNEGATE_POLL_SECONDS": "1",
    "TUNEGATE_WEBHOOK_ALLOW_PRIVATE": "true",
    "TUNEGATE_UPSTREAM_ALLOW_PRIVATE": "true",
    "TUNEGATE_LOG_FORMAT": "json",
}
"""What `dev` sets unless the caller does."""

NO_PROXY = "127.0.0.1,localhost,::1"


def external_upstream(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """(base URL, key) of the upstream that the caller names. A key alone, or a URL alone, selects nothing."""
    url, key = environ.get("OPENAI_BASE_URL", ""), environ.get("OPENAI_API_KEY", "")
    return (url, key) if url and key else None


def plain(environ: Mapping[str, str]) -> dict[str, str]:
    """What every process gets: the machine's habits. Proxies are never asked for this machine itself."""
    kept = {name: value for name, value in environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    theirs = environ.get("NO_PROXY") or environ.get("no_proxy")
    return kept | {"NO_PROXY": f"{theirs},{NO_PROXY}" if theirs else NO_PROXY}


def for_service(
    environ: Mapping[str, str],
    *,
    database_url: str,
    owner_database_url: str,
    redis_url: str,
    upstream: tuple[str, str],
    master_key: str,
    storage: Path,
    host: str,
    port: int,
) -> dict[str, str]:
    """The environment of the API, the worker and the migrations. The caller's `TUNEGATE_*` win over dev's defaults."""
    given = {name: value for name, value in environ.items() if name.startswith(SERVICE_PREFIXES) and value}
    defaults = DEV_DEFAULTS | {"TUNEGATE_MASTER_KEY": master_key, "TUNEGATE_STORAGE_URL": f"file://{storage}"}
    fixed = {
        "DATABASE_URL": database_url,
        "TUNEGATE_OWNER_DATABASE_URL": owner_database_url,
        "REDIS_URL": redis_url,
        "OPENAI_BASE_URL": upstream[0],
        "OPENAI_API_KEY": upstream[1],
        "TUNEGATE_ENVIRONMENT": "dev",
        "TUNEGATE_HOST": host,
        "TUNEGATE_PORT": str(port),
    }
    return plain(environ) | defaults | given | fixed


def for_trainer(environ: Mapping[str, str], *, key: str, encodings: Path) -> dict[str, str]:
    """The environment of the trainer: nothing of ours but its key and where the tokenizer's files are."""
    given = {name: value for name, value in environ.items() if name.startswith("TRAINER_") and value}
    return plain(environ) | given | {"TRAINER_API_KEY": key, "TIKTOKEN_CACHE_DIR": str(encodings)}
