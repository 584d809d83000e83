"""Preference training by TRL's DPOTrainer, on rows that are encoded already."""

from typing import Any

import torch
from trl import DPOTrainer

from .batches import padded
from .sequences import IGNORED, Encoded
from .stepping import SteppingMixin, Sums, Unit


class PreferenceTrainer(SteppingMixin, DPOTrainer):  # type: ignore[misc]
    """The loss is the mean over the rows of a step; the accuracy is that of the preferred answers' tokens."""

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset

    def units(self, encoded: Encoded) -> list[Unit]:
        return [encoded.sequences] if all(sequence.trained for sequence in encoded.sequences) else []

    def divisor(self, units: list[Unit]) -> float:
        return float(len(units))

    def losses(self, model: Any, units: list[Unit]) -> tuple[torch.Tensor, Sums]:
        sides = [unit[side] for side in (0, 1) for unit in units]
        inputs = padded(sides, self.processing_class.pad_token_id, self.args.device)
        inputs["completion_mask"] = (inputs.pop("labels") != IGNORED).long()
        mode = "train" if self.model.training else "eval"
        self._metrics[mode].clear()
        loss = self.compute_loss(model, inputs) * len(units)
        accuracy = self._metrics[mode]["mean_token_accuracy"][-1]
        tokens = float(sum(unit[0].trained for unit in units))
        return loss, Sums(loss.item(), accuracy * tokens, tokens, float(len(units)))
