"""Chooses the next token by its probabilities."""

import torch

from ..port import Sampling

_COLD = 0.01
"""Below this temperature the likeliest token is taken, so that nothing is divided by almost nothing."""


class TokenChoice:
    """The choices of one answer: the same seed makes the same ones, on whatever device the model runs.

    `top_p` takes the smallest set of the likeliest tokens whose probabilities add up to it (Holtzman et al. 2020).
    """

    def __init__(self, sampling: Sampling) -> None:
        self._temperature, self._top_p = sampling.temperature, sampling.top_p
        self._random = torch.Generator(device="cpu").manual_seed(sampling.seed)

    def next(self, logits: torch.Tensor) -> int:
        """A token of the vocabulary; `logits` is one row of it."""
        if self._temperature < _COLD:
            return int(logits.argmax())
        probabilities = torch.softmax(logits.float().cpu() / self._temperature, dim=-1)
        if self._top_p < 1:
            ordered, order = probabilities.sort(descending=True, stable=True)
            before = ordered.cumsum(-1) - ordered
            probabilities = torch.zeros_like(probabilities).scatter(0, order, ordered * (before <= self._top_p))
        return int(torch.multinomial(probabilities, 1, generator=self._random))


def likeliest(logits: torch.Tensor, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """The log probability of a token before temperature, and the `count` likeliest tokens with theirs."""
    logprobs = torch.log_softmax(logits.float(), dim=-1)
    values, tokens = logprobs.topk(count) if count else (logprobs[:0], logprobs[:0])
    return float(logprobs[token]), list(zip(map(int, tokens), map(float, values), strict=True))
