"""What a job's settings mean for this engine, with where each default comes from. Pure."""

from dataclasses import dataclass

from ..port import Adapter, JobSettings, Method, Refused
from .models_folder import BaseFolder

LORA_RATE = 2e-4
"""QLoRA (arXiv 2305.14314, table 9) for 7B and 13B."""
FULL_RATE = 1e-5
"""Stanford Alpaca's recipe for 13B. "LoRA Without Regret" (Thinking Machines, 2025) found LoRA's ten times as high."""
DPO_DIVISOR = 40
"""DPO learns at a fortieth of the supervised rate: both of Zephyr's recipes in Hugging Face's alignment handbook do
(LoRA 2e-4 and 5e-6, full 2e-5 and 5e-7)."""
RANK = 16
"""Between PEFT's 8 and QLoRA's 64; "LoRA Without Regret" found small ranks enough for small datasets."""
ALPHA_BY_RANK = 2.0
"""Alpha is twice the rank, PEFT's and Microsoft's usual choice."""
DROPOUT = 0.0
"""PEFT's default; so the seed's figures do not depend on how a step is divided."""
TARGETS = "all-linear"
"""QLoRA: adapters on all linear layers match full fine-tuning; those on attention alone do not."""
MAX_RANK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """The adapter to train: all four settings decided."""

    rank: int
    alpha: float
    dropout: float
    targets: str | list[str]


def lora_of(adapter: Adapter | None) -> Lora | None:
    """The adapter's settings with the defaults; None for full fine-tuning. Raises Refused for one out of range."""
    adapter = adapter or Adapter()
    if adapter.type == "full":
        if any(each is not None for each in (adapter.rank, adapter.alpha, adapter.dropout, adapter.targets)):
            raise Refused(
                "adapter", "adapter.type 'full' trains all weights: leave rank, alpha, dropout and targets out"
            )
        return None
    rank = RANK if adapter.rank is None else adapter.rank
    if not 1 <= rank <= MAX_RANK:
        raise Refused("adapter", f"adapter.rank must be from 1 to {MAX_RANK}")
    dropout = DROPOUT if adapter.dropout is None else adapter.dropout
    if not 0 <= dropout < 1:
        raise Refused("adapter", "adapter.dropout must be from 0 to below 1")
    alpha = rank * ALPHA_BY_RANK if adapter.alpha is None else adapter.alpha
    if alpha <= 0:
        raise Refused("adapter", "adapter.alpha must be above 0")
    targets = adapter.targets
    plain = targets is None or tuple(targets) == (TARGETS,)
    return Lora(rank=rank, alpha=alpha, dropout=dropout, targets=TARGETS if plain else list(targets or ()))


def learning_rate(base: BaseFolder, adapter: Adapter | None, method: Method, multiplier: float) -> float:
    """The highest learning rate of a job; it falls linearly to 0 (transformers' default), without warm-up."""
    full = adapter is not None and adapter.type == "full"
    rate = (base.full_learning_rate or FULL_RATE) if full else (base.learning_rate or LORA_RATE)
    return rate * multiplier / (DPO_DIVISOR if method == "dpo" else 1)


def check_method(settings: JobSettings) -> None:
    """Raises Refused for a method that this engine does not train with."""
    if settings.method not in ("supervised", "dpo"):
        raise Refused(
            "method",
            f"This engine trains with supervised and dpo, not with {settings.method}: reinforcement would generate and "
            "grade answers at every step, which is not built here",
        )
