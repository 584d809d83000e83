"""Estimates the memory of a training, and refuses what this machine cannot train before a job is accepted.

The estimate is the sum of
- all weights: 2 bytes each on CUDA (bfloat16), 4 on a CPU; 4 for full fine-tuning, whose weights are float32;
- 12 bytes for each trained weight (gradient, and Adam's two moments in float32), 4 more for each of an adapter;
- for DPO with all weights a second, frozen copy;
- activations of one row of at most `ROW_TOKENS` tokens with gradient checkpointing: each layer's input, and one layer
  in full, which is 34 values of the hidden size a token (arXiv 2205.05198, section 4.1, without the attention's
  scores, which are not stored here);
- one gigabyte for the libraries and their working memory.
"""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from ..port import Method, Refused
from .hyperparameters import TARGETS, Lora
from .models_folder import BaseFolder
from .weight_shapes import Shapes, read_shapes

ROW_TOKENS = 1024
_LIBRARIES_BYTES = 1 << 30
_LAYER_VALUES = 34


def estimate_bytes(
    shapes: Shapes,
    lora: Lora | None,
    method: Method,
    *,
    value_bytes: int,
    tokens: int = ROW_TOKENS,
    checkpointing: bool = True,
) -> int:
    """The memory to train `tokens` tokens at a time; `value_bytes` of a weight and of an activation."""
    if lora is None:
        copies = 16 + (value_bytes if method == "dpo" else 0)
        held = shapes.parameters * copies
    else:
        held = shapes.parameters * value_bytes + lora_parameters(shapes, lora) * 16
    values = shapes.layers + _LAYER_VALUES if checkpointing else shapes.layers * _LAYER_VALUES
    activations = tokens * shapes.hidden * value_bytes * values
    return held + activations * (2 if method == "dpo" else 1) + _LIBRARIES_BYTES


def lora_parameters(shapes: Shapes, lora: Lora) -> int:
    """The weights of an adapter: rank × (inputs + outputs) of each linear layer that it changes."""
    return sum(
        lora.rank * (inputs + outputs)
        for name, (outputs, inputs) in shapes.linear
        if lora.targets == TARGETS or name.rpartition(".")[2] in lora.targets
    )


def check_targets(base: BaseFolder, lora: Lora) -> None:
    """Raises Refused for a target that the model does not have."""
    if lora.targets == TARGETS or base.gguf is not None:
        return
    names = {name.rpartition(".")[2] for name, _ in read_shapes(base).linear}
    unknown = sorted(set(lora.targets) - names)
    if unknown:
        raise Refused(
            "adapter",
            f"adapter.targets names {', '.join(unknown)}, which the model {base.name} does not have; it has "
            f"{', '.join(sorted(names))}, or '{TARGETS}' for all",
        )


def check_memory(base: BaseFolder, lora: Lora | None, method: Method) -> None:
    """Raises Refused when the estimate is above the memory of this machine's GPU, or of the machine without one."""
    gpu = gpu_bytes()
    needed = estimate_bytes(read_shapes(base), lora, method, value_bytes=2 if gpu else 4)
    available = gpu or machine_bytes()
    if needed > available:
        what = "all weights" if lora is None else f"an adapter of rank {lora.rank}"
        advice = "use adapter.type 'lora', or" if lora is None else "use"
        raise Refused(
            "model",
            f"Training {what} of {base.name} takes about {needed / 1e9:.1f} GB; this machine's "
            f"{'GPU' if gpu else 'memory'} has {available / 1e9:.1f} GB: {advice} a smaller base "
            "model or a larger machine",
            code="out_of_memory",
        )


@cache
def gpu_bytes() -> int | None:
    """The memory of the first GPU as its driver says it; None without one. Imports nothing of torch."""
    program = shutil.which("nvidia-smi")
    if program is None or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return None
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        return int(answer.split()[0]) << 20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None


def machine_bytes() -> int:
    """The memory of this machine, or of the container that this process runs in."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(whole, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):
        return whole
