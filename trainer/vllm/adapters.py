"""The folder that vLLM's `lora_filesystem_resolver` reads: a sub-folder an adapter, complete or absent.

At the first request for a name that it does not know, vLLM looks for a folder of that name and loads it if
`adapter_config.json` names the base by exactly what `vllm serve` was given (`vllm/plugins/lora_resolvers/`). So an
adapter is known on every replica and after each restart.
"""

import json
import os
import shutil
from pathlib import Path

from .names import adapter_name

ADAPTER_CONFIG = "adapter_config.json"
_PARTIAL = ".part"


class Adapters:
    """The published adapters in a folder that this server and every vLLM see."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f".*{_PARTIAL}"):
            shutil.rmtree(left)

    def publish(self, model: str, weights: Path, *, root: str) -> None:
        """Copy an adapter unless it is there, for the base that vLLM was started with as `root`.

        Written beside and renamed. Raises FileNotFoundError when the weights are gone, ValueError when they are no
        adapter.
        """
        folder = self._folder / adapter_name(model)
        if not folder.exists():
            if not (weights / ADAPTER_CONFIG).is_file():
                if not weights.is_dir():
                    raise FileNotFoundError(weights)
                raise ValueError(f"The model {model} has full weights, and vLLM serves adapters on its base only.")
            partial = folder.with_name(f".{folder.name}{_PARTIAL}")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(weights, partial)
            _name_base(partial, root)
            partial.replace(folder)
        elif _base_of(folder) != root:
            _name_base(folder, root)

    def is_published(self, model: str) -> bool:
        """Whether the adapter is in the folder."""
        return (self._folder / adapter_name(model)).is_dir()

    def remove(self, model: str) -> None:
        """Remove an adapter; it is gone at once, also for a vLLM that would load it now."""
        folder = self._folder / adapter_name(model)
        partial = folder.with_name(f".{folder.name}{_PARTIAL}")
        try:
            folder.rename(partial)
        except FileNotFoundError:
            return
        shutil.rmtree(partial)


def _base_of(folder: Path) -> object:
    return json.loads((folder / ADAPTER_CONFIG).read_bytes()).get("base_model_name_or_path")


def _name_base(folder: Path, root: str) -> None:
    config = json.loads((folder / ADAPTER_CONFIG).read_bytes()) | {"base_model_name_or_path": root}
    partial = folder / f"{ADAPTER_CONFIG}{_PARTIAL}"
    partial.write_text(json.dumps(config, indent=2))
    os.replace(partial, folder / ADAPTER_CONFIG)
