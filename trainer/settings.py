"""The trainer's settings; the only reader of its environment."""

import difflib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAMES = frozenset(
    [
        *("TRAINER_API_KEY", "TRAINER_CACHE_BYTES", "TRAINER_ENGINE", "TRAINER_GPUS", "TRAINER_GPUS_PER_JOB"),
        *("TRAINER_LAUNCHER", "TRAINER_MAX_FILE_BYTES", "TRAINER_MAX_PROCESSES", "TRAINER_MODELS_DIR"),
        *("TRAINER_PACE_SECONDS", "TRAINER_PHASE_SECONDS", "TRAINER_RAY_ADDRESS", "TRAINER_RAY_CPUS"),
        *("TRAINER_RAY_TOKEN", "TRAINER_SERVER_URL", "TRAINER_SERVE_ADAPTERS_DIR", "TRAINER_SERVE_API_KEY"),
        *("TRAINER_SERVE_MEMORY_BYTES", "TRAINER_SERVE_TIMEOUT_SECONDS", "TRAINER_SERVE_URL"),
        *("TRAINER_SERVE_WAIT_SECONDS", "TRAINER_SNAPSHOT_TOKENS", "TRAINER_STORAGE_URL"),
    ]
)
"""The variables of the settings."""


@dataclass(frozen=True, slots=True)
class Settings:
    """See README.md for what each does and its default."""

    data_dir: Path
    api_key: str
    pace_seconds: float
    phase_seconds: float
    max_processes: int
    max_file_bytes: int
    snapshot_tokens: int
    engine: str
    models_dir: Path | None
    serve_memory_bytes: int
    serve_urls: tuple[str, ...]
    serve_adapters_dir: Path | None
    serve_api_key: str
    serve_timeout_seconds: float
    serve_wait_seconds: float
    storage_url: str
    cache_bytes: int
    launcher: str
    server_url: str
    ray_address: str
    ray_token: str
    ray_cpus: float
    gpus: int
    gpus_per_job: int

    @property
    def slots(self) -> int:
        """Jobs that train at once: as many as the GPUs allow, or TRAINER_MAX_PROCESSES without GPUs."""
        return self.gpus // self.gpus_per_job if self.gpus else self.max_processes

    @property
    def engine_dir(self) -> Path:
        """Where the engine caches what it derives, such as its base weights."""
        return self.data_dir / "engine"


def read_settings(
    data_dir: Path, *, pace_seconds: float | None = None, engine: str | None = None, models_dir: Path | None = None
) -> Settings:
    """Settings from the environment and the command line; ValueError names a variable that is not a number."""
    engine = engine or _text("TRAINER_ENGINE") or "bytemodel"
    gpus = max(0, int(_number("TRAINER_GPUS", 0)))
    gpus_per_job = max(1, int(_number("TRAINER_GPUS_PER_JOB", 1))) if gpus else 0
    if gpus_per_job > gpus:
        raise ValueError(f"TRAINER_GPUS_PER_JOB is {gpus_per_job}, more than the {gpus} of TRAINER_GPUS")
    serve_urls, serve_adapters_dir = _urls("TRAINER_SERVE_URL"), _folder("TRAINER_SERVE_ADAPTERS_DIR")
    if serve_urls and serve_adapters_dir is None:
        raise ValueError(
            "TRAINER_SERVE_URL needs TRAINER_SERVE_ADAPTERS_DIR: the folder that vLLM reads as"
            " VLLM_LORA_RESOLVER_CACHE_DIR"
        )
    return Settings(
        data_dir=data_dir.absolute(),
        api_key=_text("TRAINER_API_KEY"),
        pace_seconds=_number("TRAINER_PACE_SECONDS", 0.0) if pace_seconds is None else pace_seconds,
        phase_seconds=_number("TRAINER_PHASE_SECONDS", 0.3),
        max_processes=max(1, int(_number("TRAINER_MAX_PROCESSES", 2 if engine == "bytemodel" else 1))),
        max_file_bytes=int(_number("TRAINER_MAX_FILE_BYTES", 512 * 1024 * 1024)),
        snapshot_tokens=max(1, int(_number("TRAINER_SNAPSHOT_TOKENS", 40_000))),
        engine=engine,
        storage_url=_text("TRAINER_STORAGE_URL") or (data_dir.absolute() / "store").as_uri(),
        cache_bytes=int(_number("TRAINER_CACHE_BYTES", 20e9)),
        launcher=_text("TRAINER_LAUNCHER") or "local",
        server_url=_text("TRAINER_SERVER_URL").rstrip("/"),
        ray_address=_text("TRAINER_RAY_ADDRESS"),
        ray_token=_text("TRAINER_RAY_TOKEN"),
        ray_cpus=_number("TRAINER_RAY_CPUS", 1),
        gpus=gpus,
        gpus_per_job=gpus_per_job,
        models_dir=models_dir.absolute() if models_dir else _folder("TRAINER_MODELS_DIR"),
        serve_memory_bytes=int(_number("TRAINER_SERVE_MEMORY_BYTES", 0)),
        serve_urls=serve_urls,
        serve_adapters_dir=serve_adapters_dir,
        serve_api_key=_text("TRAINER_SERVE_API_KEY"),
        serve_timeout_seconds=_number("TRAINER_SERVE_TIMEOUT_SECONDS", 300),
        serve_wait_seconds=_number("TRAINER_SERVE_WAIT_SECONDS", 600),
    )


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str | None]]:
    """Variables TRAINER_… that are no setting, each with the nearest name of one, if one is near."""
    unknown = sorted(name for name in environ if name.startswith("TRAINER_") and name not in NAMES)
    return [(name, next(iter(difflib.get_close_matches(name, NAMES, n=1, cutoff=0.75)), None)) for name in unknown]


def _text(name: str) -> str:
    assert name in NAMES, f"{name} is missing among the names of the settings"
    return os.environ.get(name, "")


def _urls(name: str) -> tuple[str, ...]:
    """Addresses separated by commas, with or without `/v1`."""
    given = [each.strip().rstrip("/").removesuffix("/v1") for each in _text(name).split(",")]
    for url in filter(None, given):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{name} must be URLs that begin with http:// or https://, not {url!r}")
    return tuple(filter(None, given))


def _folder(name: str) -> Path | None:
    given = _text(name)
    return Path(given).absolute() if given else None


def _number(name: str, default: float) -> float:
    given = _text(name)
    try:
        value = float(given or default)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} must be a number, not {given!r}")
    return value
