"""Where and in which precision weights are computed: bfloat16 on a CUDA device that has it, else float32."""

import os

import torch


def device() -> torch.device:
    """The CUDA device of this process (torchrun gives each of several a LOCAL_RANK) if there is one, else the CPU."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
    )


def weights_dtype() -> torch.dtype:
    """bfloat16 on CUDA devices that compute in it (Ampere and later); float32 elsewhere."""
    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if native else torch.float32
