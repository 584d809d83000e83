"""The one place that chooses a launcher."""

import os

from ..settings import Settings
from .local import LocalLauncher
from .port import Launcher
from .ray import RayLauncher

LAUNCHERS = ("local", "ray")


def make_launcher(settings: Settings) -> Launcher:
    """The launcher that TRAINER_LAUNCHER names. ValueError for an unknown one, OSError without its cluster."""
    if settings.launcher == "ray":
        return RayLauncher(settings.ray_address, token=settings.ray_token, cpus_per_job=settings.ray_cpus)
    if settings.launcher != "local":
        raise ValueError(f"TRAINER_LAUNCHER must be one of {', '.join(LAUNCHERS)}, not {settings.launcher!r}")
    return LocalLauncher(engine_dir=settings.engine_dir, gpus=settings.gpus, threads=_threads(settings))


def _threads(settings: Settings) -> int:
    """One for the byte model, which gains nothing from more; else the cores are shared by the jobs that train."""
    return 1 if settings.engine == "bytemodel" else max(1, (os.cpu_count() or 1) // settings.slots)
