"""The environment variables of a dev stack's processes: a fixed list, not the caller's whole environment.

A shell may hold variables that the openai SDK and libpq read by themselves (`OPENAI_ORG_ID`, `OPENAI_CUSTOM_HEADERS`,
`PGSERVICE`, ...). None of them may reach a service that calls other accounts.
"""

from collections.abc import Mapping
from pathlib import Path

INHERITED = frozenset(
    [
        *("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
    ]
)
INHERITED_PREFIXES = ("LC_", "PYTHON", "COVERAGE_")
SERVICE_PREFIXES = ("TUNEGATE_", "AWS_", "AZURE_", "GOOGLE_", "OTEL_")
"""Settings of the service, and variables of object stores and telemetry."""

DEV_DEFAULTS = {
    "TUNEGATE_POLL_SECONDS": "1",
    "TUNEGATE_WEBHOOK_ALLOW_PRIVATE": "true",
    "TUNEGATE_UPSTREAM_ALLOW_PRIVATE": "true",
    "TUNEGATE_LOG_FORMAT": "json",
}
"""Settings of `dev` that the caller may override."""

NO_PROXY = "127.0.0.1,localhost,::1"


def external_upstream(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """The base URL and key of the caller's upstream. A key alone, or a URL alone, selects none."""
    url, key = environ.get("OPENAI_BASE_URL", ""), environ.get("OPENAI_API_KEY", "")
    return (url, key) if url and key else None


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that every process inherits. Requests to this machine never go through a proxy."""
    variables = {
        name: value for name, value in environ.items() if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    no_proxy_hosts = environ.get("NO_PROXY") or environ.get("no_proxy")
    return variables | {"NO_PROXY": f"{no_proxy_hosts},{NO_PROXY}" if no_proxy_hosts else NO_PROXY}


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
    models_file: Path | None = None,
) -> dict[str, str]:
    """The environment of the API, the worker and the migrations. The caller's `TUNEGATE_*` override dev's defaults."""
    given = {name: value for name, value in environ.items() if name.startswith(SERVICE_PREFIXES) and value}
    defaults = DEV_DEFAULTS | {"TUNEGATE_MASTER_KEY": master_key, "TUNEGATE_STORAGE_URL": f"file://{storage}"}
    if models_file is not None:
        defaults["TUNEGATE_MODELS_FILE"] = str(models_file)
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
    return inherited(environ) | defaults | given | fixed


def for_trainer(environ: Mapping[str, str], *, key: str, encodings: Path) -> dict[str, str]:
    """The environment of the trainer: of the service's variables only its key and the folder of the encodings."""
    given = {name: value for name, value in environ.items() if name.startswith("TRAINER_") and value}
    return inherited(environ) | given | {"TRAINER_API_KEY": key, "TIKTOKEN_CACHE_DIR": str(encodings)}
