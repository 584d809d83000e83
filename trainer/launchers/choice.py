"""The one place that chooses a launcher."""

import os
from urllib.parse import urlsplit

from ..settings import Settings
from .local import LocalLauncher
from .port import Launcher
from .ray import RayLauncher

LAUNCHERS = ("local", "ray")
_LOOPBACK = ("127.0.0.1", "::1", "localhost", None)


def make_launcher(settings: Settings) -> Launcher:
    """The launcher that TRAINER_LAUNCHER names; OSError when its cluster is unavailable.

    Raises ValueError for an unknown one, and for settings with which it cannot work.
    """
    if settings.gpus_per_job > 1 and settings.engine == "bytemodel":
        raise ValueError("the byte model trains on one GPU at most: set TRAINER_ENGINE=transformers for more")
    if settings.launcher == "ray":
        if not settings.server_url and urlsplit(settings.ray_address).hostname not in _LOOPBACK:
            raise ValueError("TRAINER_LAUNCHER=ray needs TRAINER_SERVER_URL: where its nodes reach this server")
        return RayLauncher(settings.ray_address, token=settings.ray_token, cpus_per_job=settings.ray_cpus)
    if settings.launcher != "local":
        raise ValueError(f"TRAINER_LAUNCHER must be one of {', '.join(LAUNCHERS)}, not {settings.launcher!r}")
    return LocalLauncher(engine_dir=settings.engine_dir, gpus=settings.gpus, threads=_threads(settings))


def _threads(settings: Settings) -> int:
    """One for the byte model, which gains nothing from more; else the cores are shared by the jobs that train."""
    return 1 if settings.engine == "bytemodel" else max(1, (os.cpu_count() or 1) // settings.slots)
