"""The trainer's settings; the only reader of its environment."""

import os
from dataclasses import dataclass
from pathlib import Path


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
    engine = engine or os.environ.get("TRAINER_ENGINE") or "bytemodel"
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
        api_key=os.environ.get("TRAINER_API_KEY", ""),
        pace_seconds=_number("TRAINER_PACE_SECONDS", 0.0) if pace_seconds is None else pace_seconds,
        phase_seconds=_number("TRAINER_PHASE_SECONDS", 0.3),
        max_processes=max(1, int(_number("TRAINER_MAX_PROCESSES", 2 if engine == "bytemodel" else 1))),
        max_file_bytes=int(_number("TRAINER_MAX_FILE_BYTES", 512 * 1024 * 1024)),
        snapshot_tokens=max(1, int(_number("TRAINER_SNAPSHOT_TOKENS", 40_000))),
        engine=engine,
        storage_url=os.environ.get("TRAINER_STORAGE_URL") or (data_dir.absolute() / "store").as_uri(),
        cache_bytes=int(_number("TRAINER_CACHE_BYTES", 20e9)),
        launcher=os.environ.get("TRAINER_LAUNCHER") or "local",
        server_url=os.environ.get("TRAINER_SERVER_URL", "").rstrip("/"),
        ray_address=os.environ.get("TRAINER_RAY_ADDRESS", ""),
        ray_token=os.environ.get("TRAINER_RAY_TOKEN", ""),
        ray_cpus=_number("TRAINER_RAY_CPUS", 1),
        gpus=gpus,
        gpus_per_job=gpus_per_job,
        models_dir=models_dir.absolute() if models_dir else _folder("TRAINER_MODELS_DIR"),
        serve_memory_bytes=int(_number("TRAINER_SERVE_MEMORY_BYTES", 0)),
        serve_urls=serve_urls,
        serve_adapters_dir=serve_adapters_dir,
        serve_api_key=os.environ.get("TRAINER_SERVE_API_KEY", ""),
        serve_timeout_seconds=_number("TRAINER_SERVE_TIMEOUT_SECONDS", 300),
        serve_wait_seconds=_number("TRAINER_SERVE_WAIT_SECONDS", 600),
    )


def _urls(name: str) -> tuple[str, ...]:
    """Addresses separated by commas, with or without `/v1`."""
    given = [each.strip().rstrip("/").removesuffix("/v1") for each in os.environ.get(name, "").split(",")]
    for url in filter(None, given):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{name} must be URLs that begin with http:// or https://, not {url!r}")
    return tuple(filter(None, given))


def _folder(name: str) -> Path | None:
    given = os.environ.get(name)
    return Path(given).absolute() if given else None


def _number(name: str, default: float) -> float:
    try:
        return float(os.environ.get(name) or default)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {os.environ[name]!r}") from None
