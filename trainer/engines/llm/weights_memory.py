"""Weights in memory: base models, full tuned models, and adapters on their base, with the least recently used let go.

Everything here belongs to one thread (`Worker`).
"""

import json
import math
import warnings
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import torch
from peft import PeftModel

from ..port import Busy, Refused
from .conversion import layout
from .devices import weights_dtype
from .loading import is_adapter, load_base, load_tuned
from .models_folder import BaseFolder

ADAPTER_WEIGHTS = "adapter_model.safetensors"
"""PEFT's file of an adapter's weights."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from: a base model, alone, or with the folder of an adapter or of full weights."""

    base: BaseFolder
    weights: Path | None
    cache: Path = field(compare=False)

    @property
    def adapter(self) -> Path | None:
        """The adapter's folder, if it is one."""
        return self.weights if self.weights is not None and is_adapter(self.weights) else None

    @property
    def model(self) -> tuple[str, Path | None]:
        """What is loaded as a model: an adapter shares its base's."""
        return (self.base.name, None if self.adapter else self.weights)

    def size_bytes(self) -> int:
        """The memory of the model without its adapter."""
        folder = self.model[1]
        return parameter_bytes(layout(self.base, self.cache) if folder is None else folder)

    def load(self) -> Any:
        """The model without its adapter, on this process's device."""
        folder = self.model[1]
        model = load_base(self.base, self.cache) if folder is None else load_tuned(self.base, folder, self.cache)
        return model.eval()


@dataclass(eq=False)
class _Adapter:
    name: str
    size: int
    last_used: int = 0
    running: int = 0


@dataclass(eq=False)
class _Model:
    module: Any
    size: int
    last_used: int = 0
    running: int = 0
    active: str | None = None
    adapters: dict[Path, _Adapter] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Weights that an answer uses; they stay until `WeightsMemory.release`."""

    model: _Model
    adapter: _Adapter | None

    def activate(self) -> torch.nn.Module:
        """The module, which computes with these weights until another's `activate`."""
        wanted = self.adapter.name if self.adapter else None
        module = self.model.module
        if wanted != self.model.active:
            if wanted is None:
                module.base_model.disable_adapter_layers()
            else:
                if self.model.active is None:
                    module.base_model.enable_adapter_layers()
                module.set_adapter(wanted, inference_mode=True)
            self.model.active = wanted
        return module


class WeightsMemory:
    """The weights in memory and the caches of running answers, together at most `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._reserved = 0
        self._models: dict[tuple[str, Path | None], _Model] = {}
        self._clock = count(1)
        self._names = count()

    @property
    def used_bytes(self) -> int:
        """Weights and reservations."""
        adapters = sum(adapter.size for model in self._models.values() for adapter in model.adapters.values())
        return self._reserved + adapters + sum(model.size for model in self._models.values())

    def acquire(self, source: Source) -> Loaded:
        """Load weights unless they are in memory, and keep them there.

        Raises Busy if there is no room now but will be, Refused if there never is, FileNotFoundError if the files are
        gone.
        """
        model = self._models.get(source.model)
        if model is None:
            size = source.size_bytes()
            self._make_room(size, f"The model {source.base.name} needs")
            model = _Model(source.load(), size)
            self._models[source.model] = model
        model.running += 1
        try:
            adapter = self._adapter(model, source.adapter) if source.adapter is not None else None
        except BaseException:
            model.running -= 1
            raise
        model.last_used = next(self._clock)
        if adapter is not None:
            adapter.running += 1
            adapter.last_used = model.last_used
        return Loaded(model, adapter)

    def release(self, loaded: Loaded) -> None:
        """An answer no longer needs its weights; they stay in memory as long as there is room."""
        loaded.model.running -= 1
        if loaded.adapter is not None:
            loaded.adapter.running -= 1

    def reserve(self, size: int) -> None:
        """Set bytes aside for a running answer. Raises as `acquire`."""
        self._make_room(size, "The prompt and its longest answer need")
        self._reserved += size

    def give_back(self, size: int) -> None:
        """End a reservation."""
        self._reserved -= size

    def is_loaded(self, source: Source) -> bool:
        """Whether a request finds its weights in memory."""
        model = self._models.get(source.model)
        return model is not None and (source.adapter is None or source.adapter in model.adapters)

    def _adapter(self, model: _Model, folder: Path) -> _Adapter:
        found = model.adapters.get(folder)
        if found is not None:
            return found
        size = (folder / ADAPTER_WEIGHTS).stat().st_size
        self._make_room(size, f"The adapter in {folder.name} needs")
        name = f"a{next(self._names)}"
        if isinstance(model.module, PeftModel):
            model.module.load_adapter(folder, name, is_trainable=False, local_files_only=True)
        else:
            model.module = PeftModel.from_pretrained(
                model.module, folder, name, is_trainable=False, local_files_only=True
            )
            model.active = name
        model.module.eval()
        found = model.adapters[folder] = _Adapter(name, size)
        return found

    def _make_room(self, size: int, needs: str) -> None:
        while self.used_bytes + size > self._limit:
            if not self._drop_oldest():
                self._refuse(size, needs)

    def _drop_oldest(self) -> bool:
        """Free the least recently used: an adapter, or a model that has none left in use. False if there is none."""
        idle: list[tuple[int, int, tuple[str, Path | None], Path | None]] = []
        for key, model in self._models.items():
            idle += [(a.last_used, 0, key, folder) for folder, a in model.adapters.items() if not a.running]
            if not model.running:
                idle.append((model.last_used, 1, key, None))
        if not idle:
            return False
        _, _, key, folder = min(idle, key=lambda each: each[:2])
        if folder is None:
            del self._models[key]
        else:
            self._drop_adapter(self._models[key], folder)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _drop_adapter(self, model: _Model, folder: Path) -> None:
        name = model.adapters.pop(folder).name
        if model.active == name:
            model.module.base_model.disable_adapter_layers()
            model.active = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.module.delete_adapter(name)

    def _refuse(self, size: int, needs: str) -> NoReturn:
        limit = f"TRAINER_SERVE_MEMORY_BYTES allows {self._limit:,} bytes"
        if self._reserved:
            raise Busy(f"{needs} {size:,} bytes of memory, and {limit}, of which running answers use too much.")
        raise Refused(None, f"{needs} {size:,} bytes of memory, and {limit} in all.", code="out_of_memory")


def parameter_bytes(folder: Path) -> int:
    """The memory of a folder's weights in the precision that this process computes in.

    Safetensors say their shapes; PyTorch's older files are taken for 16-bit weights.
    """
    elements = 0
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as opened:
            header = json.loads(opened.read(int.from_bytes(opened.read(8), "little")))
        elements += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    older = sum(file.stat().st_size for file in folder.glob("pytorch_model*.bin"))
    return elements * weights_dtype().itemsize or 2 * older
