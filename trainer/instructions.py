"""The environment of a training process: what the server writes and `python -m trainer.train` reads."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Instructions:
    """One attempt at a job. `url` is the address of its internal routes.

    `parent_pid` is the server if the process must end with it, `engine_dir` the engine's cache on this machine; a
    launcher sets both, or neither.
    """

    job_id: str
    attempt: int
    validating: bool
    url: str
    token: str
    storage_url: str
    engine: str
    models_dir: Path | None
    phase_seconds: float
    pace_seconds: float
    snapshot_tokens: int
    parent_pid: int | None
    engine_dir: Path
    rank: int
    """Of several processes that train together, as torchrun starts them, the first one (0) reports."""


def environment_of(
    settings: Settings, *, server_url: str, job_id: str, attempt: int, token: str, validating: bool
) -> dict[str, str]:
    """The variables that tell a process what to do, wherever it runs."""
    variables = {
        "TRAINER_JOB": job_id,
        "TRAINER_ATTEMPT": str(attempt),
        "TRAINER_PHASE": "validate" if validating else "train",
        "TRAINER_ATTEMPT_URL": f"{server_url}/internal/jobs/{job_id}/attempts/{attempt}",
        "TRAINER_ATTEMPT_TOKEN": token,
        "TRAINER_STORAGE_URL": settings.storage_url,
        "TRAINER_ENGINE": settings.engine,
        "TRAINER_PHASE_SECONDS": str(settings.phase_seconds),
        "TRAINER_PACE_SECONDS": str(settings.pace_seconds),
        "TRAINER_SNAPSHOT_TOKENS": str(settings.snapshot_tokens),
    }
    return variables | ({"TRAINER_MODELS_DIR": str(settings.models_dir)} if settings.models_dir is not None else {})


def read_instructions(environ: Mapping[str, str]) -> Instructions:
    """The instructions in an environment; KeyError names a variable that is missing."""
    models = environ.get("TRAINER_MODELS_DIR")
    engine_dir = environ.get("TRAINER_ENGINE_DIR") or Path(tempfile.gettempdir(), "trainer-engine")
    return Instructions(
        job_id=environ["TRAINER_JOB"],
        attempt=int(environ["TRAINER_ATTEMPT"]),
        validating=environ["TRAINER_PHASE"] == "validate",
        url=environ["TRAINER_ATTEMPT_URL"],
        token=environ["TRAINER_ATTEMPT_TOKEN"],
        storage_url=environ["TRAINER_STORAGE_URL"],
        engine=environ["TRAINER_ENGINE"],
        models_dir=Path(models) if models else None,
        phase_seconds=float(environ["TRAINER_PHASE_SECONDS"]),
        pace_seconds=float(environ["TRAINER_PACE_SECONDS"]),
        snapshot_tokens=int(environ["TRAINER_SNAPSHOT_TOKENS"]),
        parent_pid=_parent(environ),
        rank=int(environ.get("RANK", 0)),
        engine_dir=Path(engine_dir),
    )


def _parent(environ: Mapping[str, str]) -> int | None:
    """The process to end with: the server, or torchrun where it is between the two; none on another machine."""
    if "RANK" in environ:
        return os.getppid()
    given = environ.get("TRAINER_PARENT_PID")
    return int(given) if given else None
