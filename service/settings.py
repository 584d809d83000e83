"""Settings, read once from the environment at start-up; nothing else reads the environment.

Every field of `Settings` has its variable, default and meaning; `.env.example` and `docs/settings.md` are generated
from them, so the documentation cannot drift from the code.
"""

import base64
import binascii
import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from service.errors import SettingsError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_PORT = 65_535
LEASE_MARGIN_SHARE = 0.2
"""The last share of a lease, before which every call that leaves the process must end."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """The proxies whose forwarding headers count: networks, and whether those on a Unix socket are included."""

    networks: tuple[Network, ...] = ()
    unix: bool = False

    def includes(self, peer: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
        """Whether the peer is one of them; None: it is on a Unix socket."""
        return self.unix if peer is None else any(peer in network for network in self.networks)


def _setting(env: str, default: Any, doc: str, *, secret: bool = False) -> Any:
    return field(default=default, metadata={"env": env, "doc": doc, "secret": secret}, repr=not secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The whole configuration. Names end with their unit; seconds are floats."""

    database_url: str = _setting("DATABASE_URL", "", "Postgres, as `postgresql://user:password@host/db`.", secret=True)
    owner_database_url: str = _setting(
        "TUNEGATE_OWNER_DATABASE_URL",
        "",
        "Postgres as the owner of the schema, for migrations only. Default: `DATABASE_URL`.",
        secret=True,
    )
    redis_url: str = _setting(
        "REDIS_URL",
        "",
        "Redis for wake-ups and rate limits. Without it, work starts a little later and each process counts alone. "
        "`tunegate serve --processes` needs it.",
        secret=True,
    )
    upstream_base_url: str = _setting(
        "OPENAI_BASE_URL", "", "The upstream that trains: any OpenAI-compatible base URL, ending in `/v1`."
    )
    upstream_api_key: str = _setting("OPENAI_API_KEY", "", "The key for that upstream.", secret=True)
    environment: str = _setting(
        "TUNEGATE_ENVIRONMENT", "production", "`production`, or `dev`, which `tunegate dev` sets for its processes."
    )
    master_key: str = _setting(
        "TUNEGATE_MASTER_KEY",
        "",
        "32 bytes in base64 that encrypt webhook secrets and upstream credentials at rest. "
        "Create one with `tunegate keys master`.",
        secret=True,
    )
    old_master_keys: str = _setting(
        "TUNEGATE_OLD_MASTER_KEYS",
        "",
        "Former master keys, separated by commas, that still decrypt stored values until `tunegate keys reseal` ran.",
        secret=True,
    )
    storage_url: str = _setting(
        "TUNEGATE_STORAGE_URL",
        "file://./.tunegate/storage",
        "The storage of file contents: `file:///path`, `s3://bucket/prefix`, `gs://…` or `az://…`.",
    )
    organization_id: str = _setting(
        "TUNEGATE_ORGANIZATION", "tunegate", "The organisation's name in `organization_id` and in `ft:` model names."
    )
    models_file: str = _setting(
        "TUNEGATE_MODELS_FILE", "", "A TOML file that replaces the shipped catalogue of models and prices."
    )
    host: str = _setting("TUNEGATE_HOST", "127.0.0.1", "The address that `tunegate serve` binds.")
    port: int = _setting("TUNEGATE_PORT", 8080, "The port that `tunegate serve` binds.")
    metrics_host: str = _setting(
        "TUNEGATE_METRICS_HOST",
        "127.0.0.1",
        "The address that the internal listener of the API and of the worker binds: `/metrics`, `/readyz` and `/livez` "
        "without a key. Loopback, or an address of a private network.",
    )
    metrics_port: int = _setting(
        "TUNEGATE_METRICS_PORT",
        0,
        "The port of the internal listener. 0: 9464, or a free port if that one is taken; the log names it.",
    )
    trusted_proxies: str = _setting(
        "TUNEGATE_TRUSTED_PROXIES",
        "",
        "Addresses and networks (CIDR) of proxies, separated by commas, whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed; `unix` includes peers on a Unix socket. Default: none.",
    )
    log_level: str = _setting("TUNEGATE_LOG_LEVEL", "info", "`debug`, `info`, `warning` or `error`.")
    log_format: str = _setting(
        "TUNEGATE_LOG_FORMAT",
        "json",
        "`json`, or `console` for people, which is the default of API and worker at a terminal.",
    )
    poll_seconds: float = _setting("TUNEGATE_POLL_SECONDS", 15.0, "How often a running upstream job is polled.")
    lease_seconds: float = _setting(
        "TUNEGATE_LEASE_SECONDS", 30.0, "How long a worker's claim on a row lasts without renewal."
    )
    reconcile_seconds: float = _setting(
        "TUNEGATE_RECONCILE_SECONDS", 1.0, "How often workers claim due rows, whether or not Redis wakes them."
    )
    upstream_timeout_seconds: float = _setting(
        "TUNEGATE_UPSTREAM_TIMEOUT_SECONDS",
        20.0,
        "The timeout of one control call to the upstream (create, retrieve, list, cancel).",
    )
    upload_timeout_seconds: float = _setting(
        "TUNEGATE_UPLOAD_TIMEOUT_SECONDS", 900.0, "The timeout of sending one file to the upstream."
    )
    inference_timeout_seconds: float = _setting(
        "TUNEGATE_INFERENCE_TIMEOUT_SECONDS", 600.0, "The timeout of one inference call."
    )
    settle_seconds: float = _setting(
        "TUNEGATE_SETTLE_SECONDS",
        60.0,
        "How long after the lease of an unanswered create ends its job may still appear at the upstream.",
    )
    webhook_schedule_seconds: tuple[float, ...] = _setting(
        "TUNEGATE_WEBHOOK_SCHEDULE",
        (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400),
        "Delays between attempts at a delivery, after the immediate first attempt, separated by commas.",
    )
    webhook_timeout_seconds: float = _setting(
        "TUNEGATE_WEBHOOK_TIMEOUT_SECONDS", 20.0, "The timeout of one attempt at a delivery."
    )
    webhook_allow_private: bool = _setting(
        "TUNEGATE_WEBHOOK_ALLOW_PRIVATE",
        False,
        "Allow webhooks to http URLs and private addresses. For development; `tunegate dev` sets it for loopback.",
    )
    upstream_allow_private: bool = _setting(
        "TUNEGATE_UPSTREAM_ALLOW_PRIVATE",
        False,
        "Allow projects' own upstream accounts at http URLs and private addresses. For development; `tunegate dev` "
        "sets it for loopback. Accounts that administrators create may always use them.",
    )
    max_file_bytes: int = _setting("TUNEGATE_MAX_FILE_BYTES", 512 * 1024 * 1024, "The largest file that is accepted.")
    max_upload_bytes: int = _setting(
        "TUNEGATE_MAX_UPLOAD_BYTES",
        8 * 1024 * 1024 * 1024,
        "The largest file that is accepted in parts (`/v1/uploads`).",
    )
    requests_per_minute: int = _setting(
        "TUNEGATE_REQUESTS_PER_MINUTE", 1000, "Requests per minute of a project without its own rate limit."
    )
    failed_keys_per_minute: int = _setting(
        "TUNEGATE_FAILED_KEYS_PER_MINUTE",
        300,
        "Requests per minute with incorrect keys from one address, above which its unknown keys have to wait.",
    )
    keep_events_days: float = _setting(
        "TUNEGATE_KEEP_EVENTS_DAYS",
        90.0,
        "How long events of a job, generation or comparison, and responses of its calls, are kept after its end.",
    )
    keep_metrics_days: float = _setting(
        "TUNEGATE_KEEP_METRICS_DAYS", 730.0, "How long the metrics of a job are kept after its end."
    )
    keep_deliveries_days: float = _setting(
        "TUNEGATE_KEEP_DELIVERIES_DAYS", 30.0, "How long webhook events and finished deliveries are kept."
    )
    worker_concurrency: int = _setting(
        "TUNEGATE_WORKER_CONCURRENCY", 64, "Steps of jobs that a worker runs concurrently. One project gets half."
    )
    run_concurrency: int = _setting(
        "TUNEGATE_RUN_CONCURRENCY",
        16,
        "The maximum of concurrent inference calls of one generation or comparison, whatever it requests.",
    )
    validation_processes: int = _setting(
        "TUNEGATE_VALIDATION_PROCESSES",
        2,
        "Processes of a worker for reports; as many prepare datasets, and as many look for leakage. A project occupies "
        "at most half of them.",
    )
    dataset_memory_bytes: int = _setting(
        "TUNEGATE_DATASET_MEMORY_BYTES",
        2 << 30,
        "The memory (address space) that a process may add for one dataset. A dataset that needs more gets an error.",
    )
    dataset_cpu_seconds: float = _setting(
        "TUNEGATE_DATASET_CPU_SECONDS",
        300.0,
        "The processor time that a process may take for one dataset, and as much again for each 100 MB of it.",
    )
    dataset_disk_bytes: int = _setting(
        "TUNEGATE_DATASET_DISK_BYTES",
        8 << 30,
        "The bytes of temporary files and results that one preparation may write, besides four times its input.",
    )
    max_header_bytes: int = _setting(
        "TUNEGATE_MAX_HEADER_BYTES", 64 * 1024, "The bytes of a request's first line and headers together."
    )
    max_headers: int = _setting("TUNEGATE_MAX_HEADERS", 100, "The number of a request's headers.")
    header_seconds: float = _setting(
        "TUNEGATE_HEADER_SECONDS", 30.0, "How long a connection may take to send the headers of a request."
    )
    max_connections_without_request: int = _setting(
        "TUNEGATE_MAX_CONNECTIONS_WITHOUT_REQUEST",
        1000,
        "Connections of an API process on which no request is being answered. Beyond it the oldest is closed.",
    )
    body_idle_seconds: float = _setting(
        "TUNEGATE_BODY_IDLE_SECONDS",
        60.0,
        "How long a request's body may pause, or arrive with less than 1,024 bytes a second.",
    )
    json_body_seconds: float = _setting("TUNEGATE_JSON_BODY_SECONDS", 120.0, "How long a JSON body may take to arrive.")
    max_project_memory_bytes: int = _setting(
        "TUNEGATE_MAX_PROJECT_MEMORY_BYTES",
        192 * 1024 * 1024,
        "The memory that the bodies and answers of one project may occupy in one process.",
    )
    max_inference_calls: int = _setting(
        "TUNEGATE_MAX_INFERENCE_CALLS",
        400,
        "Concurrent inference calls of an API process; a project gets at most half of those that others leave.",
    )
    max_answer_bytes: int = _setting(
        "TUNEGATE_MAX_ANSWER_BYTES", 32 * 1024 * 1024, "The largest answer of an upstream to one inference call."
    )
    max_event_streams: int = _setting(
        "TUNEGATE_MAX_EVENT_STREAMS",
        50,
        "Event streams of a project (of jobs, runs and webhooks) that may be open in one API process.",
    )
    evaluation_processes: int = _setting(
        "TUNEGATE_EVALUATION_PROCESSES",
        2,
        "Processes that evaluate callers' schemas, patterns and graders, per process of the API and per worker.",
    )
    evaluation_seconds: float = _setting(
        "TUNEGATE_EVALUATION_SECONDS",
        10.0,
        "The processor time of one evaluation of a grader or a schema, above which its comparison or generation fails.",
    )
    evaluation_memory_bytes: int = _setting(
        "TUNEGATE_EVALUATION_MEMORY_BYTES",
        512 * 1024 * 1024,
        "The memory that one evaluation process may add, above which what it evaluates fails.",
    )
    max_concurrent_requests: int = _setting(
        "TUNEGATE_MAX_CONCURRENT_REQUESTS",
        512,
        "Requests of a project, inference calls and event streams included, that may be in progress in one API "
        "process.",
    )
    max_concurrent_uploads: int = _setting(
        "TUNEGATE_MAX_CONCURRENT_UPLOADS",
        16,
        "Uploads of a project (files, parts, and completions) that may be in progress in one API process.",
    )
    max_open_uploads: int = _setting(
        "TUNEGATE_MAX_OPEN_UPLOADS", 1000, "Uploads in parts that a project may have open at the same time."
    )
    max_concurrent_downloads: int = _setting(
        "TUNEGATE_MAX_CONCURRENT_DOWNLOADS",
        32,
        "Downloads of a project's files that may be in progress in one API process.",
    )
    max_unfinished_work: int = _setting(
        "TUNEGATE_MAX_UNFINISHED_WORK",
        1000,
        "Preparations of a project that may be unfinished, and as many generations and comparisons together.",
    )
    database_pool_size: int = _setting("TUNEGATE_DATABASE_POOL_SIZE", 20, "Database connections per process.")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and validate the environment. Raises `SettingsError` that names the variable and its valid values."""
        values: dict[str, Any] = {}
        for spec in fields(cls):
            env = spec.metadata["env"]
            raw = environ.get(env)
            if raw is not None and raw != "":
                values[spec.name] = _parse(env, raw, spec.default)
        settings = cls(**values)
        settings._validate()
        return settings

    def _validate(self) -> None:
        if self.environment not in ("production", "dev"):
            raise SettingsError("TUNEGATE_ENVIRONMENT must be `production` or `dev`.")
        if self.log_format not in ("json", "console"):
            raise SettingsError("TUNEGATE_LOG_FORMAT must be `json` or `console`.")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise SettingsError("TUNEGATE_LOG_LEVEL must be `debug`, `info`, `warning` or `error`.")
        for spec in fields(self):
            value = getattr(self, spec.name)
            if spec.name in ("port", "metrics_port"):
                if not 0 <= value <= MAX_PORT:
                    raise SettingsError(f"{spec.metadata['env']} must be from 0 to {MAX_PORT}, not {value}.")
                continue
            numbers = value if isinstance(value, tuple) else (value,)
            for number in numbers:
                if isinstance(number, (int, float)) and not isinstance(number, bool):
                    low_ok = number >= 0 if isinstance(value, tuple) else number > 0
                    if not low_ok or not math.isfinite(number):
                        raise SettingsError(f"{spec.metadata['env']} must be a positive number, not {number}.")
        if self.master_key:
            self.master_key_bytes()
        self.old_master_keys_bytes()
        self.proxies()

    def master_key_bytes(self) -> bytes:
        """The 32 bytes of the encryption key. Raises `SettingsError` when it is missing or malformed."""
        key = _key_bytes(self.master_key)
        if key is None:
            raise SettingsError(
                "TUNEGATE_MASTER_KEY must be 32 bytes in base64. Create one with `tunegate keys master` and keep it "
                "safe; without it, stored webhook secrets and upstream credentials cannot be decrypted."
            )
        return key

    def old_master_keys_bytes(self) -> tuple[bytes, ...]:
        """The former master keys, which only decrypt. Raises `SettingsError` for a malformed one."""
        keys = [_key_bytes(each.strip()) for each in self.old_master_keys.split(",") if each.strip()]
        valid = tuple(key for key in keys if key is not None)
        if len(valid) != len(keys):
            raise SettingsError("TUNEGATE_OLD_MASTER_KEYS must be keys of 32 bytes in base64, separated by commas.")
        return valid

    def proxies(self) -> TrustedProxies:
        """The trusted proxies. Raises `SettingsError` for what is neither an address, a network nor `unix`."""
        named = [each.strip() for each in self.trusted_proxies.split(",") if each.strip()]
        return TrustedProxies(tuple(_network(each) for each in named if each != "unix"), unix="unix" in named)

    def of_one_process(self, processes: int) -> "Settings":
        """The settings of one of `processes` that share a listener, each with its part of what is not counted in Redis.

        Limits that protect a process, such as its memory and its connections, apply to each one in full.
        """
        return replace(self, failed_keys_per_minute=max(1, self.failed_keys_per_minute // processes))

    @property
    def migration_url(self) -> str:
        """The owner's database URL."""
        return self.owner_database_url or self.database_url

    @property
    def has_default_upstream(self) -> bool:
        """Whether the settings describe the default account. A key alone does not: it may be meant for a client."""
        return bool(self.upstream_base_url and self.upstream_api_key)

    @property
    def control_timeout_seconds(self) -> float:
        """A control call's timeout, limited so that timeout + margin < lease whatever is configured."""
        return min(self.upstream_timeout_seconds, self.lease_seconds * (1 - 2 * LEASE_MARGIN_SHARE))

    @property
    def storage_path(self) -> Path | None:
        """The folder of a `file://` storage, else None."""
        if not self.storage_url.startswith("file://"):
            return None
        return Path(self.storage_url.removeprefix("file://"))

    def upstream_is_self(self, own_port: int) -> bool:
        """Whether the upstream's base URL points at this gateway, so that jobs would create jobs forever."""
        return self.is_self(self.upstream_base_url, own_port)

    def is_self(self, base_url: str, own_port: int) -> bool:
        """Whether a base URL is this gateway's own address, as far as the settings know it."""
        parts = urlsplit(base_url)
        return parts.hostname in ("127.0.0.1", "localhost", "::1", "0.0.0.0", self.host) and parts.port == own_port  # noqa: S104


SECRET_VARIABLES = frozenset(spec.metadata["env"] for spec in fields(Settings) if spec.metadata["secret"])
"""The variables of the settings that are secret."""


def _key_bytes(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
    return key if len(key) == 32 else None


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingsError(
            f"TUNEGATE_TRUSTED_PROXIES must be addresses or networks such as 10.0.0.0/8, separated by commas: {error}."
        ) from None
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return ipaddress.ip_network((mapped, network.prefixlen - 96)) if mapped and network.prefixlen >= 96 else network


_SWITCH = dict.fromkeys(("1", "true", "on", "yes"), True) | dict.fromkeys(("0", "false", "off", "no"), False)


def _parse(env: str, raw: str, default: Any) -> Any:
    try:
        match default:
            case bool():
                return _SWITCH[raw.strip().lower()]
            case int():
                return int(raw)
            case float():
                return float(raw)
            case tuple():
                return tuple(float(part) for part in raw.split(",") if part.strip())
            case _:
                return raw
    except (ValueError, KeyError):
        expected = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            tuple: "numbers separated by commas",
        }
        raise SettingsError(f"{env} must be {expected[type(default)]}, not {raw!r}.") from None


def documentation() -> list[tuple[str, str, str, bool]]:
    """(variable, default, meaning, is a secret) of every setting: what the generated docs show."""
    rows = []
    for spec in fields(Settings):
        default = spec.default
        shown = ",".join(f"{part:g}" for part in default) if isinstance(default, tuple) else str(default)
        if isinstance(default, bool):
            shown = shown.lower()
        rows.append((spec.metadata["env"], shown, spec.metadata["doc"], spec.metadata["secret"]))
    return rows
