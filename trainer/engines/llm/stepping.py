"""One optimizer step, taken in micro-batches that fit into memory, with the same result however it is divided.

Mixed into TRL's trainers: transformers' loop asks for steps, optimizer and schedule are its own, and this takes the
place of its forward and backward passes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader

from ..port import Recorder, Refused
from .batches import Batches, groups
from .sequences import Encoded, Sequence

Unit = tuple[Sequence, ...]
"""What cannot be divided: one sequence, or the two of a preference row."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Sums over micro-batches: the loss, right tokens, learned tokens, and by what the loss is divided."""

    loss: float = 0.0
    correct: float = 0.0
    tokens: float = 0.0
    divisor: float = 0.0

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(
            self.loss + other.loss,
            self.correct + other.correct,
            self.tokens + other.tokens,
            self.divisor + other.divisor,
        )

    def figures(self, loss: str, accuracy: str) -> dict[str, float]:
        """The mean loss and accuracy; 0 where nothing was learned."""
        return {loss: self.loss / max(self.divisor, 1.0), accuracy: self.correct / max(self.tokens, 1.0)}


@dataclass
class Stepping:
    """What a trainer needs beside its own arguments. `max_tokens` of a micro-batch, padding included."""

    batches: Batches
    recorder: Recorder
    max_tokens: int
    checkpointing: bool = False


class SteppingMixin:
    """Methods that take the place of a trainer's; a trainer gives `units`, `divisor` and `losses`."""

    stepping: Stepping
    sums: Sums
    tokens: int

    def units(self, encoded: Encoded) -> list[Unit]:
        """What of a row can be computed apart."""
        raise NotImplementedError

    def divisor(self, units: list[Unit]) -> float:
        """By what the sum of the losses is divided: learned tokens, or rows."""
        raise NotImplementedError

    def losses(self, model: Any, units: list[Unit]) -> tuple[torch.Tensor, Sums]:
        """The sum of the losses of some units, for the backward pass, and what is reported of them."""
        raise NotImplementedError

    def get_train_dataloader(self) -> Any:
        """One placeholder a step: the rows of a step follow from its number.

        A generator of its own, since a loader draws a number when it begins, which would move a resumed job's dropout.
        """
        return DataLoader(self.train_dataset, batch_size=1, generator=torch.Generator())  # type: ignore[attr-defined]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Compute the gradients of a step's rows. Returns its mean loss."""
        model.train()
        rows = self.stepping.batches.of_step(self.state.global_step + 1)  # type: ignore[attr-defined]
        units = [unit for row in rows for unit in self.units(row)]
        whole = max(self.divisor(units), 1.0)

        def backward(group: list[Unit]) -> Sums:
            loss, sums = self.losses(model, group)
            self.accelerator.backward(loss / whole)  # type: ignore[attr-defined]
            return sums

        with self.accelerator.no_sync(model):  # type: ignore[attr-defined]
            self.sums = self._in_groups(units, backward, model)
        self._add_gradients_of_other_processes(model)
        self.tokens += sum(row.tokens for row in rows)
        return torch.tensor(self.sums.loss / whole, device=self.args.device)  # type: ignore[attr-defined]

    def measure(self, rows: Iterable[Encoded]) -> Sums:
        """What `losses` gives for rows, without learning from them."""
        model = self.model  # type: ignore[attr-defined]

        def forward(group: list[Unit]) -> Sums:
            with torch.no_grad(), self.compute_loss_context_manager():  # type: ignore[attr-defined]
                return self.losses(model, group)[1]

        model.eval()
        return self._in_groups([unit for row in rows for unit in self.units(row)], forward, model)

    def _in_groups(self, units: list[Unit], compute: Callable[[list[Unit]], Sums], model: Any) -> Sums:
        """All micro-batches of this process; from the beginning with smaller ones when memory does not suffice."""
        mine = units[self.args.process_index :: self.args.world_size]  # type: ignore[attr-defined]
        random = _random_state()
        while True:
            _set_random_state(random)
            sums = self._attempt(groups(mine, self.stepping.max_tokens), compute)
            if sums is not None:
                return self._total(sums)
            model.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self._shrink(max(len(unit) * max(len(each.tokens) for each in unit) for unit in mine))

    def _attempt(self, all_groups: list[list[Unit]], compute: Callable[[list[Unit]], Sums]) -> Sums | None:
        sums = Sums()
        for group in all_groups:
            self.stepping.recorder.proceed()
            try:
                sums += compute(group)
            except torch.OutOfMemoryError:
                return None
        return sums

    def _shrink(self, longest: int) -> None:
        """Halve the micro-batch; where it is one unit already, compute activations again in the backward pass."""
        if self.stepping.max_tokens > longest:
            self.stepping.max_tokens = max(longest, self.stepping.max_tokens // 2)
        elif not self.stepping.checkpointing:
            self.use_checkpointing()
        else:
            raise Refused(
                "training_file",
                f"The memory does not suffice for one row of {longest:,} tokens, not even with gradient checkpointing: "
                "shorten the rows, set a lower max_tokens in the models file, or use a smaller base model",
                code="out_of_memory",
            )

    def use_checkpointing(self) -> None:
        """Trade time for memory: gradient checkpointing, from now on."""
        self.stepping.checkpointing = True
        model = self.model  # type: ignore[attr-defined]
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()

    def _total(self, sums: Sums) -> Sums:
        if self.args.world_size == 1:  # type: ignore[attr-defined]
            return sums
        every = torch.tensor([sums.loss, sums.correct, sums.tokens, sums.divisor], dtype=torch.float64)
        every = self.accelerator.reduce(every.to(self.args.device), "sum")  # type: ignore[attr-defined]
        return Sums(*every.tolist())

    def _add_gradients_of_other_processes(self, model: Any) -> None:
        """Each process has the sum over its own units, of which it may have none."""
        if self.args.world_size == 1:  # type: ignore[attr-defined]
            return
        for weights in model.parameters():
            if weights.requires_grad:
                weights.grad = torch.zeros_like(weights) if weights.grad is None else weights.grad
                torch.distributed.all_reduce(weights.grad)


def _random_state() -> tuple[torch.Tensor, list[torch.Tensor]]:
    return torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []


def _set_random_state(state: tuple[torch.Tensor, list[torch.Tensor]]) -> None:
    torch.set_rng_state(state[0])
    if state[1]:
        torch.cuda.set_rng_state_all(state[1])
