"""Supervised fine-tuning by TRL's SFTTrainer, on rows that are encoded already."""

from typing import Any

import torch
from trl import SFTTrainer

from .batches import padded
from .sequences import Encoded
from .stepping import SteppingMixin, Sums, Unit


class SupervisedTrainer(SteppingMixin, SFTTrainer):  # type: ignore[misc]
    """The loss is the mean over all learned tokens of a step."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def units(self, encoded: Encoded) -> list[Unit]:
        return [(sequence,) for sequence in encoded.sequences if sequence.trained]

    def divisor(self, units: list[Unit]) -> float:
        return float(sum(sequence.trained for (sequence,) in units))

    def losses(self, model: Any, units: list[Unit]) -> tuple[torch.Tensor, Sums]:
        inputs = padded([unit[0] for unit in units], self.processing_class.pad_token_id, self.args.device)
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        loss = -outputs.log_probs.sum()
        tokens = self.divisor(units)
        return loss, Sums(loss.item(), outputs.is_top1.sum().item(), tokens, tokens)
