"""Starts training processes on this machine, which end with the server."""

import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .command import command
from .port import Launch, Outcome

_log = logging.getLogger("trainer")


@dataclass(frozen=True, slots=True)
class _Child:
    process: subprocess.Popen[bytes]
    gpus: tuple[int, ...]


class LocalLauncher:
    """See `trainer.launchers.port.Launcher`; a process sees only its own of the server's `gpus` GPUs (`gpu_names`).

    All calls must come from one thread that lives as long as the server: Linux kills a child when the thread that
    started it ends.
    """

    survives_restart = False
    poll_seconds = 0.0

    def __init__(self, *, engine_dir: Path, gpus: int, threads: int) -> None:
        self._gpu_names = gpu_names(gpus, visible=os.environ.get("CUDA_VISIBLE_DEVICES", ""))
        self._free_gpus = list(range(gpus))
        self._children: dict[str, _Child] = {}
        self._environment = {
            "TRAINER_PARENT_PID": str(os.getpid()),
            "TRAINER_ENGINE_DIR": str(engine_dir),
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
        }

    def start(self, launch: Launch) -> None:
        if launch.name in self._children:
            return
        if launch.gpus > len(self._free_gpus):
            raise OSError(f"{launch.gpus} GPUs are needed and {len(self._free_gpus)} are free")
        gpus = tuple(self._free_gpus[: launch.gpus])
        inherited = {name: value for name, value in os.environ.items() if name != "TRAINER_API_KEY"}
        visible = {"CUDA_VISIBLE_DEVICES": ",".join(self._gpu_names[gpu] for gpu in gpus)} if gpus else {}
        process = subprocess.Popen(
            command(launch, python=sys.executable),
            stdin=subprocess.DEVNULL,
            env=inherited | dict(launch.environment) | self._environment | visible,
        )
        del self._free_gpus[: launch.gpus]
        self._children[launch.name] = _Child(process, gpus)
        _log.info("%s: %s in process %d", launch.name, "validating" if launch.validating else "training", process.pid)

    def poll(self, name: str) -> Outcome:
        child = self._children.get(name)
        if child is None:
            return Outcome("gone")
        code = child.process.poll()
        if code is None:
            return Outcome("running")
        self._release(name)
        return Outcome("succeeded") if code == 0 else Outcome("died", _reason(code))

    def stop(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None:
            child.process.kill()

    def logs(self, name: str) -> str:
        """Nothing: a process of this machine writes to the server's own stderr."""
        return ""

    def close(self) -> None:
        for child in self._children.values():
            child.process.kill()
            child.process.wait()
        self._children.clear()

    def _release(self, name: str) -> None:
        self._free_gpus = sorted([*self._free_gpus, *self._children.pop(name).gpus])


def gpu_names(gpus: int, *, visible: str) -> list[str]:
    """The GPUs for jobs: those that the server's CUDA_VISIBLE_DEVICES names, else numbered from 0.

    Raises ValueError if it names fewer than `gpus`.
    """
    named = [name.strip() for name in visible.split(",") if name.strip()]
    if named and len(named) < gpus:
        raise ValueError(f"TRAINER_GPUS is {gpus}, but CUDA_VISIBLE_DEVICES names {len(named)}: {visible}")
    return named[:gpus] or [str(number) for number in range(gpus)]


def _reason(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"
